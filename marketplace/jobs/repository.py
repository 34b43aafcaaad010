"""Queries for jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import JobState
from marketplace import transitions
from marketplace.models import Job
from marketplace.scope import Scope


async def find(session: AsyncSession, scope: Scope, job_id: str) -> Job | None:
    """Return one job of this contract."""
    row = await session.get(Job, job_id)
    if row is None or (row.chain_id, row.contract) != (scope.chain_id, scope.contract):
        return None
    return row


async def lock(session: AsyncSession, scope: Scope, job_id: str) -> Job | None:
    """Return one job as it now is, and keep others from moving it until the session ends."""
    query = select(Job).where(*scope.of(Job), Job.job_id == job_id).with_for_update()
    return await session.scalar(query.execution_options(populate_existing=True))


async def bring(
    session: AsyncSession,
    job: Job,
    target: JobState,
    table: transitions.Table,
    **values: Any,
) -> None:
    """Move a locked job by a table, or change other values in the state that it is in."""
    where, current = (Job.job_id == job.job_id,), JobState(job.state)
    if current is target:
        await transitions.amend(session, Job, where, current, **values)
    else:
        await transitions.move(session, Job, where, target, by=[current], table=table, **values)


async def by_lease(session: AsyncSession, scope: Scope, lease_id: str) -> Job | None:
    """Return the job that runs under a lease."""
    rows = await session.scalars(
        select(Job).where(*scope.of(Job), Job.lease_id == lease_id).limit(1)
    )
    return rows.one_or_none()


async def page(
    session: AsyncSession, scope: Scope, renter: str, *, after: str | None, limit: int
) -> Sequence[Job]:
    """Return a renter's jobs, newest first."""
    query = select(Job).where(*scope.of(Job), Job.renter == renter)
    if after is not None:
        query = query.where(Job.job_id < after)
    return (await session.scalars(query.order_by(Job.job_id.desc()).limit(limit))).all()
