"""However many cases a lease has, it takes a few places of a turn, and its history is read once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.states import AuditKind, AuditState
from tests.fakes import parties
from tests.fakes.cases import SEGMENTS, Committed, ScriptedArbiter
from worker_agent import examine, turns
from worker_agent.case import Case
from worker_agent.errors import RejectedInput
from worker_agent.exchange import AuditView
from worker_agent.turns import MOST_OF_LEASE, Histories, choose

OTHER = b"\7" * 32


@pytest.fixture
def lease() -> Committed:
    made = Committed.make(dispute_timeout=1000)
    for segment in reversed(range(SEGMENTS)):
        made.challenge(segment)
    return made


def rows(lease: Committed, number: int, first: int = 0, **changes: Any) -> list[AuditView]:
    """Rows of one lease, the higher segments first: so challenges come in."""
    values: dict[str, Any] = {
        "kind": AuditKind.ARBITRATION,
        "auditor": parties.ARBITER.address,
        "state": AuditState.ASSIGNED,
        "opening": None,
    }
    row = lease.view(0, **{**values, **changes})
    return [replace(row, audit_id=f"aud_{first + n}", segment=n) for n in reversed(range(number))]


def test_when_one_lease_has_many_cases_then_it_takes_a_few_of_its_lowest(lease: Committed) -> None:
    many = rows(lease, 1000)
    other = rows(lease, 1, first=1000, lease_id=OTHER)
    chosen = choose(many + other, set(), [])
    assert [audit.segment for audit in chosen if audit.lease_id == lease.lease_id] == [0, 1, 2, 3]
    assert [audit for audit in chosen if audit.lease_id == OTHER] == other


def test_when_the_lowest_cases_are_stuck_then_each_of_the_others_has_its_turn(
    lease: Committed,
) -> None:
    many, taken, seen = rows(lease, 20), dict[str, None](), set()
    named = {audit.audit_id: audit.case_id for audit in many}
    running = {named["aud_5"], named["aud_6"]}
    for turn in itertools.count(1):
        chosen = choose(many, running, taken)
        assert len(chosen) == MOST_OF_LEASE - 2
        assert "aud_0" in {audit.audit_id for audit in chosen}, "what is lowest never waits"
        for audit in chosen:
            taken.pop(audit.case_id, None)
            taken[audit.case_id] = None
            seen.add(audit.case_id)
        if len(seen) == len(many) - 2:
            break
        assert turn < len(many)
    assert choose(many, {named[f"aud_{n}"] for n in range(MOST_OF_LEASE)}, taken) == []


def test_when_a_market_gives_a_row_twice_then_it_begins_once(lease: Committed) -> None:
    assert len(choose(rows(lease, 1) * 2, set(), [])) == 1


class Counted:
    """A chain that counts how often a lease's events are read."""

    def __init__(self, lease: Committed) -> None:
        self.lease, self.num = lease, 0
        self.deployment = lease.chain.deployment
        self.head = lease.chain.head

    def events(self, *args: Any, **options: Any) -> Any:
        self.num += 1
        return self.lease.chain.events(*args, **options)


def test_when_many_cases_of_a_lease_come_in_a_turn_then_its_history_is_read_once(
    lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "opened_block_hint", lambda *_: 0)
    chain: Any = Counted(lease)
    market: Any = lease.market
    histories = Histories(chain)
    first = histories.of(market, lease.lease_id)
    assert histories.of(market, lease.lease_id) is first
    assert chain.num == 1
    lease.attest(0)
    histories.forget()
    assert histories.of(market, lease.lease_id).disputed == frozenset()
    assert chain.num == 2


def test_when_a_history_cannot_be_read_then_the_next_turn_tries_again(
    lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = lease.chain.head() + 1
    monkeypatch.setattr(turns, "opened_block_hint", lambda *_: hint)
    histories, market = Histories(lease.chain), lease.market
    for _ in range(2):
        with pytest.raises(RejectedInput):
            histories.of(market, lease.lease_id)
    hint = 0
    histories.forget()
    assert histories.of(market, lease.lease_id).challenges


@pytest.fixture
def arbiter(tmp_path: Path, lease: Committed) -> Iterator[ScriptedArbiter]:
    made = ScriptedArbiter(tmp_path / "arbiter", lease, {})
    yield made
    made.close()
    made.context.journal.close()


def test_when_a_lease_floods_an_arbiter_then_the_others_case_is_stepped_in_the_same_turn(
    arbiter: ScriptedArbiter, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood, other = rows(lease, 200), rows(lease, 1, first=1000, lease_id=OTHER)
    stepped: list[str] = []
    read: list[bytes] = []
    known = lease.case()

    def history(_chain: Any, lease_id: bytes, _block: int) -> Any:
        read.append(lease_id)
        return known.history

    def confirm(_chain: Any, _market: Any, audit: AuditView, *_: Any) -> Case:
        return Case(audit=audit, history=known.history, commit=known.commit)

    monkeypatch.setattr(turns, "opened_block_hint", lambda *_: 0)
    monkeypatch.setattr(turns, "read_history", history)
    monkeypatch.setattr(examine, "confirm_case", confirm)
    monkeypatch.setattr(examine, "open_to_challenge", lambda *_: True)
    monkeypatch.setattr(examine, "live_audits", lambda *_: flood + other)
    monkeypatch.setattr(examine, "parse_audit", lambda row, _url: row)
    view = lease.chain.lease(lease.lease_id)
    monkeypatch.setattr(arbiter.context.chain, "lease", lambda _id: view)
    monkeypatch.setattr(arbiter, "step", lambda _m, case: stepped.append(case.audit.audit_id))
    for turn in (1, 2):
        arbiter.tick()
        for working in list(arbiter._working.values()):
            working.result(20)
        assert sorted(read) == sorted([lease.lease_id, OTHER] * turn), "each once a turn"
        assert len(stepped) == turn * (MOST_OF_LEASE + 1)
    assert stepped.count(other[0].audit_id) == 2
    assert len(set(stepped)) == 2 * MOST_OF_LEASE, (
        "of the flood all but the lowest are others than before"
    )
