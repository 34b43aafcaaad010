"""What an arbiter makes of its runs: when it rules fraud, when honest, and when not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from client_sdk.protocol.states import AuditKind, AuditState
from tests.fakes import parties
from tests.fakes.cases import Committed, Run, ScriptedArbiter
from worker_agent.arbiter import judge
from worker_agent.case import Case
from worker_agent.errors import JobFailed, ProviderFault
from worker_agent.replay import CheckpointUnusable

SEGMENT = 2
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
        ("job", 1, None, False),  # one run alone proves nothing
        (1, "job", None, False),
        ("job", "job", None, False),
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


def test_when_there_is_no_ruling_then_nothing_is_sent(lease: Committed, make: Make) -> None:
    arbiter = make(resumed=ProviderFault("no memory"), whole=ProviderFault("no memory"))
    arbiter.step(arbiter.at, case_of(lease))
    assert (lease.rulings, lease.row["outcome"]) == ([], None)


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


def test_when_there_is_no_dispute_any_more_then_nothing_runs(lease: Committed, make: Make) -> None:
    arbiter = make()
    case = case_of(lease, AuditState.INPUTS_READY)
    lease.chain.mine(seconds=20)
    call = lease.chain.escrow.timeout_dispute(lease.terms.abi_tuple())
    lease.chain.execute(call, lease.terms.provider)
    arbiter.step(arbiter.at, case)
    assert arbiter.runs == []
