"""Sends the relayed transactions of leases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client_sdk.protocol.terms import Terms
from contracts.bindings import LeaseEscrow
from marketplace.context import Market
from marketplace.domain.ledger import LeaseFacts
from marketplace.indexer import repository as chain_rows
from marketplace.leases import repository
from marketplace.leases.relay import is_due
from marketplace.outbox.kinds import RELAY_CLOSE, RELAY_SETTLE, RELAY_TIMEOUT
from marketplace.outbox.relay import Relay
from marketplace.outbox.service import Done, Handler, Outcome


def handlers(market: Market, relay: Relay) -> dict[str, Handler]:
    """Return the handlers of settling, closing and ending disputes."""
    escrow = LeaseEscrow(market.deployment.escrow)

    async def settle(payload: Mapping[str, Any]) -> Outcome:
        return await _send(RELAY_SETTLE, payload)

    async def close(payload: Mapping[str, Any]) -> Outcome:
        return await _send(RELAY_CLOSE, payload)

    async def end_dispute(payload: Mapping[str, Any]) -> Outcome:
        return await _send(RELAY_TIMEOUT, payload)

    async def _send(kind: str, payload: Mapping[str, Any]) -> Outcome:
        async with market.database.reading() as session:
            row = await repository.find(session, market.scope, payload["lease_id"])
            voucher = await repository.voucher(session, market.scope, payload["lease_id"])
            position = await chain_rows.cursor(session, market.scope)
        if row is None or position is None:
            return Done({"refused": "the chain took the lease back"})
        if not is_due(chain_rows.facts_of(LeaseFacts, row), kind, position.head_at):
            # Its parties did it, or moved its time: the row says when the next call is to be
            # ordered. To wait here would mean to ask the contract again for all of a window.
            return Done({"refused": "NotDue"})
        terms = Terms.from_json(dict(row.terms)).abi_tuple()
        state = f"{row.lease_id}:{row.paid_segments}:{row.pending_segments}"
        if kind == RELAY_CLOSE and voucher is not None and voucher.segments > row.paid_segments:
            # What the renter signed for is paid before the rest is refunded.
            signature = bytes.fromhex(voucher.signature[2:])
            call = escrow.settle_voucher(terms, voucher.segments, signature)
            paid = await relay.send(call, f"voucher:{state}:{voucher.segments}", try_first=True)
            # A wallet that is a contract can disown what it signed. The lease ends all the same.
            if not (isinstance(paid, Done) and "refused" in paid.result):
                return paid
        calls = {
            RELAY_SETTLE: escrow.settle,
            RELAY_CLOSE: escrow.close,
            RELAY_TIMEOUT: escrow.timeout_dispute,
        }
        return await relay.send(calls[kind](terms), f"{kind}:{state}", try_first=True)

    return {RELAY_SETTLE: settle, RELAY_CLOSE: close, RELAY_TIMEOUT: end_dispute}
