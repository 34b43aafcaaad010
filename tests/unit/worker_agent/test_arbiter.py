"""What an arbiter makes of its runs: when it rules fraud, when honest, and when not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client_sdk.chain.journal import TxState
from client_sdk.protocol.states import AuditKind, AuditState
from contracts.bindings import LeaseStatus
from tests.fakes import parties
from tests.fakes.cases import Committed, Run, ScriptedArbiter, fulfil
from worker_agent import examine
from worker_agent.arbiter import judge
from worker_agent.case import Case, checkpoint_folder
from worker_agent.errors import (
    BadArtifact,
    JobFailed,
    MarketRefused,
    NoRoom,
    ProviderFault,
    RejectedInput,
)
from worker_agent.examine import Examiner
from worker_agent.replay import CheckpointUnusable, ReplayTooSlow
from worker_agent.seats import Length, Seats

SEGMENT, LOW = 2, 1
OTHER_ID = "aud_01M8498KNAF9QBYEWW1M2N52KV"
Make = Callable[..., ScriptedArbiter]


@pytest.fixture
def lease() -> Committed:
    made = Committed.make()
    made.challenge(SEGMENT)
    return made


@pytest.fixture
def make(tmp_path: Path, lease: Committed) -> Iterator[Make]:
    made: list[ScriptedArbiter] = []

    def build(**results: Run) -> ScriptedArbiter:
        arbiter = ScriptedArbiter(tmp_path / "arbiter", lease, results)
        made.append(arbiter)
        return arbiter

    yield build
    for arbiter in made:
        arbiter.close()
        arbiter.context.journal.close()


class Queued(Seats):
    """Runs the next one only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[tuple[Future[Any], Callable[[], Any]]] = []

    def start(self, case: Case, execute: Callable[[Length], Any], *_: Any, **__: Any) -> Any:
        future: Future[Any] = Future()
        self.queue.append((future, partial(execute, Length.SHORT)))
        return future

    def run_next(self) -> None:
        future, run = self.queue.pop(0)
        fulfil(future, run)


def case_of(lease: Committed, state: AuditState = AuditState.OPENED) -> Case:
    return lease.case(
        SEGMENT, kind=AuditKind.ARBITRATION, auditor=parties.ARBITER.address, state=state
    )


def differing(lease: Committed, byte: int) -> Run:
    return replace(lease.records[SEGMENT], state_hash=bytes([byte]) * 32)


@pytest.mark.parametrize(
    ("resumed", "whole", "third", "fraud"),
    [
        (0, 1, None, False),  # one run that reproduces the commit is enough
        (1, 0, None, False),
        (1, 1, 0, False),
        (1, 1, None, True),
        (1, 2, None, False),  # the job cannot be replayed
        (2, 1, 1, True),  # the run from a false checkpoint does not count
        (1, 1, 2, False),
        ("job", 1, None, None),  # neither fraud nor innocence
        (1, "job", None, None),
        ("job", "job", None, False),  # the code itself ends alike
        ("job", "exit", None, None),
        ("machine", "job", None, None),
        ("checkpoint", 1, "job", None),
        (1, "machine", None, None),
        ("machine", "machine", None, None),
        ("checkpoint", 1, "machine", None),
        ("checkpoint", 1, 1, True),
    ],
)
def test_when_the_runs_end_so_then_the_ruling_is_this(
    lease: Committed,
    resumed: int | str,
    whole: int | str,
    third: int | str | None,
    fraud: bool | None,
) -> None:
    def result(what: int | str | None) -> Run | None:
        if what == 0:
            return lease.records[SEGMENT]
        errors = {
            "job": JobFailed("raised", 80),
            "exit": JobFailed("exited", 83),
            "machine": ProviderFault("no memory"),
            "checkpoint": CheckpointUnusable("torn"),
        }
        return errors[what] if isinstance(what, str) else what and differing(lease, what)

    ruling, why = judge(lease.opening(SEGMENT), result(resumed), result(whole), result(third))
    assert ruling is fraud, why


def test_when_two_runs_agree_against_the_commit_then_nothing_pending_is_paid(
    lease: Committed, make: Make
) -> None:
    arbiter = make(resumed=differing(lease, 1), whole=differing(lease, 1))
    arbiter.step(arbiter.at, case_of(lease))
    (ruled,) = lease.rulings
    # Segments before the challenged one are pending as well: who lied once has proven none of it.
    assert (ruled.fraud, ruled.good_segments) == (True, 0)
    assert lease.row["outcome"]["result"] == "mismatch"


def test_when_the_commit_is_reproduced_then_the_ruling_is_honest(
    lease: Committed, make: Make
) -> None:
    arbiter = make(resumed=lease.records[SEGMENT], whole=differing(lease, 1))
    arbiter.step(arbiter.at, case_of(lease))
    (ruled,) = lease.rulings
    assert (ruled.fraud, ruled.good_segments) == (False, 4)
    assert lease.row["outcome"]["result"] == "agreed"


def test_when_there_is_no_ruling_then_nothing_is_sent_and_it_is_logged_once(
    lease: Committed, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    arbiter = make(resumed=ProviderFault("no memory"), whole=ProviderFault("no memory"))
    for _ in range(3):
        arbiter.step(arbiter.at, case_of(lease))
    assert (lease.rulings, lease.row["outcome"]) == ([], None)
    assert caplog.text.count("no ruling") == 1


@pytest.mark.parametrize("error", [JobFailed("raised", 80), ProviderFault("no memory")])
def test_when_a_run_fails_on_this_machine_then_it_is_repeated_and_no_cheat_is_acquitted(
    lease: Committed, make: Make, error: Exception
) -> None:
    arbiter = make(resumed=differing(lease, 1), whole=error)
    arbiter.step(arbiter.at, case_of(lease))
    assert (lease.rulings, arbiter.runs) == ([], ["resumed", "whole", "whole"])


@pytest.mark.parametrize("slow", ["resumed", "whole", "third"])
def test_when_a_run_has_had_its_time_then_it_is_not_repeated(
    lease: Committed, make: Make, slow: str
) -> None:
    false = differing(lease, 1)
    results: dict[str, Run] = {"resumed": false, "whole": false, slow: ReplayTooSlow()}
    if slow == "third":
        results["resumed"] = CheckpointUnusable("torn")
    arbiter = make(**results)
    for _ in range(3):
        arbiter.step(arbiter.at, case_of(lease))
    assert (lease.rulings, arbiter.runs.count(slow)) == ([], 1)


def test_when_the_repeated_run_succeeds_then_it_is_ruled_by(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    arbiter = make(resumed=differing(lease, 1), whole=differing(lease, 1))
    give, failed = arbiter.give, set[str]()

    def give_later(name: str) -> Any:
        if name not in failed:
            failed.add(name)
            raise ProviderFault("no memory")
        return give(name)

    monkeypatch.setattr(arbiter, "give", give_later)
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [True]


@pytest.mark.parametrize("state", [AuditState.INPUTS_READY, AuditState.OPENED])
def test_when_a_run_still_goes_then_the_turn_ends_and_the_next_run_has_not_begun(
    lease: Committed, make: Make, state: AuditState
) -> None:
    false = differing(lease, 1)
    arbiter = make(resumed=CheckpointUnusable("torn"), whole=false, third=false)
    arbiter.seats = queued = Queued()
    for names in (["resumed"], ["resumed", "whole"], ["resumed", "whole", "third"]):
        for _ in range(2):
            arbiter.step(arbiter.at, case_of(lease, state))
        assert arbiter.runs == names[:-1]
        assert lease.rulings == []
        state = AuditState.OPENED
        queued.run_next()
        assert arbiter.runs == names
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [True]


def test_when_the_first_run_confirms_the_commit_then_the_whole_one_never_begins(
    lease: Committed, make: Make
) -> None:
    arbiter = make(resumed=lease.records[SEGMENT])
    arbiter.seats = queued = Queued()
    arbiter.step(arbiter.at, case_of(lease))
    queued.run_next()
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [False]
    queued.run_next()
    assert arbiter.runs == ["resumed"]


def test_when_the_checkpoint_claims_another_place_then_a_third_run_decides(
    lease: Committed, make: Make
) -> None:
    # Resumed from it, the run would even agree with the commit.
    arbiter = make(
        resumed=lease.records[SEGMENT], whole=differing(lease, 1), third=differing(lease, 1)
    )
    arbiter.first_step = 99
    arbiter.step(arbiter.at, case_of(lease))
    (ruled,) = lease.rulings
    assert ruled.fraud
    assert sorted(arbiter.runs) == ["resumed", "third", "whole"]


def test_when_the_first_run_is_over_then_it_is_reported_before_the_opening_is_there(
    lease: Committed, make: Make
) -> None:
    arbiter = make(resumed=differing(lease, 1), whole=differing(lease, 1))
    arbiter.step(arbiter.at, case_of(lease, AuditState.INPUTS_READY))
    assert lease.row["report"]["report"]["state_hash"] == "0x" + "01" * 32
    assert lease.rulings == []


def withheld(lease: Committed, left_s: int) -> Case:
    """A case without inputs, some seconds before the ruling's time ends."""
    dispute = lease.chain.state.disputes[lease.lease_id]
    ends = dispute.disputed_at + lease.terms.dispute_timeout
    lease.chain.mine(seconds=ends - left_s - lease.chain.now())
    return case_of(lease, AuditState.ASSIGNED)


@pytest.mark.parametrize(
    ("left_s", "attested"), [(19, []), (7, []), (6, [SEGMENT]), (2, [SEGMENT])]
)
@pytest.mark.parametrize("is_demand", [True, False])
def test_when_no_inputs_come_then_it_is_attested_just_before_the_time_is_over(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    lease: Committed,
    is_demand: bool,
    left_s: int,
    attested: list[int],
) -> None:
    if is_demand:
        lease.chain.state.disputes.clear()
        lease.chain.state.leases[lease.lease_id] = replace(
            lease.chain.lease(lease.lease_id), status=LeaseStatus.ACTIVE
        )
        lease.demand(SEGMENT)
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make()
    case = withheld(lease, left_s)
    arbiter.step(arbiter.at, case)
    arbiter.step(arbiter.at, case)
    assert (lease.attested, lease.rulings) == (attested, [])


def test_when_the_provider_had_no_time_to_answer_then_nothing_is_attested(
    lease: Committed, make: Make
) -> None:
    arbiter = make()
    arbiter.step(arbiter.at, withheld(lease, 3))
    assert lease.attested == []


@pytest.mark.parametrize(
    ("error", "attested"),
    [
        (BadArtifact("other bytes"), [SEGMENT]),
        (MarketRefused(404, "artifact_unknown", "gone"), [SEGMENT]),
        (NoRoom(), []),
        (OSError(28, "No space left on device"), []),
        (RejectedInput("another class"), []),
    ],
)
def test_when_the_inputs_are_none_then_it_is_attested_unless_it_is_this_machines_fault(
    lease: Committed,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    attested: list[int],
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make()
    monkeypatch.setattr(examine, "fetch_case_inputs", fail)
    monkeypatch.setattr(arbiter, "inputs", partial(Examiner.inputs, arbiter))
    withheld(lease, 3)
    case = case_of(lease, AuditState.INPUTS_READY)
    own_fault = NoRoom if isinstance(error, OSError) else type(error)
    with nullcontext() if attested else pytest.raises(own_fault):
        arbiter.step(arbiter.at, case)
    assert lease.attested == attested


def test_when_data_of_an_earlier_dispute_are_missing_then_the_open_one_goes_on(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    terms = lease.terms
    lease.chain.execute(lease.chain.escrow.rule(terms.abi_tuple(), False, SEGMENT), terms.arbiter)
    lease.challenge(LOW)
    arbiter = make(resumed=lease.records[LOW], whole=lease.records[LOW])
    arbiter.step(arbiter.at, withheld(lease, 4))
    assert lease.attested == []
    arbiter.step(arbiter.at, low_case(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [False, False]


def test_when_the_opening_is_kept_back_after_the_report_then_it_is_attested(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    arbiter.step(arbiter.at, case_of(lease, AuditState.INPUTS_READY))
    withheld(lease, 4)
    arbiter.step(arbiter.at, case_of(lease, AuditState.REPORTED))
    assert lease.attested == [SEGMENT]


def test_when_another_market_serves_the_inputs_then_nothing_is_attested(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    here = withheld(lease, 4)
    elsewhere = lease.case(
        SEGMENT,
        audit_id=OTHER_ID,
        kind=AuditKind.ARBITRATION,
        auditor=parties.ARBITER.address,
        state=AuditState.INPUTS_READY,
    )
    arbiter.step(arbiter.at, elsewhere)
    arbiter.step(arbiter.at, here)
    assert lease.attested == []
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [False]


def half_over(lease: Committed) -> None:
    dispute = lease.chain.state.disputes[lease.lease_id]
    half = dispute.disputed_at + lease.terms.dispute_timeout // 2
    lease.chain.mine(seconds=half - lease.chain.now())


@pytest.mark.parametrize("late", [AuditState.ASSIGNED, AuditState.REPORTED])
def test_when_the_answer_comes_after_half_of_the_time_then_it_counts_as_withheld(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch, late: AuditState
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    given = AuditState.OPENED if late is AuditState.REPORTED else AuditState.INPUTS_READY
    arbiter.step(arbiter.at, case_of(lease, late))
    half_over(lease)
    arbiter.step(arbiter.at, case_of(lease, late))
    arbiter.step(arbiter.at, case_of(lease, given))
    assert (arbiter.runs, lease.rulings, lease.attested) == ([], [], []), "there is time yet"
    withheld(lease, 4)
    arbiter.step(arbiter.at, case_of(lease, given))
    assert (arbiter.runs, lease.rulings, lease.attested) == ([], [], [SEGMENT])


@pytest.mark.parametrize("looked", [True, False], ids=["missed before", "arbiter late itself"])
def test_when_the_answer_was_there_at_the_first_look_after_half_then_it_is_judged(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    if looked:
        arbiter.step(arbiter.at, case_of(lease, AuditState.ASSIGNED))
    half_over(lease)
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [False]


def low_case(lease: Committed, state: AuditState = AuditState.OPENED) -> Case:
    """The case of a lower segment that somebody else pointed at."""
    kind, auditor = AuditKind.ARBITRATION, parties.ARBITER.address
    return lease.case(LOW, audit_id=OTHER_ID, kind=kind, auditor=auditor, state=state)


@pytest.mark.parametrize("first_is_low", [True, False])
def test_when_two_segments_are_disputed_then_both_must_be_right_for_an_honest_ruling(
    lease: Committed, make: Make, first_is_low: bool
) -> None:
    lease.challenge(LOW)
    arbiter = make()
    cases = [low_case(lease), case_of(lease)]
    for case in cases if first_is_low else reversed(cases):
        assert lease.rulings == []
        arbiter.results = dict.fromkeys(("resumed", "whole"), lease.records[case.audit.segment])
        checkpoint = checkpoint_folder(arbiter.context, case)
        checkpoint.mkdir()
        arbiter.step(arbiter.at, case)
        assert not checkpoint.exists(), "the dispute's other segments need its room"
    assert [ruled.fraud for ruled in lease.rulings] == [False]


def test_when_an_accomplice_points_at_a_right_segment_then_the_false_one_is_still_ruled_on(
    lease: Committed, make: Make
) -> None:
    lease.challenge(LOW)
    arbiter = make(resumed=lease.records[LOW], whole=lease.records[LOW])
    arbiter.step(arbiter.at, low_case(lease))
    arbiter.results = {"resumed": differing(lease, 1), "whole": differing(lease, 1)}
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [True]


def test_when_a_lower_segment_is_pointed_at_meanwhile_then_the_ruling_waits_for_it(
    lease: Committed, make: Make
) -> None:
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    case = case_of(lease)
    lease.challenge(LOW)  # after the case was read
    arbiter.step(arbiter.at, case)
    assert lease.rulings == []


def test_when_data_are_missing_above_a_right_segment_then_good_ends_at_the_lowest_disputed(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    lease.demand(LOW)
    arbiter = make(resumed=lease.records[LOW], whole=lease.records[LOW])
    arbiter.step(arbiter.at, low_case(lease))
    arbiter.step(arbiter.at, withheld(lease, 4))
    assert (lease.attested, lease.rulings) == ([LOW], [])


def test_when_a_decision_is_on_its_way_then_no_second_one_is_sent(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    held: list[str] = []

    def submit(call: Any, key: str, *, retry: bool = False) -> bytes:
        held.append(key)  # signed and journaled, in no block yet
        return bytes(32)

    sender: Any = arbiter.context.sender
    monkeypatch.setattr(sender, "submit", submit)
    monkeypatch.setattr(sender, "state", lambda key: TxState.SENT if key in held else None)
    arbiter.step(arbiter.at, case_of(lease))
    arbiter.step(arbiter.at, withheld(lease, 4))
    again = make()  # restarted over the same journal
    again.context.sender.state = sender.state  # type: ignore[method-assign]
    again.step(again.at, withheld(lease, 3))
    assert len(held) == 1


def test_when_there_is_no_dispute_any_more_then_nothing_runs(lease: Committed, make: Make) -> None:
    arbiter = make()
    case = case_of(lease, AuditState.INPUTS_READY)
    lease.chain.mine(seconds=20)
    call = lease.chain.escrow.timeout_dispute(lease.terms.abi_tuple())
    lease.chain.execute(call, lease.terms.provider)
    arbiter.step(arbiter.at, case)
    assert arbiter.runs == []


def test_when_a_dispute_is_over_then_nothing_of_it_is_kept(lease: Committed, make: Make) -> None:
    arbiter = make(resumed=lease.records[SEGMENT], whole=lease.records[SEGMENT])
    arbiter.step(arbiter.at, case_of(lease, AuditState.INPUTS_READY))
    assert set(arbiter._disputes) == {lease.lease_id}
    arbiter.step(arbiter.at, case_of(lease))
    assert [ruled.fraud for ruled in lease.rulings] == [False]
    arbiter.step(arbiter.at, case_of(lease))
    assert arbiter._disputes == {}


@pytest.mark.parametrize(("from_start", "num_segments"), [(False, 1), (True, SEGMENT + 1)])
def test_when_the_terms_give_months_then_a_run_still_has_only_the_time_of_its_segments(
    tmp_path: Path, from_start: bool, num_segments: int
) -> None:
    lease = Committed.make(dispute_timeout=90 * 86_400)
    arbiter = ScriptedArbiter(tmp_path / "patient", lease, {})
    case = case_of(lease)
    manifest = SimpleNamespace(disk_bytes=1)
    inputs: Any = SimpleNamespace(job=None, seed=0, checkpoint=None, manifest=manifest)
    request = arbiter._replay_of(case, inputs, "run", from_start)
    arbiter.close()
    arbiter.context.journal.close()
    longest_s = arbiter.context.settings.max_segment_s
    assert request.limit_s == 60 + num_segments * longest_s
    assert request.segment_limit_s == 60 + longest_s
