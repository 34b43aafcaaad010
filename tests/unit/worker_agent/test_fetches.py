"""No number of leases with oneself keeps other leases' inputs from being fetched."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import parties
from tests.fakes.cases import AUDIT_ID, Committed, ScriptedArbiter, ScriptedAuditor
from worker_agent import examine
from worker_agent.case import Case
from worker_agent.errors import NoRoom, SeatTaken
from worker_agent.examine import Examiner
from worker_agent.fetches import MAX_FETCHES, Fetches, names_of

IDS = [f"aud_01M8498KNAF9QBYEWW1M2N52K{letter}" for letter in "ABCDE"]


@pytest.fixture
def lease() -> Committed:
    return Committed.make()


@pytest.fixture(params=[ScriptedAuditor, ScriptedArbiter])
def examiner(request: Any, tmp_path: Path, lease: Committed) -> Iterator[Any]:
    made = request.param(tmp_path / "examiner", lease, {})
    yield made
    made.close()
    made.context.journal.close()


def of(case: Case, renter: str, lease_id: bytes | None = None) -> Case:
    """The case as one of another renter's lease."""
    terms = replace(case.history.terms, renter=parties.account(renter).address)
    audit = replace(case.audit, lease_id=lease_id or case.audit.lease_id)
    return replace(case, audit=audit, history=replace(case.history, terms=terms))


class Slow:
    """Fetches that last until they are let go."""

    def __init__(self) -> None:
        self.begun: queue.Queue[str] = queue.Queue()
        self.gate = threading.Event()

    def fetch(self, _context: Any, _market: Any, case: Case, _allowed: Any) -> Any:
        self.begun.put(case.audit.audit_id)
        assert self.gate.wait(20)
        raise NoRoom


@pytest.mark.parametrize("num_renters", [1, len(IDS)])
def test_when_many_leases_are_fetched_then_one_of_each_pair_is_and_threads_are_left(
    examiner: Any, lease: Committed, monkeypatch: pytest.MonkeyPatch, num_renters: int
) -> None:
    made = [lease.case(audit_id=name, kind=examiner.kind) for name in [*IDS, AUDIT_ID]]
    cases = [
        of(case, f"attacker {number % num_renters}", bytes([number]) * 32)
        for number, case in enumerate(made)
    ]
    cases[-1] = made[-1]
    by_id = {case.audit.audit_id: case for case in cases}
    stepped: queue.Queue[str] = queue.Queue()

    def step(market: Any, case: Case) -> None:
        stepped.put(case.audit.audit_id)
        Examiner.inputs(examiner, market, case)

    rows = [case.audit for case in cases]
    monkeypatch.setattr(examine, "live_audits", lambda *_: rows)
    monkeypatch.setattr(examine, "parse_audit", lambda row, *_: row)
    monkeypatch.setattr(examine, "open_to_challenge", lambda *_: True)
    monkeypatch.setattr(examiner._histories, "of", lambda *_: None)
    monkeypatch.setattr(examine, "confirm_case", lambda _c, _m, audit, *_: by_id[audit.audit_id])
    monkeypatch.setattr(examiner, "step", step)
    slow = Slow()
    monkeypatch.setattr(examine, "fetch_case_inputs", slow.fetch)
    try:
        examiner.tick()
        assert {stepped.get(timeout=20) for _ in cases} == set(by_id), "each has a thread"
        num_fetched = min(num_renters + 1, MAX_FETCHES)
        fetched = {slow.begun.get(timeout=20) for _ in range(num_fetched)}
        assert num_renters > 1 or AUDIT_ID in fetched
        waiting = [
            examiner._working[case.audit.case_id]
            for name, case in by_id.items()
            if name not in fetched
        ]
        assert not wait(waiting, timeout=20).not_done, "the others keep no thread"
        assert slow.begun.empty()
    finally:
        slow.gate.set()


def test_when_a_pair_fetches_again_and_again_then_others_have_their_turn(
    tmp_path: Path, lease: Committed
) -> None:
    made = Fetches(tmp_path)
    pairs = [of(lease.case(), f"renter {number}") for number in range(MAX_FETCHES + 1)]
    with ExitStack() as stack:
        first, *others, late = pairs
        for case in others:
            stack.enter_context(made.turn(case))
        with made.turn(first), pytest.raises(SeatTaken), made.turn(late):
            pass
        with pytest.raises(SeatTaken), made.turn(first):
            pass
        with made.turn(late), pytest.raises(SeatTaken), made.turn(late):
            pass


def test_when_much_of_a_pair_lies_here_then_only_that_pair_has_no_more_room(
    tmp_path: Path, lease: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, folders = 1 << 20, 64 << 10  # a folder has a size as well
    disk = SimpleNamespace(total=part * MAX_FETCHES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    made = Fetches(tmp_path)
    own, its_other, strangers = (
        of(lease.case(audit_id=name), renter, bytes([number]) * 32)
        for number, (name, renter) in enumerate(zip(IDS, ["a", "a", "b"], strict=False))
    )

    def write(name: str, size: int) -> None:
        folder = tmp_path / name / "inputs"
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(bytes(size))

    def used(case: Case) -> float:
        with made.turn(case) as allowed:
            return part - allowed()

    assert used(own) == used(its_other) == used(strangers) == 0
    (lease_name, case_name), (other_name, _) = names_of(own), names_of(its_other)
    write(lease_name, 300_000)
    write(other_name, 400_000)
    write(f"{case_name}-resumed", 200_000)
    assert 900_000 <= used(own) == used(its_other) < 900_000 + folders
    assert used(strangers) == 0
    with made.turn(own) as allowed:
        write(f"{case_name}-whole", part)
        assert allowed() < 0, "what is written meanwhile counts"
    made.forget({lease_name})
    assert 300_000 + part <= used(own) < 500_000 + part + folders
