"""Leases as the API shows them, with everything that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.leases import repository
from marketplace.leases.schemas import LeaseAnswer, lease_answer
from marketplace.models import Challenge, Commit, Lease, Payment
from marketplace.scope import Scope


async def lease_answers(
    session: AsyncSession, scope: Scope, rows: Sequence[Lease]
) -> list[LeaseAnswer]:
    """Write leases with their commits, payments and challenges."""
    ids = [row.lease_id for row in rows]
    if not ids:
        return []
    commits = await repository.of_leases(session, scope, Commit, ids)
    payments = await repository.of_leases(session, scope, Payment, ids)
    challenges = await repository.of_leases(session, scope, Challenge, ids)
    confirmed = await repository.confirmed_block(session, scope)
    return [
        lease_answer(
            row,
            commits[row.lease_id],
            payments[row.lease_id],
            challenges[row.lease_id],
            confirmed,
        )
        for row in rows
    ]
