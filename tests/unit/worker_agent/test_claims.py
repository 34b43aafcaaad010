"""A market that shows first one thing, then another one, under the same audit id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.states import AuditKind, AuditState
from tests.fakes import parties
from tests.fakes.cases import Committed, ScriptedArbiter, ScriptedAuditor, make_terms
from worker_agent.audit import Auditor
from worker_agent.case import Case

SEGMENT = 2
OTHER_URL = "http://other.test"


def beside(lease: Committed, first_state: int) -> Committed:
    """Another lease, at the same market, with a commit to states of its own."""
    terms = make_terms(nonce=2)
    made = Committed(lease.chain, lease.market, terms, terms.lease_id(lease.chain.domain))
    made.records = states(made, lease, first_state)
    made.open()
    made.commit()
    return made


def states(of: Committed, like: Committed, first_state: int) -> list[SegmentRecord]:
    return [
        replace(record, lease_id=of.lease_id, state_hash=bytes([first_state + number]) * 32)
        for number, record in enumerate(like.records)
    ]


@pytest.fixture
def own() -> Committed:
    """The lease of whoever runs the market."""
    made = Committed.make()
    made.challenge(SEGMENT)
    return made


@pytest.fixture
def arbiter(tmp_path: Path, own: Committed) -> Iterator[ScriptedArbiter]:
    made = ScriptedArbiter(tmp_path / "arbiter", own, {})
    yield made
    made.close()
    made.context.journal.close()


def runs_of(arbiter: Any, true: dict[bytes, list[SegmentRecord]]) -> None:
    """Let each lease's runs end as its job does, whatever was committed."""

    def run(case: Case, *_: Any, **__: Any) -> SegmentRecord:
        return true[case.audit.lease_id][case.audit.segment]

    arbiter.run_again = run
    arbiter.run_whole = lambda case, *_: (run(case), None)


def judge_under_one_id(arbiter: ScriptedArbiter, *leases: Committed) -> None:
    """Show the same audit id for the one lease until its runs are over, and then for the other."""
    kind, auditor = AuditKind.ARBITRATION, parties.ARBITER.address
    for lease, state in zip(leases, (AuditState.INPUTS_READY, AuditState.OPENED), strict=True):
        arbiter.step(arbiter.at, lease.case(SEGMENT, kind=kind, auditor=auditor, state=state))


@pytest.mark.parametrize(
    ("committed", "true", "fraud"),
    [
        pytest.param(200, 200, False, id="honest"),
        pytest.param(100, 200, True, id="states of the other lease"),
    ],
)
def test_when_another_leases_runs_had_the_same_id_then_an_arbiter_rules_by_this_ones_own(
    own: Committed, arbiter: ScriptedArbiter, committed: int, true: int, fraud: bool
) -> None:
    lease = beside(own, committed)
    lease.challenge(SEGMENT)
    runs_of(arbiter, {own.lease_id: own.records, lease.lease_id: states(lease, own, true)})
    judge_under_one_id(arbiter, own, lease)
    assert [(ruled.lease_id, ruled.fraud) for ruled in lease.rulings] == [(lease.lease_id, fraud)]


@pytest.mark.parametrize("restarted", [False, True])
def test_when_another_leases_result_had_the_same_id_then_an_auditor_challenges_nobody_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Committed, restarted: bool
) -> None:
    lease = beside(own, 200)
    monkeypatch.setattr(Auditor, "_time_for_second", lambda *_: False)
    true = {own.lease_id: own.records, lease.lease_id: lease.records}
    before = len(own.challenges)

    def start() -> ScriptedAuditor:
        made = ScriptedAuditor(tmp_path / "auditor", own, {})
        runs_of(made, true)
        return made

    auditor = start()
    auditor.step(auditor.at, own.case(SEGMENT, state=AuditState.INPUTS_READY))
    if restarted:
        auditor.close()
        auditor.context.journal.close()
        auditor = start()
    for _ in range(2):  # its own result is computed first, and compared then
        auditor.step(auditor.at, lease.case(SEGMENT))
    auditor.close()
    auditor.context.journal.close()
    assert len(own.challenges) == before
    assert lease.row["outcome"]["result"] == "agreed"


def test_when_any_part_of_a_claim_is_another_then_it_is_another_case(own: Committed) -> None:
    audit = own.view()
    others = [
        replace(audit, market=OTHER_URL),
        replace(audit, audit_id=audit.audit_id[:-1] + "V"),
        replace(audit, kind=AuditKind.ARBITRATION),
        replace(audit, lease_id=bytes(32)),
        replace(audit, segment=audit.segment + 1),
        replace(audit, commit_root=bytes(32)),
    ]
    assert len({other.case_id for other in [audit, *others]}) == len(others) + 1


def test_when_a_row_moves_on_then_it_is_the_same_case(own: Committed) -> None:
    audit = own.view(state=AuditState.ASSIGNED, reported=False, opening=None)
    assert own.view(pool=(parties.AUDITOR.address,)).case_id == audit.case_id
