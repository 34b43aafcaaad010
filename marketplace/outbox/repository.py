"""Rows of the outbox: added with their cause, claimed by compare-and-set, ended by the claimer."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.ids import IdKind, new_id
from marketplace import transitions
from marketplace.database import upsert
from marketplace.domain.states import OutboxState
from marketplace.models import Activity, OutboxItem

_RELAYS_LOCK = 0x72656C61
"""Names the lock to PostgreSQL: any number that no other lock of the database has."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An item in the hands of one worker."""

    item_id: str
    kind: str
    key: str
    payload: dict[str, Any]
    num_tries: int
    created_at: datetime
    result: dict[str, Any]
    """What earlier tries came to, such as the transactions that they sent."""
    lock_token: str


async def add(
    session: AsyncSession,
    kind: str,
    key: str,
    payload: Mapping[str, Any],
    *,
    now: datetime,
    due_at: datetime | None = None,
) -> None:
    """Write an item, unless one of the same key is there."""
    insert = upsert(session)
    await session.execute(
        insert(OutboxItem)
        .values(
            item_id=new_id(IdKind.EVENT),
            kind=kind,
            key=key,
            payload=dict(payload),
            state=OutboxState.QUEUED,
            num_tries=0,
            due_at=due_at or now,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing(index_elements=["key"])
    )


async def find(session: AsyncSession, key: str) -> OutboxItem | None:
    """Return the item of this key."""
    rows = await session.scalars(select(OutboxItem).where(OutboxItem.key == key))
    return rows.one_or_none()


async def find_queued(session: AsyncSession, kind: str, prefix: str) -> OutboxItem | None:
    """Return an item of this kind that has not ended and whose key begins so."""
    rows = await session.scalars(
        select(OutboxItem)
        .where(
            OutboxItem.kind == kind,
            OutboxItem.state == OutboxState.QUEUED,
            OutboxItem.key.startswith(prefix, autoescape=True),
        )
        .limit(1)
    )
    return rows.one_or_none()


async def find_done(session: AsyncSession, kind: str, prefix: str) -> OutboxItem | None:
    """Return an item of this kind that was done, not refused, and whose key begins so."""
    rows = await session.scalars(
        select(OutboxItem)
        .where(
            OutboxItem.kind == kind,
            OutboxItem.state == OutboxState.DONE,
            OutboxItem.result["refused"].as_string().is_(None),
            OutboxItem.key.startswith(prefix, autoescape=True),
        )
        .limit(1)
    )
    return rows.one_or_none()


async def num_sent(session: AsyncSession, kinds: Collection[str], since: datetime) -> int:
    """Return how many items of these kinds were sent to the chain since a time, or may still be.

    What ended without a transaction does not count, what waits does however old it is.
    """
    sent = OutboxItem.result[("transactions", 0)].as_string().is_not(None)
    found = await session.scalar(
        select(func.count())
        .select_from(OutboxItem)
        .where(
            OutboxItem.kind.in_(kinds),
            or_(
                OutboxItem.state == OutboxState.QUEUED,
                and_(OutboxItem.updated_at > since, sent),
            ),
        )
    )
    return found or 0


async def lock_relays(session: AsyncSession) -> None:
    """Let nobody else add a relayed call until the session ends; SQLite's writers wait anyway."""
    if session.get_bind().dialect.name == "postgresql":
        # Not the table: everybody's work is in it.
        await session.execute(select(func.pg_advisory_xact_lock(_RELAYS_LOCK)))


def _unannounced(now: datetime, again_after_s: float) -> Any:
    told_before = now - timedelta(seconds=again_after_s)
    untold = or_(
        OutboxItem.announced_at.is_(None),
        OutboxItem.announced_at < OutboxItem.due_at,
        OutboxItem.announced_at < told_before,
    )
    return and_(
        OutboxItem.state == OutboxState.QUEUED, OutboxItem.due_at <= now, untold, _free(now)
    )


async def waits(session: AsyncSession, now: datetime, again_after_s: float) -> bool:
    """Tell whether there is something to announce."""
    found = await session.scalar(
        select(OutboxItem.item_id).where(_unannounced(now, again_after_s)).limit(1)
    )
    return found is not None


async def announce(
    session: AsyncSession, now: datetime, again_after_s: float, limit: int
) -> list[tuple[str, str]]:
    """Pick the due items that no worker was told of lately; return their ids and kinds."""
    rows = await session.execute(
        select(OutboxItem.item_id, OutboxItem.kind)
        .where(_unannounced(now, again_after_s))
        .order_by(OutboxItem.due_at)
        .limit(limit)
    )
    found = [(row.item_id, row.kind) for row in rows]
    if found:
        await session.execute(
            update(OutboxItem)
            .where(OutboxItem.item_id.in_([item_id for item_id, _ in found]))
            .values(announced_at=now)
        )
    return found


async def claim(
    session: AsyncSession, item_id: str, now: datetime, lock_s: float
) -> Claimed | None:
    """Take a due item if nobody else holds it; nothing when it is done, held or not due."""
    token = secrets.token_hex(16)
    result = await session.execute(
        update(OutboxItem)
        .where(
            OutboxItem.item_id == item_id,
            OutboxItem.state == OutboxState.QUEUED,
            OutboxItem.due_at <= now,
            _free(now),
        )
        .values(
            lock_token=token,
            lock_expires_at=now + timedelta(seconds=lock_s),
            num_tries=OutboxItem.num_tries + 1,
            updated_at=now,
        )
        .returning(
            OutboxItem.kind,
            OutboxItem.key,
            OutboxItem.payload,
            OutboxItem.num_tries,
            OutboxItem.created_at,
            OutboxItem.result,
        )
    )
    row = result.one_or_none()
    if row is None:
        return None
    kind, key, payload, num_tries, created_at, so_far = row
    return Claimed(item_id, kind, key, payload, num_tries, created_at, so_far or {}, token)


async def end(
    session: AsyncSession,
    claimed: Claimed,
    now: datetime,
    state: OutboxState,
    *,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
    due_at: datetime | None = None,
    failed: bool = False,
) -> bool:
    """Write back what became of a claimed item; false when another worker took it over."""
    values: dict[str, Any] = {
        "lock_token": None,
        "lock_expires_at": None,
        "last_error": error,
        "updated_at": now,
    }
    if not failed:
        values["num_tries"] = 0
    if result is not None:
        values["result"] = dict(result)
    if due_at is not None:
        values["due_at"] = due_at
    held = (OutboxItem.item_id == claimed.item_id, OutboxItem.lock_token == claimed.lock_token)
    return bool(await transitions.move(session, OutboxItem, held, state, **values))


async def num_due(session: AsyncSession, now: datetime) -> int:
    """Return how many items wait although they are due."""
    found = await session.scalar(
        select(func.count())
        .select_from(OutboxItem)
        .where(OutboxItem.state == OutboxState.QUEUED, OutboxItem.due_at <= now)
    )
    return found or 0


async def forget(session: AsyncSession, kinds: Sequence[str], before: datetime) -> None:
    """Remove ended items of these kinds, whose keys are never used again."""
    await session.execute(
        delete(OutboxItem).where(
            OutboxItem.kind.in_(kinds),
            OutboxItem.state != OutboxState.QUEUED,
            OutboxItem.updated_at < before,
        )
    )


def note(session: AsyncSession, actor: str, action: str, subject: str, now: datetime) -> None:
    """Write who did what, in the transaction that does it."""
    session.add(
        Activity(
            activity_id=new_id(IdKind.EVENT), actor=actor, action=action, subject=subject, at=now
        )
    )


def _free(now: datetime) -> Any:
    return or_(OutboxItem.lock_token.is_(None), OutboxItem.lock_expires_at < now)
