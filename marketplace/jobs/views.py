"""Jobs as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.jobs.schemas import JobAnswer, job_answer
from marketplace.leases import repository as lease_rows
from marketplace.leases.views import lease_answers
from marketplace.models import Job
from marketplace.scope import Scope


async def job_answers(session: AsyncSession, scope: Scope, rows: Sequence[Job]) -> list[JobAnswer]:
    """Write jobs with their progress and leases."""
    ids = [row.lease_id for row in rows if row.lease_id]
    leases = []
    for lease_id in ids:
        lease = await lease_rows.find(session, scope, lease_id)
        if lease is not None:
            leases.append(lease)
    answers = {a.lease_id: a for a in await lease_answers(session, scope, leases)}
    progress = await lease_rows.newest_progress(session, scope, ids)
    return [
        job_answer(row, progress.get(row.lease_id or ""), answers.get(row.lease_id or ""))
        for row in rows
    ]
