"""What an auditor does with a result, or without one: challenges, demands, and when neither."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from client_sdk.chain.errors import InsufficientFunds
from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.states import AuditKind, AuditState
from contracts.events import Committed as CommittedEvent
from tests.fakes import parties
from tests.fakes.cases import AUDIT_ID, SEGMENTS, WINDOW_S, Committed, Run, ScriptedAuditor
from worker_agent import examine
from worker_agent.audit import Auditor, Objection, agrees
from worker_agent.case import CaseInputs
from worker_agent.errors import (
    BadArtifact,
    BadCheckpoint,
    BadOpening,
    JobFailed,
    MarketRefused,
    MarketUnreachable,
    NoRoom,
    ProviderFault,
    RejectedInput,
    SeatTaken,
)
from worker_agent.examine import Examiner
from worker_agent.replay import CheckpointUnusable, ReplayTooSlow

Make = Callable[..., ScriptedAuditor]


@pytest.fixture
def lease(request: pytest.FixtureRequest) -> Committed:
    return Committed.make(**getattr(request, "param", {}))


@pytest.fixture
def make(tmp_path: Path, lease: Committed) -> Iterator[Make]:
    made: list[ScriptedAuditor] = []

    def build(**results: Run) -> ScriptedAuditor:
        auditor = ScriptedAuditor(tmp_path / "auditor", lease, results)
        made.append(auditor)
        return auditor

    yield build
    for auditor in made:
        auditor.close()
        auditor.context.journal.close()


def other(record: SegmentRecord) -> SegmentRecord:
    """The same segment with another result, in the last byte only."""
    changed = record.state_hash[:-1] + bytes([record.state_hash[-1] ^ 1])
    return replace(record, state_hash=changed)


def compare(auditor: ScriptedAuditor, lease: Committed, first: SegmentRecord | None) -> None:
    """Compare a result that was reported before."""
    case = lease.case()
    auditor.remember(case, "first", first)
    auditor.step(auditor.at, case)


@pytest.mark.parametrize("field", ["state_hash", "end_step", "final"])
def test_when_one_field_of_the_end_differs_then_it_is_no_agreement(
    lease: Committed, field: str
) -> None:
    record, opening = lease.records[1], lease.opening(1)
    assert agrees(record, opening)
    changed: Any = {
        "state_hash": other(record).state_hash,
        "end_step": opening.end_step + 1,
        "final": True,
    }[field]
    assert not agrees(record, replace(opening, **{field: changed}))


def test_when_the_own_result_is_the_opened_one_then_it_says_agreed(
    lease: Committed, make: Make
) -> None:
    compare(make(), lease, lease.records[1])
    assert lease.row["outcome"]["result"] == "agreed"
    assert not lease.challenges


def test_when_a_second_run_confirms_the_difference_then_it_is_challenged(
    lease: Committed, make: Make
) -> None:
    mine = other(lease.records[1])
    auditor = make(second=mine)
    compare(auditor, lease, mine)
    (challenged,) = lease.challenges
    assert (challenged.segment, challenged.challenger) == (1, parties.AUDITOR.address)
    assert lease.row["outcome"]["result"] == "mismatch"
    assert auditor.runs == ["second"]


@pytest.mark.parametrize("second", ["right", "third value", "fails"])
def test_when_the_second_run_does_not_confirm_it_then_nobody_is_challenged(
    lease: Committed, make: Make, second: str
) -> None:
    results: dict[str, Run] = {
        "right": lease.records[1],
        "third value": replace(lease.records[1], state_hash=b"\xee" * 32),
        "fails": ProviderFault("no memory"),
    }
    compare(make(second=results[second]), lease, other(lease.records[1]))
    assert not lease.challenges
    assert lease.row["outcome"] is None


def test_when_a_checkpoint_is_unusable_twice_then_it_is_challenged(
    lease: Committed, make: Make
) -> None:
    compare(make(second=CheckpointUnusable("torn")), lease, None)
    assert len(lease.challenges) == 1


def test_when_a_checkpoint_is_usable_the_second_time_then_nobody_is_challenged(
    lease: Committed, make: Make
) -> None:
    compare(make(second=lease.records[1]), lease, None)
    assert not lease.challenges


def test_when_the_window_leaves_no_time_for_a_second_run_then_it_is_challenged_at_once(
    lease: Committed, make: Make
) -> None:
    auditor = make()
    lease.chain.mine(seconds=WINDOW_S - 5)
    compare(auditor, lease, other(lease.records[1]))
    assert len(lease.challenges) == 1
    assert auditor.runs == []


@pytest.mark.parametrize("change", [{"salt": b"\x09" * 32}, {"segment": 2}, {"up_to": 3}])
def test_when_the_opening_is_not_of_the_commit_then_it_is_no_answer(
    lease: Committed, make: Make, change: dict[str, Any]
) -> None:
    # The state in it is the right one, but the commit does not bind it.
    auditor = make()
    case = lease.case(opening=lease.opening(1, **change))
    auditor.remember(case, "first", lease.records[1])
    auditor.step(auditor.at, case)
    assert (lease.row["outcome"], lease.challenges) == (None, [])


def execute(auditor: ScriptedAuditor, lease: Committed) -> None:
    auditor.step(auditor.at, lease.case(state=AuditState.INPUTS_READY, opening=None))


def test_when_the_run_is_over_then_its_state_is_reported_and_survives_a_restart(
    lease: Committed, make: Make
) -> None:
    execute(make(first=lease.records[1]), lease)
    assert lease.row["report"]["report"]["state_hash"] == "0x" + lease.records[1].state_hash.hex()
    again = make()
    case = lease.case()
    assert again.recall(case, "first") == (True, lease.records[1])
    again.step(again.at, case)
    assert (again.runs, lease.row["outcome"]["result"]) == ([], "agreed")


def test_when_the_state_claims_another_place_in_the_job_then_a_zero_state_is_reported(
    lease: Committed, make: Make
) -> None:
    auditor = make(first=lease.records[1])
    auditor.first_step = 7
    execute(auditor, lease)
    assert lease.row["report"]["report"]["state_hash"] == "0x" + "00" * 32


def test_when_the_job_fails_here_then_nothing_is_said_against_the_provider(
    lease: Committed, make: Make
) -> None:
    auditor = make(first=JobFailed("no such module", 80))
    execute(auditor, lease)
    assert (lease.row["state"], lease.challenges) == ("inputs_ready", [])
    assert auditor.recall(lease.case(), "first") == (False, None)


def test_when_a_run_has_had_its_time_then_it_is_not_repeated(lease: Committed, make: Make) -> None:
    auditor = make(first=ReplayTooSlow())
    with pytest.raises(ReplayTooSlow):
        execute(auditor, lease)
    execute(auditor, lease)
    assert (auditor.runs, lease.row["state"]) == (["first"], "inputs_ready")
    auditor.forget(lease.view().case_id)
    with pytest.raises(ReplayTooSlow):
        execute(auditor, lease)


@pytest.mark.parametrize(
    ("left_s", "demanded"), [(WINDOW_S, False), (8, False), (4, True), (-1, False)]
)
@pytest.mark.parametrize("state", [AuditState.ASSIGNED, AuditState.REPORTED])
def test_when_the_provider_is_silent_then_data_are_demanded_just_before_the_window_closes(
    lease: Committed,
    make: Make,
    state: AuditState,
    left_s: int,
    demanded: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Auditor, "waited", lambda _self, _case: True)
    auditor = make()
    lease.chain.mine(seconds=WINDOW_S - left_s)
    auditor.step(auditor.at, lease.case(state=state, opening=None))
    assert [event.segment for event in lease.demands] == [1] * demanded
    assert not lease.challenges, "silence is no proof of fraud"
    assert lease.row["outcome"] is None, "silence is no comparison"


@pytest.mark.parametrize("lease", [{"dispute_timeout": 40}], indirect=True, ids=[""])
@pytest.mark.parametrize(
    ("disputed", "left_s", "demanded"),
    [
        (3, 9, []),
        (3, 5, [1]),
        (3, 2, [1]),
        (3, 0, []),
        (3, -15, []),
        (1, 5, []),
        (0, 5, []),
    ],
)
@pytest.mark.parametrize("window_left_s", [1, WINDOW_S - 1])
def test_when_a_friend_challenges_a_later_segment_then_data_below_it_are_demanded_all_the_same(
    lease: Committed,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    disputed: int,
    left_s: int,
    demanded: list[int],
    window_left_s: int,
) -> None:
    monkeypatch.setattr(Auditor, "waited", lambda _self, _case: True)
    auditor = make()
    lease.chain.mine(seconds=WINDOW_S - window_left_s - 1)
    lease.challenge(disputed)
    lease.chain.mine(seconds=lease.terms.dispute_timeout // 2 - left_s)
    auditor.step(auditor.at, lease.case(state=AuditState.ASSIGNED, opening=None))
    assert [event.segment for event in lease.demands] == demanded
    assert not auditor.context.sender.refused  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error",
    [
        BadArtifact("other bytes"),
        BadCheckpoint("torn"),
        BadOpening("of another segment"),
        MarketRefused(404, "artifact_unknown", "gone"),
    ],
)
def test_when_the_inputs_cannot_be_fetched_then_they_are_demanded(
    lease: Committed, make: Make, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "waited", lambda _self, _case: True)
    auditor = make()
    unfetchable(monkeypatch, auditor, error)
    case = lease.case(state=AuditState.INPUTS_READY, opening=None)
    auditor.step(auditor.at, case)
    assert not lease.demands, "there is time yet"
    lease.chain.mine(seconds=WINDOW_S - 4)
    auditor.step(auditor.at, case)
    assert [event.demander for event in lease.demands] == [parties.AUDITOR.address]


@pytest.mark.parametrize("error", [NoRoom(), RejectedInput("another class")])
def test_when_it_is_this_machine_that_cannot_take_the_inputs_then_nothing_is_demanded(
    lease: Committed, make: Make, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "waited", lambda _self, _case: True)
    auditor = make()
    unfetchable(monkeypatch, auditor, error)
    lease.chain.mine(seconds=WINDOW_S - 4)
    with pytest.raises(type(error)):
        auditor.step(auditor.at, lease.case(state=AuditState.INPUTS_READY, opening=None))
    assert not lease.demands


def test_when_the_arbiter_could_fetch_them_then_the_same_data_are_not_demanded_again(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "waited", lambda _self, _case: True)
    auditor = make()
    lease.chain.mine(seconds=WINDOW_S - 4)
    case = lease.case(state=AuditState.ASSIGNED, opening=None)
    auditor.step(auditor.at, case)
    rule(lease, fraud=False)
    auditor.step(auditor.at, case)
    assert len(lease.demands) == 1, "each costs its bond"


def test_when_the_provider_had_no_time_yet_then_nothing_is_demanded(
    lease: Committed, make: Make
) -> None:
    auditor = make()
    lease.chain.mine(seconds=WINDOW_S - 4)
    auditor.step(auditor.at, lease.case(state=AuditState.ASSIGNED, opening=None))
    assert not lease.demands


def unfetchable(
    monkeypatch: pytest.MonkeyPatch, auditor: ScriptedAuditor, error: Exception
) -> None:
    """Let the inputs that every real examiner fetches fail."""

    def fail(*_: Any) -> CaseInputs:
        raise error

    monkeypatch.setattr(examine, "fetch_case_inputs", fail)
    monkeypatch.setattr(auditor, "inputs", partial(Examiner.inputs, auditor))


@pytest.mark.parametrize(("disputed", "challenged"), [(3, True), (1, False), (0, False)])
def test_when_there_is_a_dispute_then_only_a_lower_segment_may_be_pointed_at(
    lease: Committed, make: Make, disputed: int, challenged: bool
) -> None:
    auditor = make()
    lease.challenge(disputed)
    lease_now = lease.chain.lease(lease.lease_id)
    assert auditor._may_challenge(lease_now, Objection.of(lease.case(1), "")) is challenged


def rule(lease: Committed, *, fraud: bool) -> None:
    """The arbiter rules on the open dispute."""
    lowest = lease.chain.state.disputes[lease.lease_id].lowest_segment
    call = lease.chain.escrow.rule(lease.terms.abi_tuple(), fraud, 0 if fraud else lowest)
    lease.chain.execute(call, lease.terms.arbiter)


def find_wrong_while_disputed(
    auditor: ScriptedAuditor, lease: Committed, disputed: int, seconds: int = 1
) -> None:
    """Find segment 1 wrong while a dispute is open that cannot be pointed at it."""
    lease.challenge(disputed)
    lease.chain.mine(seconds=seconds)
    compare(auditor, lease, other(lease.records[1]))
    assert lease.row["outcome"]["result"] == "mismatch", "what was found is told at once"
    auditor.tick()
    sender: Any = auditor.context.sender
    assert (sender.sent, sender.refused) == ({}, []), "nothing that the contract would refuse"


@pytest.mark.parametrize(
    ("disputed", "seconds"),
    [(3, 10), (1, 1), (0, 1), (0, 15)],
    ids=["too late for lower", "of the same", "of a lower", "of a lower, late"],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_when_a_dispute_ends_honest_then_what_was_found_meanwhile_is_challenged_once(
    lease: Committed, make: Make, disputed: int, seconds: int, restarted: bool
) -> None:
    auditor = make(second=other(lease.records[1]))
    find_wrong_while_disputed(auditor, lease, disputed, seconds)
    assert auditor.runs == ["second"], "the window stands still: there is time for it"
    if restarted:
        auditor = make()
    lease.market.audits.clear()  # its time at the market can be over long before the dispute is
    rule(lease, fraud=False)
    auditor.tick()
    assert [event.segment for event in lease.challenges] == [disputed, 1]
    assert lease.challenges[1].challenger == parties.AUDITOR.address
    rule(lease, fraud=False)
    for again in (auditor, make()):
        again.tick()
    assert len(lease.challenges) == 2, "a challenge that was ruled on is not sent again"


@pytest.mark.parametrize("lease", [{"segments": SEGMENTS + 1}], indirect=True, ids=["goes on"])
@pytest.mark.parametrize("end", ["fraud", "timeout", "unretrievable", "paid"])
def test_when_nothing_can_come_of_it_any_more_then_what_was_found_is_dropped(
    lease: Committed, make: Make, end: str
) -> None:
    auditor = make(second=other(lease.records[1]))
    find_wrong_while_disputed(auditor, lease, 0)
    chain, terms = lease.chain, lease.terms.abi_tuple()
    if end == "timeout":
        chain.mine(seconds=lease.terms.dispute_timeout)
        chain.execute(chain.escrow.timeout_dispute(terms), lease.terms.renter)
    elif end == "unretrievable":
        lease.attest(0)
        auditor.tick()  # not challenged: the segment is no longer committed
        chain.execute(chain.escrow.close(terms), lease.terms.operator)
    else:
        rule(lease, fraud=end == "fraud")
    if end == "paid":
        chain.mine(seconds=WINDOW_S)
        auditor.tick()  # nor after the window
        chain.execute(chain.escrow.settle(terms), lease.terms.operator)
    auditor.tick()
    assert len(lease.challenges) == 1
    assert not auditor.context.sender.refused  # type: ignore[attr-defined]
    assert auditor.context.journal.all("objection") == []


def test_when_a_reorganisation_took_the_commit_back_then_it_is_not_challenged(
    lease: Committed, make: Make
) -> None:
    auditor = make(second=other(lease.records[1]))
    find_wrong_while_disputed(auditor, lease, 0)
    lease.chain.reorganise(lease.chain.head() - lease.events(CommittedEvent)[0].block_number + 1)
    lease.chain.mine()
    lease.records[1] = other(lease.records[1])
    lease.commit()
    auditor.tick()
    assert lease.challenges == []


def test_when_another_challenge_comes_first_then_the_own_one_is_sent_after_its_ruling(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = other(lease.records[1])
    auditor = make(second=mine)
    allow = auditor._allow

    def come_first(token: str, amount: int) -> None:
        lease.challenge(0)
        allow(token, amount)

    monkeypatch.setattr(auditor, "_allow", come_first)
    compare(auditor, lease, mine)
    assert auditor.context.sender.refused == ["SegmentOutOfRange"]  # type: ignore[attr-defined]
    monkeypatch.setattr(auditor, "_allow", allow)
    rule(lease, fraud=False)
    auditor.tick()
    assert [event.segment for event in lease.challenges] == [0, 1]


def test_when_one_challenge_cannot_be_paid_for_then_the_audits_go_on(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = other(lease.records[1])
    auditor = make(second=mine)

    def poor(*_: Any, **__: Any) -> bytes:
        raise InsufficientFunds(parties.AUDITOR.address, 0, 1)

    with monkeypatch.context() as patch:
        patch.setattr(auditor.context.sender, "submit", poor)
        compare(auditor, lease, mine)
        auditor.tick()
    assert parties.AUDITOR.address in lease.market.auditors, "the turn went on"
    assert (lease.row["outcome"]["result"], lease.challenges) == ("mismatch", [])
    auditor.tick()
    assert [event.segment for event in lease.challenges] == [1]


def test_when_the_market_does_not_take_the_outcome_then_it_is_sent_again_without_a_new_run(
    lease: Committed, make: Make
) -> None:
    mine = other(lease.records[1])
    auditor = make(second=mine)
    case = lease.case()
    auditor.remember(case, "first", mine)
    lease.market.away = True
    with pytest.raises(MarketUnreachable):
        auditor.step(auditor.at, case)
    lease.market.away = False
    auditor.step(auditor.at, case)
    assert (auditor.runs, len(lease.challenges)) == (["second"], 1)
    assert lease.row["outcome"]["result"] == "mismatch"


def test_when_a_dispute_is_not_half_over_then_a_lower_segment_is_pointed_at(
    lease: Committed, make: Make
) -> None:
    mine = other(lease.records[1])
    auditor = make(second=mine)
    lease.challenge(3)
    lease.chain.mine(seconds=lease.terms.dispute_timeout // 2 - 2)
    compare(auditor, lease, mine)
    assert [event.segment for event in lease.challenges] == [3, 1]


def test_when_a_segment_is_paid_or_not_committed_then_it_cannot_be_challenged(
    lease: Committed, make: Make
) -> None:
    auditor = make()
    now = lease.chain.lease(lease.lease_id)
    objection = Objection.of(lease.case(1), "")
    assert auditor._may_challenge(now, objection)
    assert not auditor._may_challenge(replace(now, paid=2), objection)
    assert not auditor._may_challenge(replace(now, pending=1), objection)
    lease.chain.mine(seconds=WINDOW_S)
    assert not auditor._may_challenge(now, objection), "the window is over"


def test_when_the_escrow_may_not_pull_the_bond_yet_then_it_is_allowed_first(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = make(second=other(lease.records[1]))
    real = lease.chain.view
    monkeypatch.setattr(
        lease.chain, "view", lambda v, **k: 0 if v.name == "TestToken.allowance" else real(v, **k)
    )
    compare(auditor, lease, other(lease.records[1]))
    kinds = [key.split(":")[0] for key in auditor.context.sender.sent]  # type: ignore[attr-defined]
    assert kinds == ["approve", "challenge"]


def test_when_a_row_is_of_the_other_kind_then_no_auditor_works_on_it(
    lease: Committed, make: Make
) -> None:
    auditor = make()
    auditor.tick()
    commit = lease.case().commit
    pool = [parties.AUDITOR.address]
    lease.market._add_audit("arbitration", lease.lease_id, 1, pool[0], commit, None)
    auditor.tick()
    taken = set(auditor._working)
    assert taken == set(), AuditKind.ARBITRATION


@pytest.mark.parametrize("over", ["paid", "closed"])
def test_when_nothing_can_be_changed_any_more_then_no_time_is_spent(
    lease: Committed, make: Make, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = make()
    lease.chain.mine(seconds=WINDOW_S)
    terms = lease.terms.abi_tuple()
    call = lease.chain.escrow.settle(terms) if over == "paid" else lease.chain.escrow.close(terms)
    lease.chain.execute(call, lease.terms.operator)
    stepped: list[str] = []
    monkeypatch.setattr(auditor, "step", lambda *_: stepped.append(AUDIT_ID))
    monkeypatch.setattr("worker_agent.examine.confirm_case", lambda *_: lease.case())
    auditor._guarded(auditor.at, lease.view())
    assert stepped == []


def test_when_two_audits_of_one_lease_start_then_their_shared_folder_is_written_by_one(
    lease: Committed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most, both_wait = 0, 0, threading.Barrier(2)

    def fetch(*_: Any) -> CaseInputs:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_wait.wait(0.2)  # passes only if the other is in here too
        inside -= 1
        raise ProviderFault("no inputs in this test")

    monkeypatch.setattr(examine, "fetch_case_inputs", fetch)
    auditor = make()
    second = "aud_01M8498KNAF9QBYEWW1M2N52KV"
    cases = [lease.case(1), lease.case(2, audit_id=second)]
    # Not the scripted inputs: those that every real auditor fetches.
    with ThreadPoolExecutor(len(cases)) as pool:
        runs = [pool.submit(Examiner.inputs, auditor, auditor.at, case) for case in cases]
        for run in runs:
            with pytest.raises((ProviderFault, SeatTaken)):
                run.result(10)
    assert most == 1
