"""Queries for auditors and audits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import LIVE_AUDITS, AuditKind, AuditState
from marketplace import transitions
from marketplace.database import upsert
from marketplace.domain.ledger import LeaseFacts
from marketplace.domain.states import AuditorRole
from marketplace.models import Audit, Auditor, ChainCursor
from marketplace.scope import Scope


async def register(session: AsyncSession, scope: Scope, values: dict[str, Any]) -> None:
    """Write an auditor, or refresh the one of this address and role."""
    insert = upsert(session)
    changed = {k: values[k] for k in ("key", "key_signature", "hardware_class", "seen_at")}
    await session.execute(
        insert(Auditor)
        .values(**scope.key, **values)
        .on_conflict_do_update(
            index_elements=["chain_id", "contract", "address", "role"], set_=changed
        )
    )


async def auditors(
    session: AsyncSession,
    scope: Scope,
    *,
    role: str | None,
    hardware_class: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Sequence[Auditor]:
    """Return registered auditors, in the order of their addresses and roles."""
    query = select(Auditor).where(*scope.of(Auditor))
    if role is not None:
        query = query.where(Auditor.role == role)
    if hardware_class is not None:
        query = query.where(Auditor.hardware_class == hardware_class)
    if after is not None:
        query = query.where(tuple_(Auditor.address, Auditor.role) > after)
    return (await session.scalars(query.order_by(Auditor.address, Auditor.role).limit(limit))).all()


async def auditors_seen(
    session: AsyncSession, scope: Scope, *, hardware_class: str, after: datetime
) -> set[str]:
    """Return the addresses of a class's auditors that registered, or did so again, after a time."""
    found = await session.scalars(
        select(Auditor.address).where(
            *scope.of(Auditor),
            Auditor.role == AuditorRole.AUDITOR,
            Auditor.hardware_class == hardware_class,
            Auditor.seen_at > after,
        )
    )
    return set(found)


async def auditor(session: AsyncSession, scope: Scope, address: str, role: str) -> Auditor | None:
    """Return one auditor."""
    return await session.get(Auditor, scope.id(address, role))


async def add(session: AsyncSession, scope: Scope, rows: Sequence[dict[str, Any]]) -> None:
    """Write audits; those that are there already stay as they are."""
    if rows:
        values = [{**scope.key, **row} for row in rows]
        await session.execute(upsert(session)(Audit).on_conflict_do_nothing(), values)


async def find(session: AsyncSession, scope: Scope, audit_id: str) -> Audit | None:
    """Return one audit of this contract."""
    row = await session.get(Audit, audit_id)
    if row is None or (row.chain_id, row.contract) != (scope.chain_id, scope.contract):
        return None
    return row


async def of_leases(
    session: AsyncSession, scope: Scope, lease_ids: Collection[str]
) -> Sequence[Audit]:
    """Return the audits of leases, oldest first."""
    rows = await session.scalars(
        select(Audit)
        .where(*scope.of(Audit), Audit.lease_id.in_(set(lease_ids)))
        .order_by(Audit.audit_id)
    )
    return rows.all()


async def move(
    session: AsyncSession,
    audit_id: str,
    target: AuditState,
    now: datetime,
    *,
    by: Collection[AuditState] | None = None,
    **values: Any,
) -> bool:
    """Move an audit, if it still is where it may be moved from."""
    where, values["updated_at"] = (Audit.audit_id == audit_id,), now
    return bool(await transitions.move(session, Audit, where, target, by=by, **values))


async def amend(
    session: AsyncSession, audit_id: str, state: AuditState, now: datetime, **values: Any
) -> bool:
    """Change an audit that stays in its state; false when it has left it."""
    where = (Audit.audit_id == audit_id,)
    return await transitions.amend(session, Audit, where, state, updated_at=now, **values)


async def put_off(
    session: AsyncSession, scope: Scope, lease: LeaseFacts, ends_at: datetime | None
) -> None:
    """Let a lease's live audits end at a time; those of paid segments end when they would have."""
    unpaid = or_(Audit.segment >= lease.paid_segments, Audit.expires_at.is_(None))
    live = (Audit.kind == AuditKind.AUDIT, Audit.state.in_([s.value for s in LIVE_AUDITS]))
    await session.execute(
        update(Audit)
        .where(*scope.of(Audit), Audit.lease_id == lease.lease_id, *live, unpaid)
        .values(expires_at=ends_at)
    )


async def expire(session: AsyncSession, scope: Scope, now: datetime) -> int:
    """End the live audits whose time is over by the chain's clock; return how many."""
    head_at = select(ChainCursor.head_at).where(*scope.of(ChainCursor)).scalar_subquery()
    where = (*scope.of(Audit), Audit.expires_at <= head_at)
    return await transitions.move(
        session, Audit, where, AuditState.EXPIRED, by=LIVE_AUDITS, updated_at=now
    )
