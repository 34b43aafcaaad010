"""Counts of what a node holds."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.clock import iso
from marketplace.indexer import repository as chain_rows
from marketplace.models import Artifact, Audit, Job, Lease, Listing, Offer, Order, OutboxItem
from marketplace.outbox import repository as outbox
from marketplace.scope import Scope


async def collect(session: AsyncSession, scope: Scope, now: datetime) -> dict[str, object]:
    """Return counts by state, and how far the index is."""
    position = await chain_rows.cursor(session, scope)
    found: dict[str, object] = {
        "indexed_block": position.head_block if position else None,
        "indexed_at": iso(position.head_at) if position else None,
        "listings": await _count(session, Listing, scope),
        "outbox_due": await outbox.num_due(session, now),
    }
    for name, model in (("offers", Offer), ("orders", Order), ("jobs", Job), ("leases", Lease)):
        found[name] = await _by_state(session, model, scope)
    found["audits"] = await _by_state(session, Audit, scope)
    found["outbox"] = await _by_state(session, OutboxItem, None)
    stored = await session.scalar(select(func.coalesce(func.sum(Artifact.size), 0)))
    found["artifact_bytes"] = int(stored or 0)
    return found


async def _count(session: AsyncSession, model: type[Listing], scope: Scope) -> int:
    query = select(func.count()).select_from(model).where(*scope.of(model))
    return await session.scalar(query) or 0


async def _by_state(
    session: AsyncSession,
    model: type[Offer | Order | Job | Lease | Audit | OutboxItem],
    scope: Scope | None,
) -> dict[str, int]:
    query = select(model.state, func.count()).group_by(model.state).order_by(model.state)
    if scope is not None:
        query = query.where(*scope.of(model))
    rows = await session.execute(query)
    return {str(row[0]): int(row[1]) for row in rows}
