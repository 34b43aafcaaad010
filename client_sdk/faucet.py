"""Money of the development chain, from a marketplace node's faucet."""

from __future__ import annotations

import time
from collections.abc import Callable

from client_sdk.errors import MarketMisbehaved, NetworkFailed
from client_sdk.transports import MarketNode

POLL_S = 0.5
TIMEOUT_S = 60.0


def has_faucet(node: MarketNode) -> bool:
    """Whether a node gives development money away."""
    return bool(node.get("/v1/market", anonymous=True).get("faucet"))


def fund(
    node: MarketNode,
    address: str,
    *,
    coin: bool = True,
    timeout_s: float = TIMEOUT_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Ask the faucet for money and wait until it has been sent.

    Parameters
    ----------
    coin:
        Whether the chain's own coin comes with the tokens.

    Raises
    ------
    NetworkFailed
        It refused, failed, or did not send in time.
    """
    body = {"address": address, "coin": coin}
    request_id = node.post("/v1/faucet", body, anonymous=True).get("request_id")
    if not isinstance(request_id, str):
        raise MarketMisbehaved(f"{node.url}: a faucet request without an id")
    deadline = clock() + timeout_s
    while clock() < deadline:
        state = node.get(f"/v1/faucet/{request_id}", anonymous=True).get("state")
        if state == "done":
            return
        if state == "failed":
            raise NetworkFailed(
                f"the faucet of {node.url} could not send", what_to_do="Try again in a minute."
            )
        sleep(POLL_S)
    raise NetworkFailed(
        f"the faucet of {node.url} did not send within {timeout_s:.0f} s",
        what_to_do="Look at the marketplace's logs, or try again.",
    )
