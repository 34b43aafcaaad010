"""No slow leases fill an auditor or an arbiter, nor keep other leases from a ruling."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.states import AuditKind, AuditState
from tests.fakes import parties
from tests.fakes.cases import AUDIT_ID, SEGMENTS, Committed, ScriptedArbiter, ScriptedAuditor
from worker_agent import examine, turns
from worker_agent.case import Case
from worker_agent.errors import ProviderFault, SeatTaken
from worker_agent.execution import Control
from worker_agent.replay import ReplayCancelled, ReplayTooSlow
from worker_agent.seats import (
    MAX_LONG,
    MAX_OF_PAIR,
    MAX_RUNS,
    MAX_SHORT_OF_PAIR,
    SHORT_S,
    Length,
    Seats,
)

IDS = [f"aud_01M8498KNAF9QBYEWW1M2N52K{letter}" for letter in "ABCDEFG"]
Examiner = ScriptedAuditor | ScriptedArbiter
Make = Callable[..., Any]


@pytest.fixture
def lease() -> Committed:
    made = Committed.make(dispute_timeout=1000)
    for segment in reversed(range(SEGMENTS)):
        made.challenge(segment)
    return made


@pytest.fixture
def make(tmp_path: Path, lease: Committed) -> Iterator[Make]:
    """Examiners with real seats."""
    made: list[Examiner] = []

    def build(kind: type[Examiner], **results: Any) -> Examiner:
        examiner = kind(tmp_path / "examiner", lease, results)
        examiner.seats = Seats()
        made.append(examiner)
        return examiner

    yield build
    for examiner in made:
        examiner.close()
        examiner.context.journal.close()


def of(case: Case, **accounts: str) -> Case:
    """The case as one of a lease between other parties."""
    terms = replace(case.history.terms, **accounts)
    return replace(case, history=replace(case.history, terms=terms))


def arbitration(lease: Committed, segment: int, audit_id: str = AUDIT_ID, **changes: Any) -> Case:
    changes = {"state": AuditState.OPENED, **changes}
    kind, auditor = AuditKind.ARBITRATION, parties.ARBITER.address
    return lease.case(segment, audit_id=audit_id, kind=kind, auditor=auditor, **changes)


def sees(monkeypatch: pytest.MonkeyPatch, cases: dict[str, Case]) -> None:
    """Let the market have these cases, and no others."""
    rows = [case.audit for case in cases.values()]
    monkeypatch.setattr(examine, "live_audits", lambda *_: rows)
    monkeypatch.setattr(examine, "parse_audit", lambda row, _url: row)
    monkeypatch.setattr(turns, "MOST_OF_LEASE", len(IDS))  # they stand for cases of several leases
    monkeypatch.setattr(turns, "opened_block_hint", lambda *_: 0)
    monkeypatch.setattr(examine, "confirm_case", lambda _c, _m, audit, *_: cases[audit.audit_id])


def turn(examiner: Examiner) -> None:
    """One turn, in which no case keeps its thread."""
    examiner.tick()
    for working in list(examiner._working.values()):
        working.result(timeout=20)


class Gated:
    """Runs that last until they, all of their name or simply all are let go.

    Those that may take a certain time have had it when that is let go.
    """

    def __init__(self, lease: Committed, monkeypatch: pytest.MonkeyPatch, at: Examiner) -> None:
        self.begun: queue.Queue[tuple[str, str]] = queue.Queue()
        self._records = lease.records
        self._changed = threading.Condition()
        self._let_go: set[Any] = set()
        self.longest_s: dict[tuple[str, str], float] = {}
        self._now = self.most = 0

        def run_whole(case: Case, inputs: Any, name: str, control: Control) -> Any:
            return self.run(case, inputs, name, control), None

        monkeypatch.setattr(at, "run_again", self.run)
        monkeypatch.setattr(at, "run_whole", run_whole)

    def run(
        self,
        case: Case,
        _inputs: Any,
        name: str,
        control: Control | None = None,
        longest_s: float = math.inf,
    ) -> Any:
        this = name, case.audit.audit_id
        self.longest_s[this] = longest_s
        self.begun.put(this)
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            while not self._let_go & {this, name, longest_s, "all"}:
                if control is not None and control.cancelled:
                    raise ReplayCancelled(control.cancelled)
                self._changed.wait(0.01)  # a control wakes nobody
            self._now -= 1
            if longest_s in self._let_go:
                raise ReplayTooSlow
        # Not what was committed: that would end a dispute before the whole run.
        return replace(self._records[case.audit.segment], state_hash=bytes(32))

    def let_go(self, name: object) -> None:
        with self._changed:
            self._let_go.add(name)
            self._changed.notify_all()

    def next(self, number: int) -> set[tuple[str, str]]:
        return {self.begun.get(timeout=20) for _ in range(number)}


def test_when_four_leases_of_a_pair_are_slow_then_another_pairs_one_is_still_audited(
    make: Make,
    lease: Committed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auditor = make(ScriptedAuditor)
    gated = Gated(lease, monkeypatch, auditor)
    cases = {
        name: lease.case(number % SEGMENTS, audit_id=name, state=AuditState.INPUTS_READY)
        for number, name in enumerate(IDS)
    }
    cases[IDS[-1]] = of(cases[IDS[-1]], provider=parties.account("provider 2").address)
    sees(monkeypatch, cases)
    auditor.tick()
    executed = {name for _, name in gated.next(MAX_OF_PAIR + 1)}
    assert IDS[-1] in executed
    for waiting in set(IDS) - executed:
        auditor._working[cases[waiting].audit.case_id].result(timeout=20)  # it keeps no thread
    auditor.tick()
    assert gated.begun.empty(), "the pair's first two are still being executed"
    gated.let_go("all")
    for _ in range(1000):  # each turn waits for what runs: it cannot take this many
        turn(auditor)
        while not gated.begun.empty():
            executed.add(gated.begun.get()[1])
        if executed == set(IDS):
            break
    assert executed == set(IDS), "nothing is lost"
    assert "broke" not in caplog.text, "to wait is no error"


def test_when_the_renters_other_leases_are_slow_then_an_honest_commit_is_cleared_at_once(
    make: Make, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    arbiter = make(ScriptedArbiter)
    gated = Gated(lease, monkeypatch, arbiter)
    gated.let_go("resumed")
    for number, name in enumerate(IDS[:MAX_LONG]):
        own = of(
            arbitration(lease, 1, name, state=AuditState.INPUTS_READY),
            provider=parties.account(f"provider {number}").address,
        )
        arbiter._start(own, arbiter.inputs(arbiter.at, own))
    assert {name for run, name in gated.next(2 * MAX_LONG) if run == "whole"} == set(IDS[:MAX_LONG])
    monkeypatch.setattr(
        arbiter, "run_again", lambda case, *_, **__: lease.records[case.audit.segment]
    )
    for segment in range(SEGMENTS):
        honest = arbitration(lease, segment, f"{AUDIT_ID[:-1]}{segment}")
        arbiter.step(arbiter.at, honest)
        wait([arbiter._runs[honest.audit.case_id].resumed], timeout=20)
        arbiter.step(arbiter.at, honest)
    assert [ruled.fraud for ruled in lease.rulings] == [False]
    assert gated.begun.empty(), "no whole run was needed"
    gated.let_go("all")


def test_when_all_disputes_are_slow_then_no_turn_waits_and_few_runs_go_at_the_same_time(
    make: Make, lease: Committed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arbiter = make(ScriptedArbiter)
    gated = Gated(lease, monkeypatch, arbiter)
    cases = {
        name: arbitration(lease, number % SEGMENTS, name, state=AuditState.INPUTS_READY)
        for number, name in enumerate(IDS[: MAX_SHORT_OF_PAIR + 1])
    }
    sees(monkeypatch, cases)
    turn(arbiter)
    first = gated.next(MAX_SHORT_OF_PAIR)
    turn(arbiter)
    assert gated.begun.empty(), "the last one waits"
    gated.let_go(first.pop())
    (last,) = gated.next(1)
    assert last[0] == "resumed", "of a pair a short run goes before a long one"
    gated.let_go("resumed")
    turn(arbiter)
    longs = gated.next(MAX_OF_PAIR)
    turn(arbiter)
    assert {run for run, _ in longs} == {"whole"}
    assert gated.begun.empty(), "all are of one pair"
    gated.let_go("all")
    every = {run for runs in arbiter._runs.values() for run in runs.begun}
    assert not wait(every, timeout=20).not_done, "nothing is lost"
    assert len(longs | gated.next(len(cases) - MAX_OF_PAIR)) == len(cases)
    assert MAX_SHORT_OF_PAIR <= gated.most <= MAX_RUNS
    assert "broke" not in caplog.text


def test_when_all_segments_of_a_lease_are_slow_then_another_leases_one_has_a_seat(
    make: Make, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    arbiter = make(ScriptedArbiter)
    gated = Gated(lease, monkeypatch, arbiter)
    for name in IDS:
        slow = arbitration(lease, 1, name, state=AuditState.INPUTS_READY)
        arbiter._start(slow, arbiter.inputs(arbiter.at, slow))
    assert {run for run, _ in gated.next(MAX_SHORT_OF_PAIR)} == {"resumed"}
    assert gated.begun.empty()
    others = {side: parties.account(side).address for side in ("renter", "provider")}
    arbiter.step(arbiter.at, of(arbitration(lease, 1), **others))
    assert gated.next(1) == {("resumed", AUDIT_ID)}
    assert set(gated.longest_s.values()) == {SHORT_S}
    gated.let_go(SHORT_S)
    # The first tries that waited, and then a longer one of each pair.
    begun = [gated.begun.get(timeout=20) for _ in range(len(IDS) - MAX_SHORT_OF_PAIR + 2)]
    assert begun.count(("resumed", AUDIT_ID)) == 1
    assert gated.begun.empty(), "the slow pair's others wait for the first of it"
    assert sorted(gated.longest_s.values()) == [SHORT_S] * (len(IDS) - 1) + [math.inf] * 2
    gated.let_go("all")


def test_when_all_disputes_are_slow_then_what_is_withheld_is_attested_all_the_same(
    make: Make, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine.Examiner, "waited", lambda _self, _case: True)
    arbiter = make(ScriptedArbiter)
    gated = Gated(lease, monkeypatch, arbiter)
    cases = {name: arbitration(lease, 1, name) for name in IDS}
    sees(monkeypatch, cases)
    turn(arbiter)
    gated.next(MAX_SHORT_OF_PAIR)
    cases[AUDIT_ID] = arbitration(lease, 0, state=AuditState.ASSIGNED)
    sees(monkeypatch, cases)
    lease.chain.mine(seconds=980)
    turn(arbiter)
    assert lease.attested == [0]
    gated.let_go("all")


@pytest.mark.parametrize("over", ["paid", "row gone", "daemon stops"])
def test_when_a_case_is_over_then_what_runs_is_ended_and_what_waits_never_begins(
    make: Make, lease: Committed, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    arbiter = make(ScriptedArbiter)
    gated = Gated(lease, monkeypatch, arbiter)
    case = arbitration(lease, 1)
    sees(monkeypatch, {AUDIT_ID: case})
    turn(arbiter)
    gated.next(1)
    runs = arbiter._runs[case.audit.case_id]
    if over == "paid":
        monkeypatch.setattr(examine, "open_to_challenge", lambda *_: False)
        turn(arbiter)
    elif over == "row gone":
        sees(monkeypatch, {})
        turn(arbiter)
    else:
        arbiter.close()
        assert all(run.done() for run in runs.begun)
    for run in runs.begun:
        with pytest.raises(ReplayCancelled):
            run.result(20)
    assert gated.begun.empty()


def test_when_a_pair_has_its_long_runs_then_only_its_next_long_one_waits(lease: Committed) -> None:
    seats, first = Seats(), lease.case()
    with ExitStack() as others:
        for _ in range(MAX_OF_PAIR):
            others.enter_context(seats.seat(first, Length.LONG))
        upper = of(first, renter="0x" + first.history.terms.renter[2:].upper())
        with pytest.raises(SeatTaken), seats.seat(upper, Length.LONG):
            pass
        for side in ("renter", "provider"):
            with seats.seat(of(first, **{side: parties.account("other").address}), Length.LONG):
                pass
        assert seats.start(first, lambda _: 1, Length.SHORT).result(20) == 1
    with seats.seat(first, Length.LONG):
        pass


def test_when_longer_runs_have_their_seats_then_there_are_others_for_shorter_ones(
    lease: Committed,
) -> None:
    seats = Seats()
    with ExitStack() as others:
        for number in range(MAX_LONG):
            case = of(lease.case(), renter=parties.account(f"renter {number}").address)
            others.enter_context(seats.seat(case, Length.LONG))
        with pytest.raises(SeatTaken), seats.seat(lease.case(), Length.LONG):
            pass
        long = seats.start(lease.case(), lambda length: length, Length.LONG)
        with seats.seat(case, Length.SEGMENT):
            segment = seats.start(lease.case(), lambda length: length, Length.SEGMENT)
            short = seats.start(lease.case(), lambda length: length, Length.SHORT)
            assert short.result(20) is Length.SHORT
            assert not segment.done()
        assert segment.result(20) is Length.SEGMENT
        assert not long.done()
    assert long.result(20) is Length.LONG, "it waited, and was not lost"


def test_when_runs_wait_then_pairs_take_turns_each_with_its_shortest(lease: Committed) -> None:
    seats, first, last = Seats(), threading.Event(), threading.Event()
    order: list[str] = []
    pair = lease.case()
    other = of(pair, renter=parties.account("renter 2").address)
    seats.start(other, lambda _: first.wait(20), Length.SHORT)
    for _ in range(MAX_RUNS - 2):
        seats.start(pair, lambda _: last.wait(20), Length.SHORT)
    third = of(pair, renter=parties.account("renter 4").address)
    seats.start(third, lambda _: last.wait(20), Length.SHORT)
    new = of(pair, renter=parties.account("renter 3").address)
    names = {"long": other, "pair": pair, "other 1": other, "other 2": other, "new": new}
    waiting = [
        seats.start(
            case,
            lambda _, name=name: order.append(name),
            Length.LONG if name == "long" else Length.SHORT,
        )
        for name, case in names.items()
    ]
    assert order == []
    first.set()  # one seat: they follow each other
    assert not wait(waiting, timeout=20).not_done
    assert order == ["other 1", "pair", "new", "other 2", "long"]
    last.set()


def test_when_a_pair_was_refused_a_seat_then_it_has_the_next_one_while_it_asks(
    lease: Committed,
) -> None:
    now = [0.0]
    seats = Seats(lambda: now[0])
    first, late, *others = [
        of(lease.case(), renter=parties.account(f"renter {number}").address)
        for number in range(MAX_LONG + 1)
    ]

    def is_seated(case: Case) -> bool:
        now[0] += 4.0
        try:
            with seats.seat(case, Length.LONG):
                return True
        except SeatTaken:
            return False

    with ExitStack() as stack:
        for case in others:
            stack.enter_context(seats.seat(case, Length.LONG))
        with seats.seat(first, Length.LONG):
            assert not is_seated(late)
            assert not is_seated(late)
        assert not is_seated(first), "the seat is kept for the other one"
        assert is_seated(late)
        assert is_seated(first)
        with seats.seat(first, Length.LONG):
            assert not is_seated(late)
        now[0] += 10.0
        assert is_seated(first), "the other one asks no more"


def test_when_a_run_fails_then_its_error_is_given_and_its_seat_is_free(lease: Committed) -> None:
    seats = Seats()

    def fail(_: Length) -> None:
        raise ProviderFault("no memory")

    failed = seats.start(lease.case(), fail, Length.SHORT)
    after = seats.start(lease.case(), lambda _: 1, Length.LONG, after=failed)
    assert after.result(20) == 1
    with pytest.raises(ProviderFault):
        failed.result(20)


@pytest.mark.parametrize(
    ("error", "tried"),
    [
        (ProviderFault("no memory"), [Length.SHORT, Length.SEGMENT, Length.SEGMENT]),
        (ReplayTooSlow(), [Length.SHORT, Length.SEGMENT]),
        (ReplayCancelled("over"), [Length.SHORT]),
    ],
)
def test_when_a_try_fails_then_the_next_one_follows_unless_it_had_all_its_time(
    lease: Committed, error: Exception, tried: list[Length]
) -> None:
    seats, lengths = Seats(), list[Length]()

    def fail(length: Length) -> None:
        lengths.append(length)
        raise error

    failed = seats.start(lease.case(), fail, Length.SHORT, Length.SEGMENT, Length.SEGMENT)
    with pytest.raises(type(error)):
        failed.result(20)
    assert lengths == tried


def test_when_runs_of_one_length_fail_then_one_at_a_time_is_repeated(lease: Committed) -> None:
    seats, let_go = Seats(), threading.Event()
    begun: queue.Queue[str] = queue.Queue()
    failed: set[str] = set()

    def run(name: str, _: Length) -> str:
        begun.put(name)
        if name not in failed:
            failed.add(name)
            raise ProviderFault("no memory")
        assert let_go.wait(20)
        return name

    running = [
        seats.start(
            of(lease.case(), renter=parties.account(name).address),
            partial(run, name),
            *(Length.LONG, Length.LONG),
        )
        for name in "ab"
    ]
    assert sorted(begun.get(timeout=20) for _ in range(3)) in (["a", "a", "b"], ["a", "b", "b"])
    assert begun.empty()
    let_go.set()
    assert [future.result(20) for future in running] == ["a", "b"]


@pytest.mark.parametrize("name", ["_execute", "_confirmed", "_execute_silently"])
def test_when_other_cases_of_the_pair_run_then_no_run_of_an_auditor_begins(
    make: Make, lease: Committed, name: str
) -> None:
    auditor = make(ScriptedAuditor, first=ProviderFault())
    case = lease.case(state=AuditState.INPUTS_READY)
    given = (lease.records[1],) if name == "_confirmed" else ()
    with auditor.seats.seat(case, Length.LONG):
        with auditor.seats.seat(case, Length.LONG), pytest.raises(SeatTaken):
            getattr(auditor, name)(auditor.at, case, *given)
        with pytest.raises(ProviderFault):
            auditor._execute(auditor.at, case)
        with auditor.seats.seat(case, Length.LONG):  # a run that failed has left
            pass


def test_when_no_thread_can_start_then_no_seat_is_lost(
    lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    seats = Seats()

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for _ in range(MAX_RUNS):
            with pytest.raises(RuntimeError):
                seats.start(lease.case(), lambda _: 1, Length.SHORT)
    assert seats.start(lease.case(), lambda _: 2, Length.SHORT).result(20) == 2
