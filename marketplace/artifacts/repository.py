"""Queries for artifacts and who may read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import delete, func, or_, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import (
    ORDER_TRANSITIONS,
    AuditState,
    LeaseState,
    OrderState,
    successors,
)
from marketplace import transitions
from marketplace.database import upsert
from marketplace.domain.states import ArtifactState
from marketplace.models import Artifact, ArtifactAccess, Audit, Lease, Order, Upload

OWNER = "owner"


async def readable(session: AsyncSession, digest: str, account: str) -> Artifact | None:
    """Return an artifact if the account may read it."""
    rows = await session.scalars(
        select(Artifact)
        .join(ArtifactAccess, ArtifactAccess.hash == Artifact.hash)
        .where(
            Artifact.hash == digest,
            Artifact.state == ArtifactState.STORED,
            ArtifactAccess.account == account,
        )
        .limit(1)
    )
    return rows.one_or_none()


async def readable_among(
    session: AsyncSession, digests: Collection[str], account: str
) -> dict[str, int]:
    """Return the sizes of those of these artifacts that the account may read."""
    rows = await session.execute(
        select(Artifact.hash, Artifact.size)
        .join(ArtifactAccess, ArtifactAccess.hash == Artifact.hash)
        .where(
            Artifact.hash.in_(set(digests)),
            Artifact.state == ArtifactState.STORED,
            ArtifactAccess.account == account,
        )
    )
    return {row.hash: row.size for row in rows}


async def stored_bytes(session: AsyncSession, account: str) -> int:
    """Return how much an account stores, in bytes."""
    found = await session.scalar(
        select(func.coalesce(func.sum(Artifact.size), 0))
        .join(ArtifactAccess, ArtifactAccess.hash == Artifact.hash)
        .where(ArtifactAccess.account == account, ArtifactAccess.reason == OWNER)
    )
    return int(found or 0)


async def given_bytes(session: AsyncSession, account: str) -> int:
    """Return how much of it an account gave as inputs of audits of its own leases, in bytes."""
    given = (
        select(ArtifactAccess.hash)
        .join(Audit, Audit.audit_id == ArtifactAccess.reason)
        .where(Audit.operator == account)
    )
    found = await session.scalar(
        select(func.coalesce(func.sum(Artifact.size), 0))
        .join(ArtifactAccess, ArtifactAccess.hash == Artifact.hash)
        .where(
            ArtifactAccess.account == account,
            ArtifactAccess.reason == OWNER,
            Artifact.hash.in_(given),
        )
    )
    return int(found or 0)


async def lock_uploads(session: AsyncSession) -> None:
    """Let nobody else take a slot until the session ends; SQLite's writers wait for each other."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("LOCK TABLE uploads IN SHARE ROW EXCLUSIVE MODE"))


async def drop_expired_uploads(session: AsyncSession, now: datetime) -> None:
    """Free the slots of uploads whose process died."""
    await session.execute(delete(Upload).where(Upload.expires_at <= now))


async def on_their_way(session: AsyncSession, account: str | None = None) -> tuple[int, int]:
    """Return number and bytes of the uploads of an account, or of everybody."""
    query = select(func.count(), func.coalesce(func.sum(Upload.size), 0))
    if account is not None:
        query = query.where(Upload.account == account)
    number, size = (await session.execute(query)).one()
    return int(number), int(size)


async def all_bytes(session: AsyncSession) -> int:
    """Return how much is stored for everybody, in bytes."""
    return int(await session.scalar(select(func.coalesce(func.sum(Artifact.size), 0))) or 0)


async def owns(session: AsyncSession, digest: str, account: str) -> bool:
    """Tell whether an account already stored this artifact."""
    return await session.get(ArtifactAccess, (digest, account, OWNER)) is not None


async def release(session: AsyncSession, upload_id: str) -> None:
    """Free an upload's slot; one that is free is no error."""
    await session.execute(delete(Upload).where(Upload.upload_id == upload_id))


async def add(session: AsyncSession, digest: str, size: int, now: datetime) -> None:
    """Write that an artifact is stored; one that was damaged is whole again."""
    insert = upsert(session)
    await session.execute(
        insert(Artifact)
        .values(hash=digest, size=size, state=ArtifactState.STORED, created_at=now)
        .on_conflict_do_nothing()
    )
    await transitions.move(
        session, Artifact, (Artifact.hash == digest,), ArtifactState.STORED, size=size
    )


async def grant(
    session: AsyncSession, digests: Iterable[str], account: str, reason: str, now: datetime
) -> None:
    """Let an account read artifacts."""
    rows = [
        {"hash": digest, "account": account, "reason": reason, "created_at": now}
        for digest in sorted(set(digests))
    ]
    if rows:
        await session.execute(upsert(session)(ArtifactAccess).on_conflict_do_nothing(), rows)


async def own(session: AsyncSession, digest: str, account: str, now: datetime) -> None:
    """Write that an account stored an artifact; storing it again keeps it for longer."""
    insert = upsert(session)
    await session.execute(
        insert(ArtifactAccess)
        .values(hash=digest, account=account, reason=OWNER, created_at=now)
        .on_conflict_do_update(
            index_elements=["hash", "account", "reason"], set_={"created_at": now}
        )
    )


async def expire_unneeded(session: AsyncSession, cutoff: datetime) -> int:
    """Give up the artifacts that nobody has needed since a time; return how many.

    An artifact is needed by who stored it after that time, by open orders, by leases that are not
    closed, by audits that go on, by those of them that ended after that time, and by an upload of
    the same bytes that is on its way.
    """
    if session.get_bind().dialect.name == "postgresql":
        # A grant waits until this is over, and its order then asks for the artifact again.
        await session.execute(text("LOCK TABLE artifact_access IN SHARE ROW EXCLUSIVE MODE"))
    of_lease = (
        (Lease.chain_id == Order.chain_id)
        & (Lease.contract == Order.contract)
        & (Lease.lease_id == Order.lease_id)
    )
    running = or_(Lease.state != LeaseState.CLOSED, Lease.closed_at > cutoff)
    opened = (Order.state == OrderState.OPENED) & or_(Lease.lease_id.is_(None), running)
    waiting = [state for state, after in ORDER_TRANSITIONS.items() if OrderState.EXPIRED in after]
    orders = (
        select(Order.order_id)
        .outerjoin(Lease, of_lease)
        .where(or_(Order.state.in_(waiting), Order.updated_at > cutoff, opened))
    )
    leases = select(Lease.lease_id).where(running)
    ended = [state for state in AuditState if successors(state) <= {AuditState.RULED}]
    audits = select(Audit.audit_id).where(or_(Audit.state.not_in(ended), Audit.updated_at > cutoff))
    access = ArtifactAccess
    needed = select(access.hash).where(
        or_(
            (access.reason == OWNER) & (access.created_at > cutoff),
            access.reason.in_(union_all(orders, leases, audits)),
        )
    )
    where = (Artifact.hash.not_in(needed), Artifact.hash.not_in(select(Upload.hash)))
    return await transitions.move(session, Artifact, where, ArtifactState.EXPIRED)


async def expired(session: AsyncSession, limit: int) -> list[str]:
    """Return artifacts that are being removed."""
    query = select(Artifact.hash).where(Artifact.state == ArtifactState.EXPIRED)
    return list(await session.scalars(query.order_by(Artifact.hash).limit(limit)))


async def remove(session: AsyncSession, digests: Collection[str]) -> None:
    """Remove the rows of artifacts whose bytes are gone, and who could read them."""
    gone = select(Artifact.hash).where(
        Artifact.hash.in_(digests), Artifact.state == ArtifactState.EXPIRED
    )
    await session.execute(delete(ArtifactAccess).where(ArtifactAccess.hash.in_(gone)))
    await session.execute(
        delete(Artifact).where(Artifact.hash.in_(digests), Artifact.state == ArtifactState.EXPIRED)
    )


async def revoke(session: AsyncSession, account: str, reason: str) -> None:
    """Take grants back that were made for this reason."""
    await session.execute(
        delete(ArtifactAccess).where(
            ArtifactAccess.account == account, ArtifactAccess.reason == reason
        )
    )


async def find(session: AsyncSession, digest: str) -> Artifact | None:
    """Return an artifact, whoever asks; for the node's own work."""
    return await session.get(Artifact, digest)


async def set_checked(
    session: AsyncSession, digest: str, now: datetime, state: ArtifactState
) -> None:
    """Write the result of reading an artifact back."""
    where = (Artifact.hash == digest,)
    await transitions.move(session, Artifact, where, state)
    await session.execute(update(Artifact).where(*where).values(checked_at=now))
