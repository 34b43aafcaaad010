"""Rows of the follower: cursor, blocks, events, and the facts computed from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import LeaseState
from marketplace.database import upsert
from marketplace.domain.events import EventRecord
from marketplace.domain.ledger import (
    LeaseFacts,
    ListingFacts,
    Posting,
    StakeFacts,
    Subject,
    SubjectKind,
)
from marketplace.models import (
    ChainBlock,
    ChainCursor,
    ChainEvent,
    ChainSubject,
    Challenge,
    Commit,
    Credit,
    CreditEntry,
    Lease,
    Listing,
    Payment,
    Stake,
)
from marketplace.scope import Scope

F = TypeVar("F", ListingFacts, LeaseFacts, StakeFacts)
_BY_EVENT = (Commit, Payment, Challenge, CreditEntry, ChainSubject, ChainEvent)


async def cursor(session: AsyncSession, scope: Scope) -> ChainCursor | None:
    """Return how far the contract was followed."""
    return await session.get(ChainCursor, scope.id())


async def create_cursor(session: AsyncSession, scope: Scope, values: Mapping[str, Any]) -> None:
    """Write the first cursor, unless another process just did."""
    insert = upsert(session)
    await session.execute(
        insert(ChainCursor).values(**scope.key, **values).on_conflict_do_nothing()
    )


async def move_cursor(
    session: AsyncSession, scope: Scope, expected_next: int, values: Mapping[str, Any]
) -> bool:
    """Move the cursor if it still stands where it was read; tell whether it did."""
    result = await session.execute(
        update(ChainCursor)
        .where(*scope.of(ChainCursor), ChainCursor.next_block == expected_next)
        .values(**values)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE gives a cursor result


async def recent_blocks(session: AsyncSession, scope: Scope) -> list[tuple[int, str]]:
    """Return number and hash of the kept blocks, newest first."""
    rows = await session.execute(
        select(ChainBlock.number, ChainBlock.hash)
        .where(*scope.of(ChainBlock))
        .order_by(ChainBlock.number.desc())
    )
    return [(row.number, row.hash) for row in rows]


async def keep_blocks(
    session: AsyncSession, scope: Scope, blocks: Iterable[tuple[int, str]], oldest: int
) -> None:
    """Add blocks and forget those below ``oldest``."""
    rows = [{**scope.key, "number": n, "hash": h} for n, h in blocks]
    if rows:
        await session.execute(upsert(session)(ChainBlock).on_conflict_do_nothing(), rows)
    await session.execute(
        delete(ChainBlock).where(*scope.of(ChainBlock), ChainBlock.number < oldest)
    )


async def add_event(
    session: AsyncSession, scope: Scope, event: EventRecord, touched: Sequence[Subject]
) -> None:
    """Write an event and what it changes."""
    session.add(
        ChainEvent(
            **scope.key,
            block_number=event.block_number,
            log_index=event.log_index,
            block_hash=event.block_hash,
            block_at=event.block_at,
            tx_hash=event.tx_hash,
            name=event.name,
            args=dict(event.args),
        )
    )
    for subject in touched:
        session.add(
            ChainSubject(
                **scope.key,
                kind=subject.kind,
                key=subject.key,
                block_number=event.block_number,
                log_index=event.log_index,
            )
        )


async def events_between(
    session: AsyncSession, scope: Scope, after: int, up_to: int, names: Sequence[str]
) -> list[EventRecord]:
    """Return events of these names in the blocks ``after + 1 .. up_to``, in order."""
    rows = await session.scalars(
        select(ChainEvent)
        .where(
            *scope.of(ChainEvent),
            ChainEvent.block_number > after,
            ChainEvent.block_number <= up_to,
            ChainEvent.name.in_(names),
        )
        .order_by(ChainEvent.block_number, ChainEvent.log_index)
    )
    return [_record(row) for row in rows]


async def events_of(session: AsyncSession, scope: Scope, subject: Subject) -> list[EventRecord]:
    """Return all events that change a subject, in order."""
    rows = await session.scalars(
        select(ChainEvent)
        .join(
            ChainSubject,
            (ChainSubject.chain_id == ChainEvent.chain_id)
            & (ChainSubject.contract == ChainEvent.contract)
            & (ChainSubject.block_number == ChainEvent.block_number)
            & (ChainSubject.log_index == ChainEvent.log_index),
        )
        .where(
            *scope.of(ChainEvent),
            ChainSubject.kind == subject.kind,
            ChainSubject.key == subject.key,
        )
        .order_by(ChainEvent.block_number, ChainEvent.log_index)
    )
    return [_record(row) for row in rows]


async def subjects_above(session: AsyncSession, scope: Scope, block: int) -> list[Subject]:
    """Return what the events above a block changed."""
    rows = await session.execute(
        select(ChainSubject.kind, ChainSubject.key)
        .where(*scope.of(ChainSubject), ChainSubject.block_number > block)
        .distinct()
        .order_by(ChainSubject.kind, ChainSubject.key)
    )
    return [Subject(SubjectKind(kind), key) for kind, key in rows]


async def drop_above(session: AsyncSession, scope: Scope, block: int) -> None:
    """Remove all rows of events above a block, and those blocks."""
    await session.flush()
    for model in _BY_EVENT:
        number = model.block_number
        await session.execute(delete(model).where(*scope.of(model), number > block))
    await session.execute(
        delete(ChainBlock).where(*scope.of(ChainBlock), ChainBlock.number > block)
    )


async def entries_above(session: AsyncSession, scope: Scope, block: int) -> list[CreditEntry]:
    """Return the credit entries above a block."""
    rows = await session.scalars(
        select(CreditEntry).where(*scope.of(CreditEntry), CreditEntry.block_number > block)
    )
    return list(rows)


async def add_entry(
    session: AsyncSession, scope: Scope, event: EventRecord, ordinal: int, posting: Posting
) -> None:
    """Write one change of credit."""
    session.add(
        CreditEntry(
            **scope.key,
            block_number=event.block_number,
            log_index=event.log_index,
            ordinal=ordinal,
            token=posting.token,
            account=posting.account,
            delta=posting.delta,
            reason=posting.reason,
            lease_id=posting.lease_id,
        )
    )


async def change_credit(
    session: AsyncSession, scope: Scope, token: str, account: str, delta: int
) -> None:
    """Add to an account's credit; an account whose entries were all taken back has no row."""
    row = await session.get(Credit, scope.id(token, account))
    if row is None:
        session.add(Credit(**scope.key, token=token, account=account, amount=delta))
    else:
        row.amount += delta


async def drop_credit_without_entries(
    session: AsyncSession, scope: Scope, token: str, account: str
) -> None:
    """Remove the credit of an account that has no entry left."""
    left = await session.scalar(
        select(CreditEntry.block_number)
        .where(*scope.of(CreditEntry), CreditEntry.token == token, CreditEntry.account == account)
        .limit(1)
    )
    if left is None:
        await session.execute(
            delete(Credit).where(
                *scope.of(Credit), Credit.token == token, Credit.account == account
            )
        )


async def listing(session: AsyncSession, scope: Scope, listing_id: str) -> ListingFacts | None:
    """Return a listing's facts."""
    row = await session.get(Listing, scope.id(listing_id))
    return facts_of(ListingFacts, row) if row else None


async def lease(session: AsyncSession, scope: Scope, lease_id: str) -> LeaseFacts | None:
    """Return a lease's facts."""
    row = await session.get(Lease, scope.id(lease_id))
    return facts_of(LeaseFacts, row) if row else None


async def credit(session: AsyncSession, scope: Scope, token: str, account: str) -> int:
    """Return what an account can withdraw, in the token's smallest unit."""
    row = await session.get(Credit, scope.id(token, account))
    return row.amount if row else 0


async def stake(session: AsyncSession, scope: Scope, provider: str, token: str) -> StakeFacts:
    """Return a provider's stake; an empty one when it never staked."""
    row = await session.get(Stake, scope.id(provider, token))
    if row is None:
        return StakeFacts(provider=provider, token=token)
    return facts_of(StakeFacts, row)


async def save(
    session: AsyncSession, scope: Scope, facts: ListingFacts | LeaseFacts | StakeFacts
) -> None:
    """Write facts over what was there."""
    model = {ListingFacts: Listing, LeaseFacts: Lease, StakeFacts: Stake}[type(facts)]
    values = {f.name: getattr(facts, f.name) for f in dataclasses.fields(facts)}
    await session.merge(model(**scope.key, **values))


async def remove(session: AsyncSession, scope: Scope, model: Any, *key: str) -> None:
    """Remove a row whose events are all gone."""
    row = await session.get(model, scope.id(*key))
    if row is not None:
        await session.delete(row)


async def open_challenges(session: AsyncSession, scope: Scope, lease_id: str) -> list[Challenge]:
    """Return the challenges of a lease that have no ruling yet."""
    rows = await session.scalars(
        select(Challenge).where(
            *scope.of(Challenge), Challenge.lease_id == lease_id, Challenge.ruling.is_(None)
        )
    )
    return list(rows)


async def take_back_rulings(
    session: AsyncSession, scope: Scope, transactions: Sequence[str]
) -> None:
    """Take back the rulings that were made in these transactions."""
    await session.execute(
        update(Challenge)
        .where(*scope.of(Challenge), Challenge.ruled_tx.in_(transactions))
        .values(ruling=None, ruled_tx=None)
    )


async def transactions_above(
    session: AsyncSession, scope: Scope, block: int, names: Sequence[str]
) -> list[str]:
    """Return the transactions of events of these names above a block."""
    rows = await session.scalars(
        select(ChainEvent.tx_hash).where(
            *scope.of(ChainEvent),
            ChainEvent.block_number > block,
            ChainEvent.name.in_(names),
        )
    )
    return list(rows)


def facts_of(kind: type[F], row: Any) -> F:
    """Return a row's facts."""
    values = {f.name: getattr(row, f.name) for f in dataclasses.fields(kind)}
    if kind is LeaseFacts:
        values["state"] = LeaseState(values["state"])
    return kind(**values)


def _record(row: ChainEvent) -> EventRecord:
    return EventRecord(
        name=row.name,
        args=row.args,
        block_number=row.block_number,
        block_hash=row.block_hash,
        block_at=row.block_at,
        tx_hash=row.tx_hash,
        log_index=row.log_index,
    )
