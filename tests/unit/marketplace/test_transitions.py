"""Every pair of states of every table, on the rows themselves."""

from __future__ import annotations

import ast
import asyncio
import itertools
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

import marketplace
from client_sdk.protocol.errors import IllegalTransition
from client_sdk.protocol.states import AuditState, JobState, LeaseState, OrderState, successors
from marketplace import models, transitions
from marketplace.audits import assignments
from marketplace.clock import now
from marketplace.database import upsert
from marketplace.domain.events import EventRecord
from marketplace.domain.jobs import JOB_MOVES, JOB_REVISIONS
from marketplace.domain.ledger import apply_lease
from marketplace.domain.states import ArtifactState, OfferState, OutboxState
from tests.support.market import World, rent

MODELS: dict[type[StrEnum], Any] = {
    OrderState: models.Order,
    JobState: models.Job,
    AuditState: models.Audit,
    OfferState: models.Offer,
    ArtifactState: models.Artifact,
    OutboxState: models.OutboxItem,
}
EVENTS: dict[LeaseState, tuple[str, dict[str, Any]]] = {
    LeaseState.ACTIVE: ("Ruled", {"fraud": False}),
    LeaseState.DISPUTED: ("Challenged", {"segment": 1}),
    LeaseState.CLOSED: ("Closed", {"cause": 1, "refund": "0"}),
}


async def _row_of_each(world: World) -> str:
    """Make at least one row of every model that has states; return the lease's id."""
    rented = await rent(world)
    moment = now()
    values = {
        "audit_id": "aud_1", **world.market.scope.key, "kind": "audit", "cause": "x",
        "lease_id": rented.lease_id, "operator": "0x1", "segment": 0, "auditor": "0x2",
        "draw": {}, "state": AuditState.ASSIGNED, "created_at": moment, "updated_at": moment,
        "expires_at": moment,
    }  # fmt: skip
    async with world.market.database.writing() as session:
        await session.execute(upsert(session)(models.Audit).values(**values))
    return rented.lease_id


async def test_when_rows_are_moved_then_every_pair_goes_by_the_table(world: World) -> None:
    await _row_of_each(world)
    assert set(transitions.TABLES) == set(MODELS)
    for kind, model in MODELS.items():
        table = transitions.TABLES[kind]
        for current, target in itertools.product(kind, kind):
            async with world.market.database.writing() as session:
                await session.execute(update(model).values(state=current))
                # A row is moved only when the table says so ...
                moved = await transitions.move(session, model, (), target)
                assert bool(moved) == (target in table[current]), (current, target)
                # ... and whoever asks for another move has made a mistake.
                if target not in table[current]:
                    with pytest.raises(IllegalTransition):
                        await transitions.move(session, model, (), target, by=[current])


@pytest.mark.parametrize("table", [JOB_MOVES, JOB_REVISIONS])
async def test_when_facts_change_then_jobs_go_by_their_table(world: World, table: Any) -> None:
    await rent(world)
    for current, target in itertools.product(JobState, JobState):
        if target in successors(current):
            assert target in table[current]
        async with world.market.database.writing() as session:
            await session.execute(update(models.Job).values(state=current))
            args = (session, models.Job, (), target)
            if target in table[current]:
                assert await transitions.move(*args, by=[current], table=table) == 1
            else:
                with pytest.raises(IllegalTransition):
                    await transitions.move(*args, by=[current], table=table)


def test_when_the_chain_revises_then_an_ended_job_may_run_on_but_never_waits_again() -> None:
    for state in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED):
        assert JOB_MOVES[state] == frozenset()
        assert JOB_REVISIONS[state] == frozenset(JobState) - {JobState.QUEUED, state}
    assert JobState.RUNNING in JOB_REVISIONS[JobState.STOPPING]
    assert JobState.RUNNING not in JOB_MOVES[JobState.STOPPING]


async def test_when_events_are_folded_then_a_lease_goes_by_the_table(world: World) -> None:
    rented = await rent(world)
    active = await world.lease_facts(rented.lease_id)

    def event_to(state: LeaseState) -> EventRecord:
        name, args = EVENTS[state]
        return world.event(name, lease_id=rented.lease_id, **args)

    for current, target in itertools.product(LeaseState, LeaseState):
        facts = active
        if current is not LeaseState.ACTIVE:
            facts = apply_lease(active, event_to(current))
        assert facts.state is current
        if target in successors(current):
            assert apply_lease(facts, event_to(target)).state is target
        elif target is LeaseState.DISPUTED:  # one more challenge of what is disputed or over
            assert apply_lease(facts, event_to(target)).state is current
        else:
            with pytest.raises(IllegalTransition):
                apply_lease(facts, event_to(target))


async def test_when_two_move_a_row_at_once_then_one_of_them_does(world: World) -> None:
    await rent(world)
    async with world.market.database.writing() as session:
        await session.execute(update(models.Order).values(state=OrderState.CLAIMED))

    async def end(target: OrderState) -> int:
        async with world.market.database.writing() as session:
            return await transitions.move(session, models.Order, (), target)

    moved = await asyncio.gather(end(OrderState.DECLINED), end(OrderState.TERMS_SIGNED))
    assert sorted(moved) == [0, 1]


async def test_when_an_arbiter_has_told_its_finding_then_the_ruling_still_ends_the_audit(
    world: World,
) -> None:
    lease_id = await _row_of_each(world)
    async with world.market.database.writing() as session:
        await session.execute(
            update(models.Audit).values(state=AuditState.AGREED, kind="arbitration")
        )
    ruled = world.event("Ruled", lease_id=lease_id, fraud=False)
    async with world.market.database.writing() as session:
        await assignments.follow_disputes(session, world.market, [ruled], now())
    async with world.market.database.reading() as session:
        row = await session.get(models.Audit, "aud_1")
    assert row is not None
    assert (row.state, row.outcome) == ("ruled", {"fraud": False, "tx_hash": ruled.tx_hash})


def _writes_of_state(path: Path) -> Iterator[int]:
    """Lines that assign a row's state, or set it in an UPDATE."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            targets = [t for target in node.targets for t in ast.walk(target)]
            stored = [t for t in targets if isinstance(getattr(t, "ctx", None), ast.Store)]
            if any(isinstance(t, ast.Attribute) and t.attr == "state" for t in stored):
                yield node.lineno
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        chain = [n.id for n in ast.walk(node.func) if isinstance(n, ast.Name)]
        sets = any(keyword.arg == "state" for keyword in node.keywords)
        if node.func.attr == "values" and sets and "update" in chain:
            yield node.lineno


def test_when_the_market_is_read_then_nothing_else_writes_a_state() -> None:
    root = Path(marketplace.__file__).parent
    found = {
        f"{path.relative_to(root)}:{line}"
        for path in root.rglob("*.py")
        if path.name != "transitions.py"
        for line in _writes_of_state(path)
    }
    assert found == set()
