"""Jobs: made with their order, and kept in the state that order, lease and reports amount to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import JobState, LeaseState, OrderState
from client_sdk.protocol.verdicts import Verdict
from marketplace import models
from marketplace.domain.jobs import JOB_MOVES, JOB_REVISIONS, JobFacts, job_state
from marketplace.errors import JobUnknown
from marketplace.jobs import repository
from marketplace.leases import repository as lease_rows
from marketplace.orders import repository as order_rows
from marketplace.scope import Scope


def create(session: AsyncSession, order: models.Order, now: datetime) -> None:
    """Make the job of a new order."""
    session.add(
        models.Job(
            job_id=order.job_id,
            order_id=order.order_id,
            chain_id=order.chain_id,
            contract=order.contract,
            renter=order.renter,
            listing_id=order.listing_id,
            lease_id=None,
            state=JobState.QUEUED,
            verdict=None,
            created_at=now,
            updated_at=now,
        )
    )


async def set_lease(
    session: AsyncSession, scope: Scope, order: models.Order, now: datetime
) -> None:
    """Write which lease the signed terms of an order would open, and go on from there."""
    job = await repository.find(session, scope, order.job_id)
    assert job is not None, "an order has a job"
    job.lease_id = order.lease_id
    await session.flush()
    await update(session, scope, order.job_id, now)


async def update(
    session: AsyncSession, scope: Scope, job_id: str, now: datetime, *, revised: bool = False
) -> None:
    """Bring a job to the state that the present facts amount to.

    Parameters
    ----------
    revised
        The chain, or the operator's report of the ending, may have changed earlier facts.
    """
    job = await repository.lock(session, scope, job_id)
    if job is None:
        return
    order = await order_rows.find(session, scope, job.order_id)
    assert order is not None, "a job has an order"
    await session.refresh(order)
    facts = await _facts(session, scope, job, OrderState(order.state))
    state, verdict = job_state(facts)
    if (job.state, job.verdict) != (state, verdict):
        table = JOB_REVISIONS if revised else JOB_MOVES
        await repository.bring(session, job, state, table, verdict=verdict, updated_at=now)


async def follow_chain(
    session: AsyncSession, scope: Scope, lease_ids: Iterable[str], now: datetime
) -> None:
    """Follow leases that the chain changed, opened, or (after a reorganisation) took back."""
    for lease_id in sorted(lease_ids):
        order = await order_rows.by_lease(session, scope, lease_id)
        if order is None:
            continue
        lease = await lease_rows.find(session, scope, lease_id)
        opened = lease is not None
        target = OrderState.OPENED if opened else OrderState.TERMS_SIGNED
        by = None if opened else [OrderState.OPENED]
        await order_rows.move(session, order.order_id, target, now, by=by)
        await update(session, scope, order.job_id, now, revised=True)


async def visible(session: AsyncSession, scope: Scope, job_id: str, caller: str) -> models.Job:
    """Return a job that is the caller's, or that its operator or provider runs.

    Raises
    ------
    JobUnknown
        There is none, or it is not for this account.
    """
    job = await repository.find(session, scope, job_id)
    if job is None:
        raise JobUnknown
    if caller == job.renter:
        return job
    order = await order_rows.find(session, scope, job.order_id)
    if order is not None and caller == order.operator:
        return job
    lease = await lease_rows.find(session, scope, job.lease_id) if job.lease_id else None
    if lease is not None and caller in (lease.operator, lease.provider):
        return job
    raise JobUnknown


async def own(session: AsyncSession, scope: Scope, job_id: str, caller: str) -> models.Job:
    """Return a job of this renter.

    Raises
    ------
    JobUnknown
        There is none, or it is somebody else's.
    """
    job = await repository.find(session, scope, job_id)
    if job is None or job.renter != caller:
        raise JobUnknown
    return job


async def _facts(
    session: AsyncSession, scope: Scope, job: models.Job, order: OrderState
) -> JobFacts:
    lease = await lease_rows.find(session, scope, job.lease_id) if job.lease_id else None
    if job.lease_id is None or lease is None:
        return JobFacts(order=order)
    await session.refresh(lease)  # it may have been read before the job was locked
    ending = await lease_rows.ending(session, scope, job.lease_id)
    return JobFacts(
        order=order,
        lease=LeaseState(lease.state),
        stopped=lease.stopped_at is not None,
        cause=lease.cause,
        started=await lease_rows.has_output(session, scope, job.lease_id),
        reported=Verdict(ending.verdict) if ending else None,
    )
