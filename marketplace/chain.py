"""Opens the chain for the processes that read it or send to it; the API needs neither."""

from __future__ import annotations

from client_sdk.chain.chain import Chain
from marketplace.context import Market


def open_chain(market: Market) -> Chain:
    """Return a new reader of the chain; the caller closes it."""
    return Chain(market.settings.rpc_url, market.deployment)
