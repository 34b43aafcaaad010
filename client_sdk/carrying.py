"""Asking marketplace nodes, one after another, to bring a call to the chain.

What counts is the chain: a node's word is only a reason to stop waiting for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import ChainError
from client_sdk.errors import MarketMisbehaved, NetworkFailed, RelayFailed
from client_sdk.protocol.states import RelayState
from client_sdk.transports import MarketNode
from contracts.events import Event

LOG = logging.getLogger("gridlease")
NODE_PATIENCE_S = 10.0
"""How long a node that does not answer is asked again, before the next one is."""
LATE_S = 10.0
"""How long the renter's node of the chain may be behind the one of a marketplace node."""
CONFIRM_S = 60.0
"""How much longer is waited for what is in a block already."""
POLL_S = 0.5
CONFIRMATIONS = 2
_ENDED = (RelayState.CONFIRMED, RelayState.REFUSED, RelayState.FAILED)


@dataclass(frozen=True, slots=True)
class Errand:
    """One call, as each node gets it."""

    path: str
    asks: Sequence[tuple[MarketNode, dict[str, Any]]]
    """Whom to ask, with what body; nobody, when the call was carried before."""
    find: Callable[[int], Event | None]
    """Looks for the call's effect on the chain, up to a block."""
    wait_s: float
    """How long to wait, all nodes together."""


class Carrying:
    """Watches the chain while nodes are asked."""

    def __init__(
        self,
        chain: Chain,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._sleep = sleep
        self._clock = clock

    def carry(self, errand: Errand, *, advice: str) -> Event:
        """Ask node after node until the chain shows what was asked for.

        Parameters
        ----------
        advice:
            What to do when none did it.

        Raises
        ------
        RelayFailed
            With what each node did.
        """
        end = self._clock() + errand.wait_s
        if not errand.asks:
            return self._wait(errand, lambda: None, end, "the chain")
        reasons = []
        for number, (node, body) in enumerate(errand.asks):
            now = self._clock()
            until = now + (end - now) / (len(errand.asks) - number)
            try:
                return self._ask(errand, node, body, until)
            except NetworkFailed as error:
                reasons.append(error.message)
        raise RelayFailed(
            f"no marketplace node carried the call to the chain: {'; '.join(reasons)}",
            what_to_do=advice,
        )

    def _ask(self, errand: Errand, node: MarketNode, body: dict[str, Any], until: float) -> Event:
        answer = node.post(errand.path, body, patience_s=NODE_PATIENCE_S)
        request = f"/v1/relays/{answer.get('request_id')}"
        ended_at: float | None = None

        def look() -> None:
            nonlocal ended_at
            try:
                told = node.get(request, patience_s=0)
            except NetworkFailed:
                return  # what it was given may still come to the chain
            state = told.get("state")
            if state not in _ENDED:
                return
            # Its chain may be ahead of ours: another node may have been faster than this one.
            ended_at = ended_at or self._clock()
            if self._clock() - ended_at < LATE_S:
                return
            if state == RelayState.CONFIRMED:
                raise MarketMisbehaved(f"{node.url} says it is done, the chain does not")
            why = str(told.get("refusal") or told.get("problem"))[:80]
            raise RelayFailed(f"{node.url}: {state} ({why})")

        return self._wait(errand, look, until, node.url)

    def _wait(self, errand: Errand, look: Callable[[], None], until: float, who: str) -> Event:
        """Watch the chain until it shows the effect under enough blocks.

        What is in a block already needs nobody's word; only before that the node is looked at.
        """
        while True:
            found: Event | None = None
            try:
                head = self._chain.head()
                found = errand.find(head)
                if found is not None and head - found.block_number >= CONFIRMATIONS:
                    return found
            except ChainError:
                LOG.debug("the chain does not answer", exc_info=True)
            if found is None:
                look()
            if self._clock() >= until + (CONFIRM_S if found is not None else 0):
                raise RelayFailed(f"{who} did not confirm it in time")
            self._sleep(POLL_S)
