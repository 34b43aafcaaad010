"""Queries for leases: chain facts, and what was reported about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.database import upsert
from marketplace.models import (
    ChainCursor,
    Challenge,
    Commit,
    Ending,
    Frame,
    Lease,
    LeaseArtifact,
    Payment,
    Progress,
    Voucher,
)
from marketplace.scope import Scope


async def find(session: AsyncSession, scope: Scope, lease_id: str) -> Lease | None:
    """Return one lease."""
    return await session.get(Lease, scope.id(lease_id))


async def hold(session: AsyncSession, scope: Scope, lease_id: str) -> Lease | None:
    """Return one lease, which the chain's follower does not change before the session ends."""
    return await session.get(Lease, scope.id(lease_id), with_for_update={"read": True})


async def page(
    session: AsyncSession,
    scope: Scope,
    *,
    wanted: dict[str, str],
    after: str | None,
    limit: int,
) -> Sequence[Lease]:
    """Return leases in the order of their ids; ``wanted`` are column values."""
    query = select(Lease).where(*scope.of(Lease))
    for column, value in wanted.items():
        query = query.where(getattr(Lease, column) == value)
    if after is not None:
        query = query.where(Lease.lease_id > after)
    return (await session.scalars(query.order_by(Lease.lease_id).limit(limit))).all()


async def of_leases(
    session: AsyncSession, scope: Scope, model: Any, lease_ids: Collection[str]
) -> dict[str, list[Any]]:
    """Return the commits, payments or challenges of leases, each in chain order."""
    rows = await session.scalars(
        select(model)
        .where(*scope.of(model), model.lease_id.in_(set(lease_ids)))
        .order_by(model.block_number, model.log_index)
    )
    found: dict[str, list[Any]] = {lease_id: [] for lease_id in lease_ids}
    for row in rows:
        found[row.lease_id].append(row)
    return found


async def commits(session: AsyncSession, scope: Scope, lease_id: str) -> list[Commit]:
    """Return a lease's commits in chain order."""
    return (await of_leases(session, scope, Commit, [lease_id]))[lease_id]


async def payments(session: AsyncSession, scope: Scope, lease_id: str) -> list[Payment]:
    """Return a lease's payments in chain order."""
    return (await of_leases(session, scope, Payment, [lease_id]))[lease_id]


async def challenges(session: AsyncSession, scope: Scope, lease_id: str) -> list[Challenge]:
    """Return a lease's challenges in chain order."""
    return (await of_leases(session, scope, Challenge, [lease_id]))[lease_id]


async def confirmed_block(session: AsyncSession, scope: Scope) -> int:
    """Return the newest block that counts as confirmed; -1 before the first."""
    row = await session.get(ChainCursor, scope.id())
    return row.confirmed_block if row else -1


async def newest_progress(
    session: AsyncSession, scope: Scope, lease_ids: Collection[str]
) -> dict[str, Progress]:
    """Return the newest progress of each lease."""
    rows = await session.scalars(
        select(Progress)
        .where(*scope.of(Progress), Progress.lease_id.in_(set(lease_ids)))
        .order_by(Progress.received_at)
    )
    return {row.lease_id: row for row in rows}


async def progress_of(
    session: AsyncSession, scope: Scope, lease_id: str, attempt: str
) -> Progress | None:
    """Return the progress of one attempt."""
    return await session.get(Progress, scope.id(lease_id, attempt))


async def has_output(session: AsyncSession, scope: Scope, lease_id: str) -> bool:
    """Tell whether the operator reported progress or frames."""
    for model in (Progress, Frame):
        found = await session.scalar(
            select(model.lease_id).where(*scope.of(model), model.lease_id == lease_id).limit(1)
        )
        if found is not None:
            return True
    return False


async def add_frames(session: AsyncSession, scope: Scope, rows: Sequence[dict[str, Any]]) -> None:
    """Write frames; those that are there already stay as they are."""
    if rows:
        values = [{**scope.key, **row} for row in rows]
        await session.execute(upsert(session)(Frame).on_conflict_do_nothing(), values)


async def next_seq(session: AsyncSession, scope: Scope, lease_id: str, attempt: str) -> int:
    """Return the number after the highest frame of an attempt."""
    found = await session.scalar(
        select(func.max(Frame.seq)).where(
            *scope.of(Frame), Frame.lease_id == lease_id, Frame.attempt == attempt
        )
    )
    return 0 if found is None else found + 1


async def frames(
    session: AsyncSession, scope: Scope, lease_id: str, after: int, limit: int
) -> Sequence[Frame]:
    """Return frames in the order they came."""
    rows = await session.scalars(
        select(Frame)
        .where(*scope.of(Frame), Frame.lease_id == lease_id, Frame.frame_id > after)
        .order_by(Frame.frame_id)
        .limit(limit)
    )
    return rows.all()


async def artifacts(session: AsyncSession, scope: Scope, lease_id: str) -> Sequence[LeaseArtifact]:
    """Return what the operator stored for the renter."""
    rows = await session.scalars(
        select(LeaseArtifact)
        .where(*scope.of(LeaseArtifact), LeaseArtifact.lease_id == lease_id)
        .order_by(LeaseArtifact.kind, LeaseArtifact.segment, LeaseArtifact.name)
    )
    return rows.all()


async def ending(session: AsyncSession, scope: Scope, lease_id: str) -> Ending | None:
    """Return the reported ending of a lease."""
    return await session.get(Ending, scope.id(lease_id))


async def voucher(session: AsyncSession, scope: Scope, lease_id: str) -> Voucher | None:
    """Return the newest voucher of a lease."""
    return await session.get(Voucher, scope.id(lease_id))
