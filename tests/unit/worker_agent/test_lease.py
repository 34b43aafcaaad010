"""The lease loop by itself: what it does when the chain changes under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.verdicts import Evidence, Verdict
from contracts.events import CloseCause, Opened
from tests.fakes.cases import SEGMENTS, Committed
from tests.fakes.chain import DELAY
from worker_agent.journal import Journal
from worker_agent.lease import LeaseLoop
from worker_agent.records import LeasePhase, LeaseRecord, Leases, SegmentRow

CONFIRMATIONS = 2


class Others:
    """Payments, runners and deliveries: keeps what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **_: self.asked.append((name, *args))

    def busy_with(self, _lease_id: str) -> bool:
        return True

    def names(self) -> list[str]:
        return [call[0] for call in self.asked]


class Bench:
    """One lease of a worker, at some place of its life."""

    def __init__(self, folder: Path, **terms: Any) -> None:
        self.lease = Committed.make(commit=False, **terms)
        self.chain = self.lease.chain
        self.leases = Leases(Journal(folder / "journal.db"))
        self.others = Others()
        others: Any = self.others
        self.loop = LeaseLoop(self.chain, self.leases, others, others, others, CONFIRMATIONS)

    def at(self, phase: LeasePhase, **changes: Any) -> None:
        """Journal the lease as it is on the chain now."""
        (opened,) = self.lease.events(Opened)
        block = self.chain.block()
        assert block is not None
        known: dict[str, Any] = {
            "opened_block": opened.block_number,
            "opened_hash": opened.block_hash.hex(),
        }
        if phase in {LeasePhase.RUNNING, LeasePhase.ENDED}:
            beacon = self.chain.beacon(opened.block_number)
            assert beacon is not None
            anchor = {"anchor_block": block.number, "anchor_hash": block.hash.hex()}
            known |= {"beacon": beacon.hex(), **anchor}
        self.leases.add(self.lease.record(phase=phase, **{**known, **changes}))

    @property
    def record(self) -> LeaseRecord:
        (found,) = self.leases.all()
        return found

    def close(self, cause: CloseCause) -> None:
        """The chain says that the lease is over."""
        now = self.chain.lease(self.lease.lease_id)
        call = self.chain.escrow.close(self.lease.terms.abi_tuple())
        self.chain._close(self.lease.lease_id, now, cause, call)
        self.chain.mine()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.leases.journal.close()


def row(index: int, at: float = 0.0) -> SegmentRow:
    return SegmentRow(
        index=index,
        end_step=2 * index + 2,
        final=False,
        state_hash="00" * 32,
        segment_root="00" * 32,
        record={"segment": index, "at": at},
    )


def test_when_the_newest_block_was_replaced_by_another_then_commits_are_taken_back(
    bench: Bench,
) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING)
    bench.loop.guard()
    assert bench.others.asked == []
    bench.chain.reorganise(1)
    bench.chain.mine()  # as high as before: only the hash tells
    bench.loop.guard()
    assert bench.others.names() == ["abandon"]
    assert (bench.record.anchor_block, bench.record.anchor_hash) == (None, None)


def test_when_the_opening_is_not_confirmed_then_the_job_does_not_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.at(LeasePhase.OPENED)
    monkeypatch.setattr(bench.chain, "beacon", lambda _block: b"\1" * 32)
    for _ in range(CONFIRMATIONS):
        bench.loop.tick()
        assert (bench.record.phase, bench.others.asked) == (LeasePhase.OPENED, [])
        bench.chain.mine()
    bench.loop.tick()
    assert bench.record.phase is LeasePhase.RUNNING
    assert bench.others.names() == ["start"]


def test_when_the_beacon_changes_while_it_is_read_then_the_job_does_not_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.at(LeasePhase.OPENED)
    bench.chain.mine(2 * DELAY)
    answers = iter([b"\1" * 32, b"\2" * 32])
    monkeypatch.setattr(bench.chain, "beacon", lambda _block: next(answers))
    bench.loop.tick()
    assert (bench.record.phase, bench.others.asked) == (LeasePhase.OPENED, [])


def test_when_the_opening_moved_to_another_block_then_it_is_waited_for_again(
    bench: Bench,
) -> None:
    bench.at(LeasePhase.OPENED)
    before = bench.record.opened_hash
    bench.chain.reorganise(1)
    bench.lease.open()
    bench.chain.mine(2 * DELAY)
    bench.loop.tick()
    assert bench.record.phase is LeasePhase.SIGNED
    assert bench.others.names() == ["cancel", "abandon", "forget"]
    bench.loop.tick()
    assert bench.record.phase is LeasePhase.OPENED
    assert bench.record.opened_hash not in (None, before)


def test_when_the_beacon_is_another_one_then_all_of_the_attempt_is_thrown_away(
    bench: Bench,
) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING, beacon="07" * 32, anchor_block=None, anchor_hash=None)
    bench.leases.add_segment(bench.record.lease_id, row(0))
    bench.loop.tick()
    assert bench.others.names() == ["cancel", "abandon", "forget"]
    assert bench.record.phase is LeasePhase.OPENED
    assert bench.record.beacon is None
    assert bench.leases.segments(bench.record.lease_id) == []


def test_when_the_beacon_is_the_same_then_the_job_goes_on(bench: Bench) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING, anchor_block=None, anchor_hash=None)
    bench.leases.add_segment(bench.record.lease_id, row(0))
    bench.loop.tick()
    assert bench.record.anchor_hash is not None
    assert "cancel" not in bench.others.names()
    assert len(bench.leases.segments(bench.record.lease_id)) == 1


def test_when_the_chain_is_being_built_again_then_nothing_is_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING, anchor_block=None, anchor_hash=None)
    monkeypatch.setattr(bench.chain, "beacon", lambda _block: None)
    bench.loop.tick()
    assert bench.others.asked == []
    assert bench.record.anchor_block is None


def test_when_the_lease_runs_out_then_the_job_is_asked_to_end_in_time(bench: Bench) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING, segment_s=20.0)
    end = bench.chain.lease(bench.lease.lease_id).opened_at + bench.lease.terms.max_duration
    bench.chain.mine(seconds=end - bench.chain.now() - 40)
    bench.loop.tick()
    assert "stop" not in bench.others.names()
    bench.chain.mine(seconds=20)
    bench.loop.tick()
    stops = [call for call in bench.others.asked if call[0] == "stop"]
    assert stops == [("stop", bench.record.lease_id, Verdict.EXPIRED, 16)]


def test_when_a_second_metered_segment_is_not_signed_for_then_the_job_is_stopped(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, window=0)
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING, voucher={"segments": 1, "signature": "00"})
    for index in (0, 1):
        bench.leases.add_segment(bench.record.lease_id, row(index))
    bench.loop.tick()
    assert "stop" not in bench.others.names(), "one segment is at risk, no more"
    bench.leases.add_segment(bench.record.lease_id, row(2))
    bench.loop.tick()
    assert ("stop", bench.record.lease_id, Verdict.BUDGET_EXHAUSTED, 0) in bench.others.asked
    bench.leases.journal.close()


@pytest.mark.parametrize(
    ("deep", "delivered", "posted", "over"),
    [
        (True, True, True, True),
        (False, True, True, False),
        (True, False, True, False),
        (True, True, False, False),
    ],
)
def test_when_a_lease_is_closed_then_its_files_stay_until_all_is_delivered_and_final(
    bench: Bench, deep: bool, delivered: bool, posted: bool, over: bool
) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(
        LeasePhase.ENDED,
        verdict=Verdict.COMPLETED.value,
        evidence={"evidence": "final_commit"},
        delivered=delivered,
        ending_posted=posted,
    )
    bench.close(CloseCause.COMPLETED)
    bench.chain.mine(2 * CONFIRMATIONS - (0 if deep else 2))
    bench.loop.tick()
    assert (bench.record.phase is LeasePhase.CLOSED) is over
    assert ("remove" in bench.others.names()) is over


@pytest.mark.parametrize(
    ("cause", "verdict", "evidence"),
    [
        (CloseCause.FRAUD, Verdict.PROOF_REJECTED, Evidence.RULING),
        (CloseCause.UNRETRIEVABLE, Verdict.PROVIDER_FAULT, Evidence.ATTESTATION),
        (CloseCause.ACCEPTANCE_FAILED, Verdict.ACCEPTANCE_FAILED, Evidence.PROBE_DIGESTS),
    ],
)
def test_when_the_chain_leaves_one_verdict_then_no_earlier_ending_stands(
    bench: Bench, cause: CloseCause, verdict: Verdict, evidence: Evidence
) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(
        LeasePhase.ENDED,
        verdict=Verdict.COMPLETED.value,
        evidence={"evidence": "final_commit"},
        delivered=True,
        ending_posted=True,
    )
    bench.close(cause)
    bench.chain.mine(4 * CONFIRMATIONS)
    bench.loop.tick()
    record = bench.record
    assert (record.verdict, record.evidence) == (verdict, {"evidence": evidence.value})
    assert record.ending_posted is False, "the market is told the other verdict"
    assert record.phase is LeasePhase.ENDED


@pytest.mark.parametrize("phase", [LeasePhase.RUNNING, LeasePhase.ENDED])
def test_when_checkpoints_could_not_be_fetched_then_the_job_does_not_go_on(
    bench: Bench, phase: LeasePhase
) -> None:
    bench.chain.mine(2 * DELAY)
    ending = {} if phase is LeasePhase.RUNNING else {"verdict": Verdict.COMPLETED.value}
    bench.at(phase, **ending)
    bench.lease.commit()
    bench.lease.demand(1)
    bench.lease.attest(1)
    bench.loop.tick()
    record = bench.record
    assert (record.phase, record.verdict) == (LeasePhase.ENDED, Verdict.PROVIDER_FAULT)
    assert record.evidence == {"evidence": Evidence.ATTESTATION.value}
    assert ("cancel", record.lease_id, "not retrievable") in bench.others.asked
    assert "start" not in bench.others.names()


@pytest.mark.parametrize(
    ("cause", "verdict", "evidence"),
    [
        (CloseCause.EXPIRED, Verdict.EXPIRED, Evidence.DEADLINE),
        (CloseCause.UNRETRIEVABLE, Verdict.PROVIDER_FAULT, Evidence.ATTESTATION),
        (CloseCause.ACCEPTANCE_FAILED, Verdict.ACCEPTANCE_FAILED, Evidence.PROBE_DIGESTS),
    ],
)
def test_when_others_close_a_running_lease_then_the_job_ends_with_their_reason(
    bench: Bench, cause: CloseCause, verdict: Verdict, evidence: Evidence
) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING)
    bench.close(cause)
    bench.loop.tick()
    assert ("cancel", bench.record.lease_id, "closed") in bench.others.asked
    assert (bench.record.phase, bench.record.verdict) == (LeasePhase.ENDED, verdict)
    assert bench.record.evidence == {"evidence": evidence.value}


def test_when_a_commit_is_on_the_chain_then_its_checkpoint_is_wanted(bench: Bench) -> None:
    bench.chain.mine(2 * DELAY)
    bench.at(LeasePhase.RUNNING)
    bench.lease.commit()
    bench.loop.tick()
    committed = [call for call in bench.others.asked if call[0] == "committed"]
    assert [call[2] for call in committed] == [SEGMENTS]
