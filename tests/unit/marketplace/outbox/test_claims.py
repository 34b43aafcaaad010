"""Items of the outbox: one worker at a time, once for each key, told of until done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.errors import CallReverted, ChainUnreachable, NotConfirmed
from contracts.bindings import Call
from marketplace.clock import now
from marketplace.domain.states import OutboxState
from marketplace.models import OutboxItem
from marketplace.outbox import kinds, repository
from marketplace.outbox import relay as relay_module
from marketplace.outbox.relay import Relay, in_order
from marketplace.outbox.repository import Claimed
from marketplace.outbox.service import GIVE_UP_AFTER, Again, Done, GivenUp, deliver
from marketplace.outbox.tasks import QUEUE, RELAY_QUEUE, build_celery, queue_of
from tests.support.market import ESCROW, World

LOCK_S = 30.0
CALL = Call(to=ESCROW, data=b"", name="call")


async def add(world: World, key: str = "k", **values: Any) -> str:
    async with world.market.database.writing() as session:
        await repository.add(session, "test", key, {}, now=now(), **values)
    return (await items(world))[-1].item_id


async def items(world: World) -> list[OutboxItem]:
    async with world.market.database.reading() as session:
        found = await session.scalars(select(OutboxItem).order_by(OutboxItem.created_at))
        return list(found)


async def claim(world: World, item_id: str, after_s: float = 0) -> Claimed | None:
    async with world.market.database.writing() as session:
        moment = now() + timedelta(seconds=after_s)
        return await repository.claim(session, item_id, moment, LOCK_S)


async def end(world: World, claimed: Claimed) -> bool:
    async with world.market.database.writing() as session:
        return await repository.end(session, claimed, now(), OutboxState.DONE)


async def test_when_an_item_is_held_then_nobody_else_gets_it_until_its_lock_runs_out(
    world: World,
) -> None:
    item_id = await add(world)
    first = await claim(world, item_id)
    assert first is not None
    assert await claim(world, item_id, LOCK_S - 1) is None
    second = await claim(world, item_id, LOCK_S + 1)
    assert second is not None
    assert (second.num_tries, second.lock_token != first.lock_token) == (2, True)
    # Who lost its lock writes nothing back.
    assert not await end(world, first)
    assert (await items(world))[0].state == OutboxState.QUEUED
    assert await end(world, second)
    assert await claim(world, item_id, 2 * LOCK_S) is None


async def test_when_a_key_comes_again_then_there_is_still_one_item(world: World) -> None:
    assert await add(world) == await add(world)
    item_id = await add(world)
    claimed = await claim(world, item_id)
    assert claimed is not None
    await end(world, claimed)
    await add(world)
    assert [item.state for item in await items(world)] == [OutboxState.DONE]


async def test_when_an_item_is_not_due_then_it_is_neither_announced_nor_given_out(
    world: World,
) -> None:
    item_id = await add(world, due_at=now() + timedelta(seconds=60))
    assert await claim(world, item_id) is None
    assert await announce(world) == []
    assert await claim(world, item_id, 61) is not None


async def announce(world: World, after_s: float = 0) -> list[str]:
    async with world.market.database.writing() as session:
        moment = now() + timedelta(seconds=after_s)
        waits = await repository.waits(session, moment, 4.0)
        told = [item_id for item_id, _ in await repository.announce(session, moment, 4.0, 10)]
    assert waits is bool(told)
    return told


async def test_when_nobody_took_an_item_then_it_is_announced_again(world: World) -> None:
    item_id = await add(world)
    assert await announce(world) == [item_id]
    assert await announce(world, 1) == []
    assert await announce(world, 5) == [item_id], "the broker may have lost the first message"
    claimed = await claim(world, item_id)
    assert claimed is not None
    assert await announce(world, 10) == []
    await end(world, claimed)
    assert await announce(world, 100) == []


async def test_when_ended_items_are_forgotten_then_waiting_and_other_ones_stay(
    world: World,
) -> None:
    done, waiting = await add(world, "done"), await add(world, "waiting")
    claimed = await claim(world, done)
    assert claimed is not None
    await end(world, claimed)
    for chosen, before, left in (
        (["test"], now() - timedelta(hours=1), {done, waiting}),
        (["another"], now() + timedelta(hours=1), {done, waiting}),
        (["another", "test"], now() + timedelta(hours=1), {waiting}),
    ):
        async with world.market.database.writing() as session:
            await repository.forget(session, chosen, before)
        assert {item.item_id for item in await items(world)} == left


@pytest.mark.parametrize(("age", "state"), [(timedelta(0), "queued"), (GIVE_UP_AFTER, "failed")])
async def test_when_an_item_fails_for_too_long_then_it_is_given_up(
    world: World, age: timedelta, state: str
) -> None:
    async def handle(_payload: Mapping[str, Any]) -> Done:
        raise ChainUnreachable("http://x", "down")

    item_id = await add(world)
    async with world.market.database.writing() as session:
        item = await session.get(OutboxItem, item_id)
        assert item is not None
        item.created_at -= age + timedelta(seconds=1)
    await deliver(world.market, {"test": handle}, item_id)
    assert (await items(world))[0].state == state


class Sender:
    """A sender whose calls end in given ways."""

    def __init__(self, ending: Exception | None) -> None:
        self.ending = ending

    def submit(self, _call: Call, _key: str) -> bytes:
        if isinstance(self.ending, CallReverted):
            raise self.ending
        return bytes(32)

    def wait(self, key: str, **_: Any) -> Any:
        if self.ending is not None:
            raise self.ending
        return type("Receipt", (), {"tx_hash": bytes(32)})


def relay_of(world: World, ending: Exception | None) -> Relay:
    relay = Relay(world.market, None, None)  # type: ignore[arg-type]  # its sender is given
    relay._sender = Sender(ending)  # type: ignore[assignment]
    return relay


@pytest.mark.parametrize(
    ("ending", "outcome", "refused"),
    [
        (None, Done, None),
        (NotConfirmed("k", bytes(32), 0), Again, None),  # sent is not done
        (CallReverted("LeaseEscrow.settle", "WindowOpen"), Again, None),  # time removes it
        (CallReverted("LeaseEscrow.settle", "LeaseNotActive"), Done, "LeaseNotActive"),
    ],
)
async def test_when_a_transaction_ends_so_then_the_item_does(
    world: World, ending: Exception | None, outcome: type, refused: str | None
) -> None:
    found = await relay_of(world, ending).send(CALL, "k")
    assert isinstance(found, outcome)
    assert not isinstance(found, GivenUp)
    assert found.result.get("refused") == refused


async def test_when_a_call_is_refused_then_the_relay_waits_for_no_other_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(relay_module, "Sender", lambda *_, **given: options.update(given))
    (tmp_path / "key").write_text("0x" + "11" * 32)
    (tmp_path / "key").chmod(0o600)
    Relay(world.market, None, tmp_path / "key")._open()  # type: ignore[arg-type]
    assert options["settle_timeout_s"] == 0


async def test_when_one_of_several_calls_is_on_its_way_then_all_are_looked_at_again(
    world: World,
) -> None:
    done, waiting = relay_of(world, None), relay_of(world, NotConfirmed("k", bytes(32), 0))
    assert isinstance(await in_order((done, CALL, "a"), (waiting, CALL, "b")), Again)
    assert isinstance(await in_order((waiting, CALL, "a"), (done, CALL, "b")), Again)
    assert isinstance(await in_order((done, CALL, "a"), (done, CALL, "b")), Done)


def test_when_a_kind_sends_transactions_then_one_machine_takes_it() -> None:
    names = {v for k, v in vars(kinds).items() if k.isupper() and isinstance(v, str)}
    relayed = {name for name in names if name.startswith("relay.")}
    assert {name for name in names if queue_of(name) == RELAY_QUEUE} == relayed
    assert {name for name in names if queue_of(name) == QUEUE} == names - relayed


async def test_when_a_celery_worker_dies_then_its_message_is_not_lost(world: World) -> None:
    conf = build_celery(world.market.settings).conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert conf.worker_prefetch_multiplier == 1
