"""What is due on the chain and nobody did: settling, closing, ending overdue disputes.

The parties may do all of it themselves; the node does it a little later, so that nobody's money
waits for somebody who went away.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import LeaseState
from marketplace.context import Market
from marketplace.domain.ledger import LeaseFacts, closable_after, matures_at
from marketplace.indexer.repository import cursor, facts_of
from marketplace.models import Lease
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import RELAY_CLOSE, RELAY_SETTLE, RELAY_TIMEOUT

MAX_AT_ONCE = 500


async def order_due(session: AsyncSession, market: Market, now: datetime) -> int:
    """Order the relayed transactions that are due by the chain's clock; return how many leases."""
    position = await cursor(session, market.scope)
    if position is None or market.settings.relayer_key_file is None:
        return 0
    rows = await session.scalars(
        select(Lease)
        .where(*market.scope.of(Lease), Lease.state != LeaseState.CLOSED)
        .order_by(Lease.opened_block)
        .limit(MAX_AT_ONCE)
    )
    num_due = 0
    latest = position.head_at - timedelta(seconds=market.settings.relay_grace_s)
    for row in rows:
        for kind, key, payload in due(facts_of(LeaseFacts, row), latest):
            await outbox.add(session, kind, key, payload, now=now)
            num_due += 1
    return num_due


def due(lease: LeaseFacts, latest: datetime) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name what is due on a lease: kind, key and payload of the outbox item.

    Parameters
    ----------
    latest
        Chain time by which something must have been possible to count as due.
    """
    payload = {"lease_id": lease.lease_id}
    state = f"{lease.lease_id}:{lease.paid_segments}:{lease.pending_segments}"
    if lease.state is LeaseState.DISPUTED:
        timeout = timedelta(seconds=int(lease.terms["dispute_timeout"]))
        if lease.disputed_at is not None and lease.disputed_at + timeout <= latest:
            moment = int(lease.disputed_at.timestamp())
            yield RELAY_TIMEOUT, f"{RELAY_TIMEOUT}:{state}:{moment}", payload
        return
    mature = matures_at(lease)
    if mature is not None and mature > latest:
        return  # nobody can close over an open window
    end = closable_after(lease)
    if end < latest:
        yield RELAY_CLOSE, f"{RELAY_CLOSE}:{state}:{int(end.timestamp())}", payload
    elif mature is not None:
        yield RELAY_SETTLE, f"{RELAY_SETTLE}:{state}:{int(mature.timestamp())}", payload
