"""Delivering the outbox: retries are data, and a bug in one item stops no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.errors import ChainUnreachable
from marketplace.clock import now
from marketplace.models import OutboxItem
from marketplace.outbox import repository
from marketplace.outbox.service import Again, Done, GivenUp, deliver, pause_s
from marketplace.web.limits import LocalRateLimiter, RateLimited, socket_url
from tests.support.market import World


async def _add(world: World, key: str) -> str:
    async with world.market.database.writing() as session:
        await repository.add(session, "test", key, {"key": key}, now=now())
    return (await _item(world, key)).item_id


async def _item(world: World, key: str) -> OutboxItem:
    async with world.market.database.reading() as session:
        return (await session.scalars(select(OutboxItem).where(OutboxItem.key == key))).one()


@pytest.mark.parametrize(
    ("outcome", "state", "error"),
    [
        (Done({"x": 1}), "done", None),
        (GivenUp("no"), "failed", "no"),
        (Again(60, {"x": 1}), "queued", None),
        (ChainUnreachable("http://x", "down"), "queued", "ChainUnreachable"),
        (RuntimeError("a bug"), "queued", "RuntimeError: a bug"),
    ],
)
async def test_when_a_handler_ends_then_its_outcome_is_written_back(
    world: World, outcome: Any, state: str, error: str | None
) -> None:
    async def handle(payload: Mapping[str, Any]) -> Any:
        assert payload == {"key": "k"}
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    item_id = await _add(world, "k")
    assert await deliver(world.market, {"test": handle}, item_id) == "test"
    item = await _item(world, "k")
    assert (item.state, item.lock_token) == (state, None)
    assert (item.last_error or "").startswith(error or "")
    if state == "queued":
        assert item.due_at > now()
    assert await deliver(world.market, {"test": handle}, item_id) is None


async def test_when_an_item_ends_then_what_it_sent_before_stays_named(world: World) -> None:
    outcomes = [Again(0, {"transactions": ["0x1"]}), Again(0), Done({"refused": "NotDue"})]

    async def handle(_payload: Mapping[str, Any]) -> Any:
        return outcomes.pop(0)

    item_id = await _add(world, "k")
    while outcomes:
        assert await deliver(world.market, {"test": handle}, item_id) == "test"
    assert (await _item(world, "k")).result == {"transactions": ["0x1"], "refused": "NotDue"}


async def test_when_an_item_is_unknown_then_nothing_happens(world: World) -> None:
    assert await deliver(world.market, {}, "evt_0") is None


def test_when_tries_fail_then_pauses_grow_to_a_cap() -> None:
    assert [pause_s(n, 1.0) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert pause_s(1, 0.0) == 0.25
    assert pause_s(500, 1.0) == 60


async def test_when_an_account_asks_too_often_then_it_waits_for_the_next_window() -> None:
    moment = 1_000.0
    limiter = LocalRateLimiter(lambda: moment)
    for _ in range(3):
        await limiter.hit("a", 3, 60)
    with pytest.raises(RateLimited) as refused:
        await limiter.hit("a", 3, 60)
    assert refused.value.details == {"retry_after_s": 20}
    await limiter.hit("b", 3, 60)
    moment += 20
    await limiter.hit("a", 3, 60)


def test_when_the_broker_is_a_socket_then_its_url_is_translated() -> None:
    assert socket_url("redis+socket:///x/v.sock") == "unix:///x/v.sock"
    assert socket_url("redis://h:1/0") == "redis://h:1/0"
