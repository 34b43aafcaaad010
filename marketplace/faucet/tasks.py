"""Sends what the faucet promised: gas and test tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.bindings import Call, Token
from marketplace.context import Market
from marketplace.faucet.service import check_open
from marketplace.outbox.relay import Relay, in_order
from marketplace.outbox.service import Handler, Outcome


def handler(market: Market, relay: Relay) -> Handler:
    """Return the handler of faucet requests."""

    async def fund(payload: Mapping[str, Any]) -> Outcome:
        check_open(market)
        settings, address = market.settings, payload["address"]
        key = f"faucet:{payload['request_id']}"
        gas = Call(to=address, data=b"", value=settings.faucet_wei, name="faucet gas")
        # Requests of an earlier release say nothing of the coin.
        steps = [(relay, gas, f"{key}:gas")] if payload.get("coin", True) else []
        for token in market.deployment.tokens:
            mint = Token(token.address).mint(address, settings.faucet_tokens)
            steps.append((relay, mint, f"{key}:{token.symbol}"))
        return await in_order(*steps)

    return fund
