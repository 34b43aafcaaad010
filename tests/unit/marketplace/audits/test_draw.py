"""Who is drawn for a commit, and what becomes of audits when the chain moves on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.draw import MAX_POOL, pool_of
from client_sdk.protocol.wire import MAX_ITEMS
from marketplace import models
from marketplace.audits import assignments, repository
from marketplace.clock import now
from marketplace.domain.events import EventRecord
from marketplace.indexer import repository as chain_rows
from tests.support.market import (
    ARBITER,
    AUDITOR,
    OPERATOR,
    OTHER,
    PROVIDER,
    RENTER,
    Rented,
    World,
    hex32,
    open_world,
    rent,
)
from worker_agent.exchange import parse_audit

SEGMENTS = 8
URL = "http://market.test"


@pytest.fixture
async def world(tmp_path: Any) -> Any:
    async with open_world(tmp_path, audit_samples=SEGMENTS) as opened:
        yield opened


async def commit(world: World, **terms: Any) -> tuple[Rented, EventRecord]:
    """A lease with one commit."""
    rented = await rent(world, **terms)
    event = world.event(
        "Committed",
        lease_id=rented.lease_id,
        up_to=SEGMENTS,
        trace_root=hex32(1),
        root=hex32(2),
    )
    await world.apply(event)
    return rented, event


async def draw(world: World, event: EventRecord, block_hash: str | None = None) -> set[str]:
    """Draw, and return who was."""
    async with world.market.database.writing() as session:
        await assignments.draw(
            session, world.market, event.place, block_hash or event.block_hash, bytes(32), now()
        )
        lease_id = event.lease_id or ""
        rows = await repository.of_leases(session, world.market.scope, [lease_id])
    return {row.auditor for row in rows}


async def register_crowd(world: World, number: int) -> list[str]:
    """Put that many more names beside the registered auditor; return all names."""
    async with world.market.database.writing() as session:
        (first,) = await session.scalars(select(models.Auditor))
        columns = models.Auditor.__table__.columns.keys()
        values = {column: getattr(first, column) for column in columns}
        names = [f"0x{i:040x}" for i in range(number)]
        rows = [values | {"address": name} for name in names]
        await session.execute(insert(models.Auditor), rows)
        return [first.address, *names]


def event_root(event: EventRecord) -> bytes:
    return bytes.fromhex(event.args["root"][2:])


async def states(world: World, rented: Rented) -> dict[str, set[str]]:
    """States of a lease's audits, by kind."""
    async with world.market.database.reading() as session:
        rows = await repository.of_leases(session, world.market.scope, [rented.lease_id])
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.kind, set()).add(row.state)
    return found


async def wish(world: World, rented: Rented, **audit: Any) -> None:
    """What the renter wants of audits."""
    async with world.market.database.writing() as session:
        row = await session.get(models.Order, rented.order_id)
        assert row is not None
        row.audit = audit


async def test_when_parties_of_the_lease_are_auditors_too_then_they_are_never_drawn(
    world: World,
) -> None:
    _, event = await commit(world)
    for account in (RENTER, PROVIDER, OPERATOR, AUDITOR):
        await world.register_auditor(account)
    assert await draw(world, event) == {AUDITOR.address.lower()}


async def test_when_only_parties_of_the_lease_are_auditors_then_nobody_is_drawn(
    world: World,
) -> None:
    _, event = await commit(world)
    for account in (RENTER, PROVIDER, OPERATOR):
        await world.register_auditor(account)
    assert await draw(world, event) == set()


async def test_when_the_commit_was_taken_back_then_nobody_is_drawn(world: World) -> None:
    _, event = await commit(world)
    await world.register_auditor(AUDITOR)
    assert await draw(world, event, block_hash=hex32(77)) == set()


@pytest.mark.parametrize(
    ("audit", "drawn"),
    [
        ({"mode": "market", "auditors": []}, {AUDITOR, OTHER}),
        ({"mode": "named", "auditors": [OTHER.address]}, {OTHER}),
        ({"mode": "none", "auditors": []}, set()),
    ],
)
async def test_when_the_renter_says_who_may_audit_then_nobody_else_is_drawn(
    world: World, audit: dict[str, Any], drawn: set[Any]
) -> None:
    rented, event = await commit(world)
    for account in (AUDITOR, OTHER):
        await world.register_auditor(account)
    await wish(world, rented, **audit)
    found = await draw(world, event)
    assert found <= {account.address.lower() for account in drawn}
    assert bool(found) is bool(drawn)


async def test_when_an_auditor_is_of_another_class_then_it_is_not_drawn(world: World) -> None:
    _, event = await commit(world)
    await world.register_auditor(OTHER, hardware_class=bytes([8]) * 32)
    assert await draw(world, event) == set()


async def test_when_an_account_is_an_arbiter_only_then_it_is_not_drawn(world: World) -> None:
    _, event = await commit(world)
    await world.register_auditor(ARBITER, role="arbiter")
    assert await draw(world, event) == set()


async def test_when_an_auditor_went_away_then_it_is_not_drawn_and_the_worker_repeats_the_draw(
    world: World,
) -> None:
    # The worker is told what the draw was made of: whoever comes or goes later does not change it.
    _, event = await commit(world)
    for account in (AUDITOR, OTHER):
        await world.register_auditor(account)
    async with world.market.database.writing() as session:
        gone = await repository.auditor(
            session, world.market.scope, OTHER.address.lower(), "auditor"
        )
        assert gone is not None
        gone.seen_at = now() - timedelta(seconds=world.market.settings.auditor_ttl_s + 1)
    assert await draw(world, event) == {AUDITOR.address.lower()}
    rows = (await world.request(OPERATOR, "GET", "/audits?role=operator")).json()["audits"]
    audits = [parse_audit(row, URL) for row in rows]
    assert [audit.pool for audit in audits] == [(AUDITOR.address,)] * SEGMENTS
    assert all(same_address(audit.auditor, AUDITOR.address) for audit in audits)


async def test_when_a_crowd_registers_then_a_pool_that_workers_can_read_is_drawn_from(
    world: World,
) -> None:
    rented, event = await commit(world)
    await world.register_auditor(AUDITOR)
    crowd = await register_crowd(world, MAX_ITEMS)
    drawn = await draw(world, event)
    rows = (await world.request(OPERATOR, "GET", "/audits?role=operator")).json()["audits"]
    pool = pool_of(bytes(32), bytes.fromhex(rented.lease_id[2:]), event_root(event), crowd)
    assert [address.lower() for address in parse_audit(rows[0], URL).pool or ()] == pool
    assert drawn <= set(pool)


async def test_when_a_crowd_registers_then_named_auditors_are_drawn_all_the_same(
    world: World,
) -> None:
    rented, event = await commit(world)
    await world.register_auditor(AUDITOR)
    await register_crowd(world, MAX_POOL)
    await wish(world, rented, mode="named", auditors=[AUDITOR.address])
    assert await draw(world, event) == {AUDITOR.address.lower()}


@pytest.mark.parametrize(("paid", "num_drawn"), [(SEGMENTS - 1, 1), (SEGMENTS, 0)])
async def test_when_a_commit_is_paid_then_nobody_is_drawn_for_it(
    world: World, paid: int, num_drawn: int
) -> None:
    rented, event = await commit(world)
    await world.register_auditor(AUDITOR)
    settled = {"to_provider": "1", "to_treasury": "0", "to_audit_pool": "0"}
    await world.apply(
        world.event("Settled", lease_id=rented.lease_id, paid_segments=paid, **settled)
    )
    assert len(await draw(world, event)) == num_drawn


async def test_when_the_chain_takes_a_commit_back_then_its_audits_end(world: World) -> None:
    rented, event = await commit(world)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    for ancestor, state in ((event.block_number, "assigned"), (event.block_number - 1, "expired")):
        async with world.market.database.writing() as session:
            leases = [rented.lease_id]
            await assignments.rewind(session, world.market.scope, leases, ancestor, now())
        assert await states(world, rented) == {"audit": {state}}


@pytest.mark.parametrize(
    ("name", "values", "state"),
    [
        ("Ruled", {"fraud": False}, "ruled"),
        ("Unretrievable", {"good_segments": 2}, "ruled"),
        ("DisputeTimedOut", {}, "expired"),
    ],
)
async def test_when_a_dispute_ends_then_only_its_arbitration_ends(
    world: World, name: str, values: dict[str, Any], state: str
) -> None:
    rented, event = await commit(world)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    challenged = world.event(
        "Challenged",
        lease_id=rented.lease_id,
        challenger=AUDITOR.address.lower(),
        segment=2,
        bond="5",
    )
    ended = world.event(name, lease_id=rented.lease_id, **values)
    async with world.market.database.writing() as session:
        await assignments.follow_disputes(session, world.market, [challenged], now())
        await assignments.follow_disputes(session, world.market, [ended], now())
    assert await states(world, rented) == {"audit": {"assigned"}, "arbitration": {state}}


async def expire(world: World, event: EventRecord, seconds: float) -> int:
    """End what is over when the chain's clock stands so long after an event."""
    head_at = event.block_at + timedelta(seconds=seconds)
    start = {"next_block": 0, "head_block": 0, "head_at": head_at, "confirmed_block": 0}
    async with world.market.database.writing() as session:
        await chain_rows.create_cursor(session, world.market.scope, start)
        await chain_rows.move_cursor(session, world.market.scope, 0, start)
        return await repository.expire(session, world.market.scope, now())


async def challenge(world: World, rented: Rented) -> EventRecord:
    """Dispute a segment, and let the arbiter be asked."""
    auditor = AUDITOR.address.lower()
    lease = {"lease_id": rented.lease_id}
    event = world.event("Challenged", **lease, challenger=auditor, segment=2, bond="5")
    await world.apply(event)
    async with world.market.database.writing() as session:
        await assignments.follow_disputes(session, world.market, [event], now())
    return event


async def test_when_nobody_answers_in_time_then_audits_expire_with_the_window(world: World) -> None:
    rented, event = await commit(world, window=7_200)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    for seconds, num_expired in ((0, 0), (7_199, 0), (7_200, SEGMENTS)):
        assert await expire(world, event, seconds) == num_expired
    assert await states(world, rented) == {"audit": {"expired"}}


async def test_when_more_is_committed_in_the_window_then_unpaid_segments_are_audited_longer(
    world: World,
) -> None:
    rented, event = await commit(world, window=7_200)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    world.block += 3_600
    again = {"up_to": SEGMENTS + 1, "trace_root": hex32(1), "root": hex32(3)}
    later = world.event("Committed", lease_id=rented.lease_id, **again)
    await world.apply(later)
    assert await expire(world, event, 7_200) == 0
    assert await expire(world, later, 7_200) == SEGMENTS


async def test_when_a_commit_is_paid_then_a_later_one_does_not_keep_its_audits(
    world: World,
) -> None:
    rented, event = await commit(world, window=7_200)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    world.block += 7_200
    lease = {"lease_id": rented.lease_id}
    settled = {"to_provider": "1", "to_treasury": "0", "to_audit_pool": "0"}
    again = {"up_to": SEGMENTS + 1, "trace_root": hex32(1), "root": hex32(3)}
    await world.apply(
        world.event("Settled", **lease, paid_segments=SEGMENTS, **settled),
        world.event("Committed", **lease, **again),
    )
    assert await expire(world, event, 7_200) == SEGMENTS


async def test_when_a_dispute_stops_the_clock_then_audits_go_on_and_nothing_ends_the_arbitration(
    world: World,
) -> None:
    rented, event = await commit(world, window=7_200, dispute_timeout=100_000)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    await challenge(world, rented)
    assert await expire(world, event, 99_000) == 0
    assert await states(world, rented) == {"audit": {"assigned"}, "arbitration": {"assigned"}}
    world.block += 50_000
    none = dict.fromkeys(("slashed_to_renter", "slashed_to_challenger", "bonds_to_provider"), "0")
    auditor = AUDITOR.address.lower()
    lease = {"lease_id": rented.lease_id, "challenger": auditor}
    ruled = world.event("Ruled", **lease, fraud=False, **none)
    await world.apply(ruled)
    async with world.market.database.writing() as session:
        await assignments.follow_disputes(session, world.market, [ruled], now())
    assert await expire(world, ruled, 7_198) == 0, "one second had passed before"
    assert await expire(world, ruled, 7_199) == SEGMENTS


async def test_when_a_lease_closes_in_a_dispute_then_audits_and_arbitration_end(
    world: World,
) -> None:
    rented, event = await commit(world, window=7_200)
    await world.register_auditor(AUDITOR)
    await draw(world, event)
    await challenge(world, rented)
    closed = world.event("Closed", lease_id=rented.lease_id, cause=7, refund="7")
    await world.apply(closed)
    async with world.market.database.writing() as session:
        await assignments.follow_disputes(session, world.market, [closed], now())
    assert await expire(world, closed, 0) == SEGMENTS
    assert await states(world, rented) == {"audit": {"expired"}, "arbitration": {"expired"}}


async def test_when_a_lease_is_disputed_again_then_an_earlier_ruling_does_not_end_that(
    world: World,
) -> None:
    rented, _ = await commit(world)
    auditor = AUDITOR.address.lower()
    lease = {"lease_id": rented.lease_id, "challenger": auditor}
    none = dict.fromkeys(("slashed_to_renter", "slashed_to_challenger", "bonds_to_provider"), "0")
    events = [
        world.event("Challenged", **lease, segment=2, bond="5"),
        world.event("Ruled", **lease, fraud=False, **none),
        world.event("Challenged", **lease, segment=3, bond="5"),
    ]
    await world.apply(*events)
    async with world.market.database.writing() as session:
        await assignments.follow_disputes(session, world.market, events, now())
        rows = await repository.of_leases(session, world.market.scope, [rented.lease_id])
    assert {row.segment: row.state for row in rows} == {2: "ruled", 3: "assigned"}
