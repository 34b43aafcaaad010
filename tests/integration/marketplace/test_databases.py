"""Both databases: the migrated schema is the models' schema, and claims have one winner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.states import AuditKind, AuditState
from marketplace import schema
from marketplace.artifacts import repository as artifacts
from marketplace.artifacts import service
from marketplace.audits import assignments, pages
from marketplace.audits import repository as audit_rows
from marketplace.clock import now
from marketplace.database import Database
from marketplace.domain.states import OutboxState
from marketplace.errors import ConfigurationError, QuotaExceeded, RelaysSpent, UploadsBusy
from marketplace.indexer import repository as chain_rows
from marketplace.leases import relay
from marketplace.models import Base, Lease
from marketplace.outbox import repository
from marketplace.outbox.kinds import ASKED, RELAY_OPEN
from marketplace.relays import service as relays
from marketplace.scope import Scope
from marketplace.settings import Settings
from tests.support.market import (
    ARBITER,
    AUDITOR,
    OPERATOR,
    RENTER,
    hex32,
    make_settings,
    open_world,
    rent,
)


def _url(kind: str, tmp_path: Path, postgres: Callable[[], str]) -> str:
    return postgres() if kind == "postgres" else f"sqlite+aiosqlite:///{tmp_path}/market.db"


async def _created(url: str) -> Database:
    """An empty database with the tables of the models."""
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    return database


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_when_a_database_is_migrated_then_its_schema_is_that_of_the_models(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    url = _url(kind, tmp_path, postgres)

    def differences(connection: Connection) -> Any:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)

    async def compare() -> Any:
        database = Database(url)
        try:
            async with database.engine.connect() as connection:
                return await connection.run_sync(differences)
        finally:
            await database.close()

    async def accepted() -> None:
        database = Database(url)
        try:
            await schema.require_newest(database)
        finally:
            await database.close()

    with pytest.raises(ConfigurationError, match="market migrate"):
        asyncio.run(accepted())
    schema.migrate(url)
    asyncio.run(accepted())
    assert asyncio.run(compare()) == []
    command.downgrade(schema.configuration(url), "base")
    schema.migrate(url)
    assert asyncio.run(compare()) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_when_many_claim_one_item_then_one_of_them_has_it(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    database = await _created(_url(kind, tmp_path, postgres))
    moment = now()
    async with database.writing() as session:
        await repository.add(session, "test", "once", {}, now=moment)
        await repository.add(session, "test", "once", {"second": True}, now=moment)
        (found,) = await repository.announce(session, moment, 5, 10)

    async def claim(at: Any) -> Any:
        async with database.writing() as session:
            return await repository.claim(session, found[0], at, 30)

    claims = await asyncio.gather(*(claim(moment) for _ in range(12)))
    (winner,) = [c for c in claims if c is not None]
    assert winner.payload == {}
    assert await claim(moment + timedelta(seconds=29)) is None
    taken_over = await claim(moment + timedelta(seconds=31))
    assert taken_over is not None
    async with database.writing() as session:
        state = OutboxState.DONE
        assert not await repository.end(session, winner, moment, state), "its hold has ended"
        assert await repository.end(session, taken_over, moment, state)
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_when_many_uploads_start_at_once_then_no_limit_is_passed(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    database = await _created(_url(kind, tmp_path, postgres))
    slots = make_settings(tmp_path, max_account_uploads=3)
    room = make_settings(tmp_path, max_account_uploads=99, max_account_bytes=1_000)

    async def start(settings: Settings, account: str) -> str | None:
        market: Any = SimpleNamespace(settings=settings)
        async with database.writing() as session:
            try:
                return await service.reserve(session, market, "0" * 64, 300, account, now())
            except (UploadsBusy, QuotaExceeded):
                return None

    for settings, account in ((slots, "0x1"), (room, "0x2")):
        begun = await asyncio.gather(*(start(settings, account) for _ in range(12)))
        assert len([upload for upload in begun if upload]) == 3
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_when_artifacts_are_collected_then_only_the_unneeded_ones_go(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    database = await _created(_url(kind, tmp_path, postgres))
    old, new, moment = "1" * 64, "2" * 64, now()
    async with database.writing() as session:
        for digest, age_s in ((old, 3_600), (new, 0)):
            at = moment - timedelta(seconds=age_s)
            await artifacts.add(session, digest, 1, at)
            await artifacts.own(session, digest, "0x1", at)
    async with database.writing() as session:
        cutoff = moment - timedelta(seconds=60)
        assert await artifacts.expire_unneeded(session, cutoff) == 1
    async with database.writing() as session:
        assert await artifacts.expired(session, 10) == [old]
        await artifacts.remove(session, [old, new])
        assert await artifacts.find(session, old) is None
        assert await artifacts.owns(session, new, "0x1")
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_when_many_ask_for_calls_at_once_then_each_effect_has_one_and_no_limit_is_passed(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    database = await _created(_url(kind, tmp_path, postgres))
    market: Any = SimpleNamespace(settings=make_settings(tmp_path, all_relays_per_hour=3))

    async def ask(lease: int, number: int) -> str | None:
        asked = relays.Asked(RELAY_OPEN, f"{RELAY_OPEN}:{lease}", str(number), {"account": "0x1"})
        async with database.writing() as session:
            try:
                return (await relays.add(session, market, asked, now())).request_id
            except RelaysSpent:
                return None

    one = await asyncio.gather(*(ask(0, number) for number in range(8)))
    assert len(set(one)) == 1, "eight authorizations of one lease"
    others = await asyncio.gather(*(ask(lease, 0) for lease in range(1, 9)))
    assert len([asked for asked in others if asked]) == 2
    # What ended without a transaction leaves its place to another call, what cost gas does not.
    refusals: list[dict[str, Any]] = [
        {"refused": "InsufficientBalance"},
        {"refused": "LeaseExists", "transactions": ["0xaa"]},
    ]
    for request_id, result in zip([one[0], *filter(None, others)], refusals, strict=False):
        async with database.writing() as session:
            claimed = await repository.claim(session, str(request_id), now(), 30)
            assert claimed is not None
            done = OutboxState.DONE
            assert await repository.end(session, claimed, now(), done, result=result)
    async with database.reading() as session:
        since = now() - timedelta(hours=1)
        assert await repository.num_sent(session, ASKED, since) == 2
    assert await ask(99, 0) is not None
    assert await ask(100, 0) is None
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_when_a_stop_was_refused_then_all_who_ask_at_once_get_one_new_call(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    database_url = _url(kind, tmp_path, postgres)
    values = {"relay": {"tUSD": {"open_fee": 1}}, "relayer_key_file": tmp_path / "key"}
    async with open_world(
        tmp_path, database_url=database_url, all_relays_per_hour=2, **values
    ) as world:
        terms, caller = (await rent(world, opened=False)).terms, RENTER.address.lower()
        database = world.market.database

        async def ask() -> str:
            asked = relays.stop(world.market, terms, "0x11", caller)
            async with database.writing() as session:
                return (await relays.add(session, world.market, asked, now())).request_id

        async def refuse(request_id: str) -> None:
            result = {"refused": "NotActive", "transactions": ["0xaa"]}
            async with database.writing() as session:
                claimed = await repository.claim(session, request_id, now(), 30)
                assert claimed is not None
                done = OutboxState.DONE
                assert await repository.end(session, claimed, now(), done, result=result)

        async def ask_at_once() -> str:
            (asked,) = set(await asyncio.gather(*(ask() for _ in range(8))))
            return asked

        first = await ask_at_once()
        await refuse(first)
        second = await ask_at_once()
        assert second != first
        await refuse(second)
        with pytest.raises(RelaysSpent):
            await ask()


async def test_when_a_lease_is_being_changed_then_the_node_looks_at_it_afterwards(
    tmp_path: Path, postgres: Callable[[], str]
) -> None:
    values = {"database_url": postgres(), "relayer_key_file": tmp_path / "key"}
    async with open_world(tmp_path, **values) as world:
        lease_id = (await rent(world)).lease_id
        database, scope = world.market.database, world.market.scope
        late = now() + timedelta(days=3_650)
        cursor = {"next_block": 0, "head_block": 0, "head_at": late, "confirmed_block": 0}
        async with database.writing() as session:
            await chain_rows.create_cursor(session, scope, cursor)

        async def order() -> int:
            async with database.writing() as session:
                return await relay.order_due(session, world.market, now())

        async with database.writing() as session:
            await relay.follow_chain(session, scope, [lease_id])
            assert await asyncio.wait_for(order(), 10) == 0, "neither waits for the other"
        assert await order() == 1


async def test_when_audits_are_drawn_then_their_lease_stays_as_it_is_until_they_are_written(
    tmp_path: Path, postgres: Callable[[], str]
) -> None:
    # Else the follower could miss them when a dispute stops the window that they end with.
    async with open_world(tmp_path, database_url=postgres()) as world:
        rented = await rent(world)
        roots = {"trace_root": hex32(1), "root": hex32(2)}
        event = world.event("Committed", lease_id=rented.lease_id, up_to=1, **roots)
        await world.apply(event)
        await world.register_auditor(AUDITOR)
        market = world.market
        async with market.database.writing() as drawing:
            drawn = (market, event.place, event.block_hash, bytes(32), now())
            assert await assignments.draw(drawing, *drawn) == 1
            with pytest.raises(DBAPIError, match="could not obtain lock"):
                async with market.database.writing() as following:
                    await following.execute(select(Lease).with_for_update(nowait=True))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_when_audits_are_listed_then_the_leases_take_turns_on_either_database(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    database, scope = await _created(_url(kind, tmp_path, postgres)), Scope(1, ARBITER.address)
    moment = now()
    leases = {hex32(1): range(5, 0, -1), hex32(2): [900]}
    states = [AuditState.ASSIGNED.value]
    rows = [
        {
            "audit_id": new_id(IdKind.AUDIT),
            "kind": AuditKind.ARBITRATION,
            "cause": "cause",
            "lease_id": lease_id,
            "operator": OPERATOR.address,
            "segment": segment,
            "auditor": ARBITER.address,
            "draw": {},
            "state": AuditState.ASSIGNED,
            "created_at": moment,
            "updated_at": moment,
            "expires_at": None,
        }
        for lease_id, segments in leases.items()
        for segment in segments
    ]
    async with database.writing() as session:
        await audit_rows.add(session, scope, rows)
    seen: list[int] = []
    place: pages.Place | None = pages.Place.start(moment)
    async with database.reading() as session:
        while place is not None:
            place = pages.Place.parse(str(place))
            found, place = await pages.page(
                session, scope, ARBITER.address, role=None, states=states, after=place, limit=2
            )
            seen += [row.segment for row in found]
    assert (set(seen[:2]), seen[2:]) == ({1, 900}, [2, 3, 4, 5])
    await database.close()
