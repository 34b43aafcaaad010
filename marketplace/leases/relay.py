"""What is due on the chain and nobody did: settling, closing, ending overdue disputes.

The parties may do all of it themselves; the node does it a little later, so that nobody's money
waits for somebody who went away. Each lease's row says when to look at it next, so those that wait
for a later time, or stay due whatever is sent for them, stand in no other lease's way.

Covered: what strangers' leases can cost this node, by a limit for all leases together. Whose market
a lease belongs to is not asked: the escrow does not say it, nor does an index that was read anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import LeaseState
from marketplace.context import Market
from marketplace.domain.ledger import LeaseFacts, closable_after, matures_at
from marketplace.indexer import repository as chain_rows
from marketplace.models import Lease
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import RELAY_CLOSE, RELAY_SETTLE, RELAY_TIMEOUT, UNASKED
from marketplace.scope import Scope

MAX_AT_ONCE = 500
RETRY_AFTER = timedelta(days=1)
"""When to look again at a lease for which everything possible was ordered."""
_HOUR = timedelta(hours=1)
FORGET_AFTER = RETRY_AFTER - _HOUR
"""When to forget a call that has ended: nothing is ordered anew while it is remembered."""


@dataclass(frozen=True, slots=True)
class DueCall:
    """A call that anybody may send from a moment on, by the chain's clock."""

    at: datetime
    kind: str
    key: str
    payload: Mapping[str, Any]


async def follow_chain(session: AsyncSession, scope: Scope, lease_ids: Collection[str]) -> None:
    """Look at leases that changed when something is due on them next."""
    for lease_id in lease_ids:
        lease = await chain_rows.lease(session, scope, lease_id)
        calls = due(lease) if lease else []
        # Not through the row's object: what `order_due` wrote since it was read must be overwritten
        # by the same moment as well.
        await session.execute(
            update(Lease)
            .where(*scope.of(Lease), Lease.lease_id == lease_id)
            .values(due_at=calls[0].at if calls else None)
        )


async def order_due(session: AsyncSession, market: Market, now: datetime) -> int:
    """Order the calls that are due by the chain's clock; return how many.

    What this node has no place for in this hour comes first in the next one.
    """
    position = await chain_rows.cursor(session, market.scope)
    if position is None or market.settings.relayer_key_file is None:
        return 0
    await outbox.lock_relays(session)
    sent = await outbox.num_sent(session, UNASKED, now - _HOUR)
    room = max(0, market.settings.unasked_relays_per_hour - sent)
    latest = position.head_at - timedelta(seconds=market.settings.relay_grace_s)
    rows = await session.scalars(
        select(Lease)
        .where(*market.scope.of(Lease), Lease.due_at <= latest)
        .order_by(Lease.due_at)
        .limit(min(MAX_AT_ONCE, room))
        .with_for_update(skip_locked=True)
    )
    num_due = 0
    for row in rows:
        calls = due(chain_rows.facts_of(LeaseFacts, row))
        possible = [call for call in calls if call.at <= latest]
        for call in possible[-1:]:
            await outbox.add(session, call.kind, call.key, call.payload, now=now)
            num_due += 1
        later = [call.at for call in calls[len(possible) :]]
        row.due_at = min(later, default=latest + RETRY_AFTER)
    return num_due


def due(lease: LeaseFacts) -> list[DueCall]:
    """Name the calls that a lease waits for as it stands, in order of time.

    Of those that are possible the last is to be sent: it does what the ones before do.
    """
    if lease.state is LeaseState.CLOSED:
        return []
    if lease.state is LeaseState.DISPUTED:
        assert lease.disputed_at is not None, "a dispute has a beginning"
        timeout = timedelta(seconds=int(lease.terms["dispute_timeout"]))
        return [_due_call(lease, RELAY_TIMEOUT, lease.disputed_at + timeout)]
    mature = matures_at(lease)
    # The contract closes *after* that time, and counts whole seconds.
    closing = closable_after(lease) + timedelta(seconds=1)
    if mature is None:
        return [_due_call(lease, RELAY_CLOSE, closing)]
    if mature < closing:
        return [_due_call(lease, RELAY_SETTLE, mature), _due_call(lease, RELAY_CLOSE, closing)]
    return [_due_call(lease, RELAY_CLOSE, mature)]  # nobody can close over an open window


def is_due(lease: LeaseFacts, kind: str, head_at: datetime) -> bool:
    """Tell whether a lease waits for a call of this kind when the chain's clock stands so."""
    return any(call.kind == kind and call.at <= head_at for call in due(lease))


def _due_call(lease: LeaseFacts, kind: str, at: datetime) -> DueCall:
    state = f"{lease.lease_id}:{lease.paid_segments}:{lease.pending_segments}"
    key = f"{kind}:{state}:{int(at.timestamp())}"
    return DueCall(at, kind, key, {"lease_id": lease.lease_id})
