"""Many leases and one node: those that wait, or stay due, stand in nobody's way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.clock import now
from marketplace.domain.states import OutboxState
from marketplace.indexer import repository as chain_rows
from marketplace.leases import relay
from marketplace.models import Lease, OutboxItem
from marketplace.outbox import chores
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import RELAY_CLOSE, UNASKED
from tests.support.market import World, hex32, open_world

AT_ONCE, PER_HOUR = 5, 8
MANY = 6
NEW = hex32(MANY)
LATE = {"first_commit_within": 10_000, "max_duration": 10_000}


@pytest.fixture
async def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A node that sends, for fewer leases in one pass than there are."""
    monkeypatch.setattr(relay, "MAX_AT_ONCE", AT_ONCE)
    values = {"relayer_key_file": tmp_path / "key", "relay_grace_s": 0}
    async with open_world(tmp_path, unasked_relays_per_hour=PER_HOUR, **values) as opened:
        yield opened


async def opened(keeper: World, lease_ids: list[str], **values: Any) -> datetime:
    """Open leases that nobody works on; returns when the last one may be closed."""
    offer = keeper.offer(hex32(1))
    terms = keeper.terms(keeper.order(offer), offer, **values)
    parties = {"renter": terms.renter.lower(), "provider": terms.provider.lower()}
    events = [
        keeper.event("Opened", lease_id=lease_id, terms=terms.to_json(), **parties)
        for lease_id in lease_ids
    ]
    await keeper.apply(*events)
    return events[-1].block_at + timedelta(seconds=terms.first_commit_within + 1)


async def set_clock(keeper: World, head_at: datetime) -> None:
    """Let the chain's clock stand there."""
    scope = keeper.market.scope
    async with keeper.market.database.writing() as session:
        start = {"next_block": 0, "head_block": 0, "head_at": head_at, "confirmed_block": 0}
        await chain_rows.create_cursor(session, scope, start)
        await chain_rows.move_cursor(session, scope, 0, start)


async def ordered(keeper: World, head_at: datetime) -> set[str]:
    """Leases for which something is ordered when the chain's clock stands there."""
    await set_clock(keeper, head_at)
    async with keeper.market.database.writing() as session:
        await relay.order_due(session, keeper.market, now())
    async with keeper.market.database.reading() as session:
        return {item.payload["lease_id"] for item in await items(session)}


async def items(session: AsyncSession) -> Sequence[OutboxItem]:
    """What was ordered, the oldest first."""
    wanted = select(OutboxItem).where(OutboxItem.kind.in_(UNASKED))
    return (await session.scalars(wanted.order_by(OutboxItem.created_at))).all()


async def end(
    session: AsyncSession,
    item: OutboxItem,
    state: OutboxState,
    at: datetime | None = None,
    **values: Any,
) -> None:
    """Deliver an item."""
    moment = at or now()
    claimed = await outbox.claim(session, item.item_id, moment, 1)
    assert claimed is not None
    await outbox.end(session, claimed, moment, state, **values)


async def test_when_older_leases_wait_for_later_then_a_due_one_is_reached(keeper: World) -> None:
    await opened(keeper, [hex32(n) for n in range(MANY)], **LATE)
    assert await ordered(keeper, await opened(keeper, [NEW])) == {NEW}


async def test_when_older_leases_stay_due_then_a_newer_one_is_reached(keeper: World) -> None:
    await opened(keeper, [hex32(n) for n in range(MANY)])
    head_at = await opened(keeper, [NEW])
    first = await ordered(keeper, head_at)
    assert (len(first), NEW in first) == (AT_ONCE, False), "the oldest first"
    assert len(await ordered(keeper, head_at)) == MANY + 1


async def test_when_a_lease_stays_due_then_it_is_tried_again_a_day_later(keeper: World) -> None:
    head_at = await opened(keeper, [NEW])
    assert await ordered(keeper, head_at - timedelta(seconds=1)) == set()
    assert await ordered(keeper, head_at) == {NEW}
    async with keeper.market.database.writing() as session:
        await end(session, (await items(session))[0], OutboxState.FAILED, error="no gas")
        await outbox.forget(session, sorted(UNASKED), now() + timedelta(seconds=1))
    assert await ordered(keeper, head_at + relay.RETRY_AFTER - timedelta(seconds=1)) == set()
    assert await ordered(keeper, head_at + relay.RETRY_AFTER) == {NEW}


async def test_when_a_call_failed_then_the_upkeep_a_day_later_orders_it_anew(
    keeper: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_at, begun = await opened(keeper, [NEW]), now()
    await ordered(keeper, head_at)
    async with keeper.market.database.writing() as session:
        (first,) = await items(session)
        ended_at = begun + timedelta(minutes=50)
        await end(session, first, OutboxState.FAILED, at=ended_at, error="no gas")
    await set_clock(keeper, head_at + relay.RETRY_AFTER)
    monkeypatch.setattr(chores, "now", lambda: begun + relay.RETRY_AFTER)
    await chores.handler(keeper.market)({})
    async with keeper.market.database.reading() as session:
        (second,) = await items(session)
    assert (second.key, second.state) == (first.key, OutboxState.QUEUED)


async def test_when_a_lease_is_looked_at_too_early_then_its_time_is_found(keeper: World) -> None:
    head_at = await opened(keeper, [NEW])
    async with keeper.market.database.writing() as session:
        # So a migration leaves it.
        await session.execute(update(Lease).values(due_at=Lease.opened_at))
    assert await ordered(keeper, head_at - timedelta(seconds=1)) == set()
    async with keeper.market.database.reading() as session:
        assert (await session.scalars(select(Lease.due_at))).one() == head_at
    assert await ordered(keeper, head_at) == {NEW}


async def test_when_a_lease_changes_after_a_try_then_it_has_its_turn_anew(keeper: World) -> None:
    head_at = await opened(keeper, [NEW])
    assert await ordered(keeper, head_at) == {NEW}
    paid = {"to_provider": "1", "to_treasury": "0", "to_audit_pool": "0"}
    await keeper.apply(keeper.event("Settled", lease_id=NEW, paid_segments=1, **paid))
    await ordered(keeper, head_at)
    async with keeper.market.database.reading() as session:
        keys = (await session.scalars(select(OutboxItem.key))).all()
    assert len(keys) == 2, "its close, as it stood and as it stands"
    closed = keeper.event("Closed", lease_id=NEW, cause=1, refund="1")
    await keeper.apply(closed)
    async with keeper.market.database.reading() as session:
        assert (await session.scalars(select(Lease.due_at))).one() is None


async def test_when_the_hour_is_spent_then_leases_wait_for_the_next_in_their_turn(
    keeper: World,
) -> None:
    head_at = await opened(keeper, [hex32(n) for n in range(PER_HOUR)])
    last = await opened(keeper, [hex32(n) for n in range(PER_HOUR, PER_HOUR + 3)])
    await ordered(keeper, head_at)
    assert len(await ordered(keeper, last)) == PER_HOUR
    async with keeper.market.database.writing() as session:
        refused, reverted = (await items(session))[:2]
        for item, transactions in ((refused, []), (reverted, ["0xaa"])):
            result = {"refused": "LeaseNotOpen", "transactions": transactions}
            await end(session, item, OutboxState.DONE, result=result)
    known = await ordered(keeper, last)
    assert known == {hex32(n) for n in range(PER_HOUR + 1)}, "what cost no gas does not count"
    async with keeper.market.database.writing() as session:
        for item in await items(session):
            item.created_at -= timedelta(hours=1)
            if item.state == OutboxState.QUEUED:
                item.updated_at -= timedelta(hours=1)
    assert await ordered(keeper, last) == known, "they wait, or were sent just now"
    async with keeper.market.database.writing() as session:
        sent = await session.get(OutboxItem, reverted.item_id)
        assert sent is not None
        sent.updated_at -= timedelta(hours=1)
    assert await ordered(keeper, last) == known | {hex32(PER_HOUR + 1)}, "the next, and no more"


async def test_when_a_settlement_was_missed_too_then_only_the_close_is_ordered(
    keeper: World,
) -> None:
    head_at = await opened(keeper, [NEW], max_duration=3_000)
    roots = {"trace_root": hex32(1), "root": hex32(2)}
    await keeper.apply(keeper.event("Committed", lease_id=NEW, up_to=3, **roots))
    await ordered(keeper, head_at + timedelta(seconds=2_700))
    async with keeper.market.database.reading() as session:
        assert [item.kind for item in await items(session)] == [RELAY_CLOSE], "it pays as well"
