"""No renter and no provider fills an auditor or an arbiter with executions of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.states import AuditKind, AuditState
from tests.fakes import parties
from tests.fakes.cases import SEGMENTS, Committed, ScriptedArbiter, ScriptedAuditor
from worker_agent import examine
from worker_agent.case import Case
from worker_agent.errors import ProviderFault, SeatTaken
from worker_agent.seats import SEATS, Seats

IDS = [f"aud_01M8498KNAF9QBYEWW1M2N52K{letter}" for letter in "ABCDE"]
Examiner = ScriptedAuditor | ScriptedArbiter


@pytest.fixture
def lease() -> Committed:
    made = Committed.make(dispute_timeout=1000)
    for segment in reversed(range(SEGMENTS)):
        made.challenge(segment)
    return made


def of(case: Case, **accounts: str) -> Case:
    """The case as one of a lease between other parties."""
    terms = replace(case.history.terms, **accounts)
    return replace(case, history=replace(case.history, terms=terms))


def full(seats: Seats, case: Case) -> None:
    """Let other cases of the same parties have all their seats."""
    for _ in range(SEATS):
        seats.take(case)


@pytest.fixture(params=[ScriptedAuditor, ScriptedArbiter], ids=["auditor", "arbiter"])
def examiner(
    request: Any, tmp_path: Path, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Examiner]:
    """Sees four cases of one renter and provider, and then one of others."""
    made = request.param(tmp_path / "examiner", lease, {})
    who = {ScriptedAuditor: parties.AUDITOR, ScriptedArbiter: parties.ARBITER}[request.param]
    changes = {"kind": made.kind, "auditor": who.address, "state": AuditState.INPUTS_READY}
    cases = {
        name: lease.case(number % SEGMENTS, audit_id=name, **changes)
        for number, name in enumerate(IDS)
    }
    others = {name: parties.account(name).address for name in ("renter 2", "provider 2")}
    cases[IDS[-1]] = of(cases[IDS[-1]], renter=others["renter 2"], provider=others["provider 2"])
    rows = [case.audit for case in cases.values()]
    monkeypatch.setattr(examine, "live_audits", lambda *_: rows)
    monkeypatch.setattr(examine, "parse_audit", lambda row: row)
    monkeypatch.setattr(examine, "opened_block_hint", lambda *_: 0)
    monkeypatch.setattr(examine, "check_case", lambda _c, _m, audit, *_: cases[audit.audit_id])
    yield made
    made.close()
    made.context.journal.close()


def test_when_four_leases_of_one_party_are_slow_then_the_others_one_is_still_executed(
    examiner: Examiner,
    lease: Committed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun: queue.Queue[str] = queue.Queue()
    gates = {name: threading.Event() for name in IDS}

    def run(case: Case, *_: Any, **__: Any) -> Any:
        begun.put(case.audit.audit_id)
        assert gates[case.audit.audit_id].wait(20)
        return lease.records[case.audit.segment]

    monkeypatch.setattr(examiner, "run_again", run)
    monkeypatch.setattr(examiner, "run_whole", lambda *args: (run(*args), None))
    try:
        examiner.tick()
        executed = {begun.get(timeout=20) for _ in range(SEATS + 1)}
        assert IDS[-1] in executed
        for waiting in set(IDS) - executed:
            examiner._working[waiting].result(timeout=20)  # it keeps no thread
        examiner.tick()
        assert begun.empty(), "the party's first two are still being executed"
    finally:
        for gate in gates.values():
            gate.set()
    for _ in range(1000):  # each turn waits for what runs: it cannot take this many
        examiner.tick()
        for working in list(examiner._working.values()):
            working.result(timeout=20)
        while not begun.empty():
            executed.add(begun.get())
        if executed == set(IDS):
            break
    assert executed == set(IDS), "nothing is lost"
    assert "broke" not in caplog.text, "to wait is no error"


@pytest.mark.parametrize("shared", ["renter", "provider"])
def test_when_one_side_is_the_same_then_the_case_waits(lease: Committed, shared: str) -> None:
    seats, first = Seats(), lease.case()
    accounts = {"renter": parties.account("r").address, "provider": parties.account("p").address}
    strangers = of(first, **accounts)
    del accounts[shared]
    second = of(first, **accounts)
    full(seats, first)
    with pytest.raises(SeatTaken):
        seats.take(second)
    full(seats, strangers)  # and what could not sit keeps no seat
    for _ in range(SEATS):
        seats.leave(strangers)
    seats.leave(first)
    seats.take(second)
    with pytest.raises(SeatTaken):
        seats.take(second)


def test_when_a_party_is_on_both_sides_of_leases_then_it_has_no_more_seats(
    lease: Committed,
) -> None:
    seats, first = Seats(), lease.case()
    account = first.history.terms.renter
    full(seats, first)
    with pytest.raises(SeatTaken):
        seats.take(of(first, renter=parties.account("r").address, provider=account.lower()))


@pytest.mark.parametrize("name", ["_execute", "_confirmed", "_execute_silently"])
def test_when_another_case_of_the_party_runs_then_no_run_of_an_auditor_begins(
    tmp_path: Path, lease: Committed, name: str
) -> None:
    auditor = ScriptedAuditor(tmp_path / "auditor", lease, {"first": ProviderFault()})
    case = lease.case(state=AuditState.INPUTS_READY)
    given = (lease.records[1],) if name == "_confirmed" else ()
    full(auditor.seats, lease.case(2))
    with pytest.raises(SeatTaken):
        getattr(auditor, name)(auditor.at, case, *given)
    auditor.seats.leave(lease.case(2))
    with pytest.raises(ProviderFault):
        auditor._execute(auditor.at, case)
    auditor.seats.take(case)  # a run that failed has left
    auditor.close()
    auditor.context.journal.close()


def test_when_another_case_of_the_party_runs_then_what_is_withheld_is_attested_all_the_same(
    tmp_path: Path, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine.Examiner, "waited", lambda _self, _case: True)
    arbiter = ScriptedArbiter(tmp_path / "arbiter", lease, {})
    case = lease.case(
        kind=AuditKind.ARBITRATION, auditor=parties.ARBITER.address, state=AuditState.ASSIGNED
    )
    lease.chain.mine(seconds=980)
    full(arbiter.seats, case)
    arbiter.step(arbiter.at, case)
    assert lease.attested == [0]
    arbiter.close()
    arbiter.context.journal.close()
