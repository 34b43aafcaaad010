"""What a market says of an audit, held against the chain and the commit."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk import sealing
from client_sdk.protocol.bundle import pack_folder
from client_sdk.protocol.draw import Draw
from client_sdk.protocol.states import AuditKind
from contracts.bindings import LeaseStatus, LeaseView
from tests.fakes import parties
from tests.fakes.cases import SEGMENTS, STEPS, Committed, ScriptedAuditor
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import make_checkpoint
from worker_agent import examine
from worker_agent.audit import Auditor
from worker_agent.case import (
    CaseInputs,
    check_case,
    check_opening,
    checkpoint_folder,
    fetch_case_inputs,
    margin_of,
    open_to_challenge,
)
from worker_agent.checkpoints import checkpoint_hash
from worker_agent.errors import BadDraw, BadOpening, MarketRefused, NoRoom, RejectedInput
from worker_agent.exchange import AuditInputs, parse_artifacts
from worker_agent.history import read_history, recompute_draw

AUDITOR, ARBITER = parties.AUDITOR.address, parties.ARBITER.address
STRANGER = parties.account("stranger").address


@pytest.fixture
def lease() -> Committed:
    made = Committed.make()
    made.market.audit_samples = SEGMENTS
    made.chain.mine(4)  # the beacon after the commit is known
    return made


@pytest.fixture
def auditor(tmp_path: Path, lease: Committed) -> Iterator[ScriptedAuditor]:
    made = ScriptedAuditor(tmp_path / "auditor", lease, {})
    yield made
    made.close()
    made.context.journal.close()


def check(examiner: ScriptedAuditor, lease: Committed, **changes: Any) -> None:
    audit = lease.view(**changes)
    check_case(examiner.context, examiner.at, audit, 0)


def test_when_the_beacon_drew_the_audit_then_it_is_a_case(
    lease: Committed, auditor: ScriptedAuditor
) -> None:
    check(auditor, lease, pool=(AUDITOR,))


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": (STRANGER,)},
        {"pool": (AUDITOR,), "auditor": STRANGER},
        {"pool": (AUDITOR,), "segment": 0, "auditor": parties.RENTER.address},
        {"pool": None},  # the market does not say whom it drew from
    ],
)
def test_when_the_beacon_did_not_draw_it_then_it_is_refused(
    lease: Committed, auditor: ScriptedAuditor, changes: dict[str, Any]
) -> None:
    with pytest.raises(BadDraw):
        check(auditor, lease, **changes)


def test_when_parties_of_the_lease_are_in_the_pool_then_they_are_never_drawn(
    lease: Committed,
) -> None:
    terms = lease.terms
    pool = [terms.provider, terms.operator, terms.renter, AUDITOR]
    history = read_history(lease.chain, lease.lease_id, 0)
    draws = recompute_draw(lease.chain, history, history.commits[0], pool, SEGMENTS)
    assert draws == [Draw(segment, AUDITOR) for segment in range(SEGMENTS)]


def test_when_the_beacon_is_not_known_then_nobody_can_have_drawn() -> None:
    lease = Committed.make()
    history = read_history(lease.chain, lease.lease_id, 0)
    with pytest.raises(BadDraw, match="not known yet"):
        recompute_draw(lease.chain, history, history.commits[0], [AUDITOR], SEGMENTS)


@pytest.mark.parametrize("dispute", [Committed.challenge, Committed.demand])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"auditor": STRANGER}, "not the arbiter"),
        ({"segment": 1}, "nobody challenged"),
        ({"commit_root": b"\1" * 32}, "has this root"),
    ],
)
def test_when_an_arbitration_is_made_up_then_it_is_refused(
    lease: Committed,
    auditor: ScriptedAuditor,
    changes: dict[str, Any],
    reason: str,
    dispute: Callable[[Committed, int], None],
) -> None:
    dispute(lease, 2)
    told: dict[str, Any] = {"kind": AuditKind.ARBITRATION, "auditor": ARBITER, "segment": 2}
    check(auditor, lease, **told)
    with pytest.raises(RejectedInput, match=reason):
        check(auditor, lease, **{**told, **changes})


@pytest.mark.parametrize("end", ["ruled", "attested", "timed out"])
def test_when_a_dispute_has_ended_then_its_segments_are_disputed_no_more(end: str) -> None:
    lease = Committed.make()
    lease.challenge(3)
    lease.demand(1)
    assert read_history(lease.chain, lease.lease_id, 0).disputed == {1, 3}
    terms, escrow = lease.terms.abi_tuple(), lease.chain.escrow
    if end == "attested":
        lease.attest(1)
    elif end == "ruled":
        lease.chain.execute(escrow.rule(terms, False, 1), lease.terms.arbiter)
    else:
        lease.chain.mine(seconds=lease.terms.dispute_timeout)
        lease.chain.execute(escrow.timeout_dispute(terms), STRANGER)
    history = read_history(lease.chain, lease.lease_id, 0)
    assert history.disputed == set()
    assert [event.segment for event in history.challenges] == [3, 1]


@pytest.mark.parametrize(
    ("period", "margin"), [(1, 6), (20, 6), (24, 6), (40, 10), (3600, 900), (86_400, 900)]
)
def test_when_a_period_is_short_or_long_then_the_margin_stays_within_bounds(
    period: int, margin: int
) -> None:
    assert margin_of(period) == margin


@pytest.mark.parametrize(
    "change",
    [{"segment": 2}, {"up_to": 3}, {"state_hash": bytes(32)}, {"end_step": 9}, {"salt": bytes(32)}],
)
def test_when_an_opening_does_not_lead_to_the_commit_then_it_is_refused(
    lease: Committed, change: dict[str, Any]
) -> None:
    case = lease.case()
    assert check_opening(case, lease.opening(1), 1).state_hash == lease.records[1].state_hash
    with pytest.raises(BadOpening):
        check_opening(case, replace(lease.opening(1), **change), 1)
    with pytest.raises(BadOpening):
        check_opening(case, None, 1)
    with pytest.raises(BadOpening):
        check_opening(case, lease.opening(2), 1)


@pytest.mark.parametrize(
    ("status", "segment", "matters"),
    [
        (LeaseStatus.ACTIVE, 1, False),  # paid
        (LeaseStatus.ACTIVE, 2, True),
        (LeaseStatus.DISPUTED, 3, True),
        (LeaseStatus.ACTIVE, 4, False),  # not committed
        (LeaseStatus.CLOSED, 2, False),
    ],
)
def test_when_a_segment_is_paid_or_not_committed_then_an_audit_is_pointless(
    status: LeaseStatus, segment: int, matters: bool
) -> None:
    lease = LeaseView(status, 2, 4, 1, 1, 0, 0, bytes(32))
    assert open_to_challenge(lease, segment) is matters


def handed_over(
    folder: Path, numbers: list[float], handed: list[float], **job: Any
) -> tuple[ScriptedAuditor, Committed, AuditInputs]:
    """A lease whose first segment ended in some numbers, and what its worker hands over."""
    scratch = FakeMarket(FakeChain(ARBITER))
    made = parties.make_job(folder, scratch, max_segments=SEGMENTS, **job)
    job_hash = made.manifest.job_hash()
    lease = Committed.make(commit=False, job_hash=job_hash)
    lease.market.artifacts.update(scratch.artifacts)
    state = make_checkpoint(numbers, STEPS)[2]
    lease.records[0] = replace(lease.records[0], state_hash=state)
    lease.commit()
    lease.chain.mine(4)
    source = folder / "segment"
    source.mkdir()
    tensors, document, _ = make_checkpoint(handed, STEPS)
    (source / "checkpoint.safetensors").write_bytes(tensors)
    (source / "state.json").write_bytes(document)
    packed = io.BytesIO()
    pack_folder(source, packed)
    sealed = sealing.encrypt(made.key, packed.getvalue(), b"checkpoint:0")
    auditor = ScriptedAuditor(folder / "auditor", lease, {})
    inputs = AuditInputs(
        sealed_key=sealing.wrap_key(made.key, auditor.context.encryption_key.public, job_hash),
        artifacts=replace(parse_artifacts(made.artifacts), checkpoint=lease.market.put(sealed)),
        opening=lease.opening(0),
    )
    return auditor, lease, inputs


def fetch(
    auditor: ScriptedAuditor, lease: Committed, inputs: AuditInputs | None, **changes: Any
) -> CaseInputs:
    try:
        return fetch_case_inputs(auditor.context, auditor.at, lease.case(inputs=inputs, **changes))
    finally:
        auditor.close()
        auditor.context.journal.close()


def test_when_the_committed_state_is_handed_over_then_the_run_starts_from_it(
    tmp_path: Path,
) -> None:
    numbers = [1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, numbers, numbers)
    found = fetch(auditor, lease, inputs)
    assert (found.first_step, found.state_before) == (STEPS, lease.records[0].state_hash)
    assert found.checkpoint is not None


def test_when_another_market_serves_no_checkpoint_then_the_first_ones_stays_for_its_runs(
    tmp_path: Path,
) -> None:
    numbers = [1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, numbers, numbers)
    case = lease.case(inputs=inputs)
    found = fetch_case_inputs(auditor.context, auditor.at, case)
    missing = replace(inputs, artifacts=replace(inputs.artifacts, checkpoint="00" * 32))
    with pytest.raises(MarketRefused):
        fetch(auditor, lease, missing, market="http://other.test")
    assert found.checkpoint is not None
    assert checkpoint_hash(found.checkpoint) == lease.records[0].state_hash


@pytest.mark.parametrize("fault", ["state", "checkpoint", "opening", "key", "nothing"])
def test_when_something_else_is_handed_over_then_it_is_refused(tmp_path: Path, fault: str) -> None:
    handed = [2.0 if fault == "state" else 1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, [1.0] * 8, handed)
    wrong: Any = {
        "state": inputs,
        "checkpoint": replace(inputs, artifacts=replace(inputs.artifacts, checkpoint=None)),
        "opening": replace(inputs, opening=lease.opening(2)),
        "key": replace(inputs, sealed_key=bytes(80)),
        "nothing": None,
    }[fault]
    with pytest.raises(RejectedInput):
        fetch(auditor, lease, wrong)
    assert not list(auditor.context.folder("audits").rglob("checkpoint*")), "nothing fills the disk"


@pytest.mark.parametrize("allowed", [-1.0, 0.0])
def test_when_the_pair_has_its_part_of_the_disk_then_there_is_no_room_for_more(
    tmp_path: Path, allowed: float
) -> None:
    auditor, lease, inputs = handed_over(tmp_path, [1.0] * 8, [1.0] * 8)
    with pytest.raises(NoRoom):
        fetch_case_inputs(auditor.context, auditor.at, lease.case(inputs=inputs), lambda: allowed)
    auditor.close()
    auditor.context.journal.close()


def test_when_the_job_is_of_another_class_then_its_bits_are_not_compared(tmp_path: Path) -> None:
    numbers = [1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, numbers, numbers, hardware_class=b"\7" * 32)
    case = lease.case(inputs=inputs)
    with pytest.raises(RejectedInput, match="another hardware class"):
        Auditor.inputs(auditor, auditor.at, case)
    auditor.close()
    auditor.context.journal.close()


def test_when_a_case_is_forgotten_then_its_checkpoint_is_fetched_anew(tmp_path: Path) -> None:
    numbers = [1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, numbers, numbers)
    case = lease.case(inputs=inputs)
    Auditor.inputs(auditor, auditor.at, case)
    shutil.rmtree(checkpoint_folder(auditor.context, case))  # an arbiter found its segment right
    auditor.forget(case.audit.case_id)
    checkpoint = Auditor.inputs(auditor, auditor.at, case).checkpoint
    assert checkpoint is not None
    assert checkpoint_hash(checkpoint) == lease.records[0].state_hash
    auditor.close()
    auditor.context.journal.close()


def test_when_a_segment_is_run_again_then_the_program_sees_all_of_the_leases_segments(
    tmp_path: Path,
) -> None:
    # A program that saw fewer could tell an audit from the job.
    numbers = [1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, numbers, numbers)
    case = lease.case(inputs=inputs)
    found = fetch_case_inputs(auditor.context, auditor.at, case)
    replayed = auditor._replay_of(case, found, "first", False)
    assert (replayed.max_segments, replayed.start_segment, replayed.segment) == (SEGMENTS, 1, 1)
    assert (replayed.seed, replayed.resume) == (found.seed, found.checkpoint)
    auditor.close()
    auditor.context.journal.close()


def test_when_a_first_try_is_given_less_time_than_the_case_has_then_it_ends_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [1.0] * 8
    auditor, lease, inputs = handed_over(tmp_path, numbers, numbers)
    case = lease.case(inputs=inputs)
    found = fetch_case_inputs(auditor.context, auditor.at, case)
    limits: list[float] = []
    monkeypatch.setattr(examine, "replay", lambda _, request, __: limits.append(request.limit_s))
    for longest_s in (1.0, math.inf):
        Auditor.run_again(auditor, case, found, "first", longest_s=longest_s)
    assert limits == [1.0, auditor.limit_of(case, 1)]
    auditor.close()
    auditor.context.journal.close()
