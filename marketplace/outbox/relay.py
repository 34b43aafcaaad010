"""Sends transactions for the outbox: one sender a key, one journal a sender.

The journal makes a key's transaction happen once, also when this process dies between sending and
writing back; so a handler may be called for the same item again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import CallReverted, NotConfirmed, TransactionReverted
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import load_key_file
from contracts.bindings import Call
from marketplace.context import Market
from marketplace.errors import ConfigurationError
from marketplace.outbox.service import Again, Done, GivenUp, Handler, Outcome

_LOOK_AGAIN_S = 0.7
TOO_EARLY = frozenset({"WindowOpen", "BeforeCloseTime", "BeforeDisputeTimeout"})
"""Refusals that time removes: the chain's clock is a little behind ours."""


class Relay:
    """Sends calls from one of the node's keys.

    Parameters
    ----------
    key_file
        File with the private key; empty where this process may not send.
    """

    def __init__(self, market: Market, chain: Chain, key_file: Path | None) -> None:
        self._market = market
        self._chain = chain
        self._key_file = key_file
        self._sender: Sender | None = None

    async def send(self, call: Call, key: str, *, try_first: bool = False) -> Outcome:
        """Send a call once, or look what became of it.

        Parameters
        ----------
        try_first
            Ask the contract before the call takes its place among the others: for what strangers
            want sent. A refusal then holds up nobody.

        Returns
        -------
        Outcome
            ``Done`` when it is confirmed, or when the contract refuses it because somebody else did
            it; ``Again`` while it is on its way.
        """
        return await asyncio.to_thread(self._send, call, key, try_first)

    async def knows(self, key: str) -> bool:
        """Tell whether something was sent under this key."""
        return await asyncio.to_thread(lambda: self._open().state(key) is not None)

    async def address(self) -> str:
        """The account that sends."""
        return (await asyncio.to_thread(self._open)).address

    async def maintain(self) -> None:
        """Look after what was sent: a reorganisation may have lost it."""
        if self._key_file is not None:
            await asyncio.to_thread(lambda: self._open().maintain())

    def _send(self, call: Call, key: str, try_first: bool) -> Outcome:
        sender = self._open()
        try:
            if try_first and sender.state(key) is None:
                self._chain.simulate(call, sender.address)
            tx_hash = sender.submit(call, key)
            receipt = sender.wait(key, timeout_s=0)
        except NotConfirmed:
            return Again(_LOOK_AGAIN_S, {"transactions": ["0x" + tx_hash.hex()]})
        except CallReverted as error:
            if error.name in TOO_EARLY:
                return Again(_LOOK_AGAIN_S * 3)
            if isinstance(error, TransactionReverted):
                transactions = ["0x" + error.tx_hash.hex()]
                return Done({"refused": error.name, "transactions": transactions})
            return Done({"refused": error.name})
        return Done({"transactions": ["0x" + receipt.tx_hash.hex()]})

    def _open(self) -> Sender:
        if self._sender is None:
            if self._key_file is None:
                raise ConfigurationError("no key file is configured for this kind of work")
            account = load_key_file(self._key_file)
            folder = self._market.settings.data_dir
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sender = Sender(
                self._chain,
                account,
                folder / f"sender-{account.address.lower()}.db",
                confirmations=self._market.settings.confirmations,
                # None of these calls builds on another one, and each is done in a thread that
                # everybody waits for.
                settle_timeout_s=0,
            )
        return self._sender


async def in_order(*steps: tuple[Relay, Call, str]) -> Outcome:
    """Send several calls; done when all are."""
    transactions: list[str] = []
    waiting: float | None = None
    for relay, call, key in steps:
        outcome = await relay.send(call, key)
        if isinstance(outcome, GivenUp):
            return outcome
        transactions += outcome.result.get("transactions", [])
        if isinstance(outcome, Again):
            waiting = max(waiting or 0.0, outcome.after_s)
    result = {"transactions": transactions}
    return Done(result) if waiting is None else Again(waiting, result)


def maintenance(*relays: Relay) -> Handler:
    """Return the handler that looks after what the relays sent."""

    async def maintain(_payload: Mapping[str, Any]) -> Outcome:
        for relay in relays:
            await relay.maintain()
        return Done()

    return maintain
