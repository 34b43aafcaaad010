"""What is sent for a lease: journaled first, one at a time, taken back after a reorganisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.chain.errors import UnknownKey
from client_sdk.chain.journal import TxState
from client_sdk.chain.signing import sign
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.verdicts import Evidence, Verdict
from contracts.bindings import Call, LeaseView
from contracts.events import CloseCause, Closed, MachineRejected
from tests.fakes import parties
from tests.fakes.cases import SALT, Committed
from tests.fakes.chain import FakeSender
from worker_agent.journal import Journal
from worker_agent.payments import Payments
from worker_agent.records import LeasePhase, LeaseRecord, Leases, SegmentRow


class Sender:
    """Keeps what was submitted; ``dies`` is a kill while the transaction leaves the machine."""

    address = "0x1"

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.states: dict[str, TxState] = {}
        self.dies = False

    def submit(self, call: Call, key: str, *, retry: bool = False) -> bytes:
        if self.dies:
            raise KeyboardInterrupt
        self.submitted.append(key)
        self.states[key] = TxState.SENT
        return bytes(32)

    def state(self, key: str) -> TxState | None:
        return self.states.get(key)

    def cancel(self, key: str) -> None:
        if key not in self.states:
            raise UnknownKey(key)
        self.cancelled.append(key)


class Bench:
    """Payments of one lease with verified segments."""

    def __init__(self, folder: Path, **terms: Any) -> None:
        self.lease = Committed.make(commit=False, **terms)
        self.leases = Leases(Journal(folder / "journal.db"))
        self.sender = Sender()
        sender: Any = self.sender
        self.payments = Payments(self.lease.chain, sender, self.leases)
        self.leases.add(self.lease.record(phase=LeasePhase.RUNNING))

    @property
    def record(self) -> LeaseRecord:
        (found,) = self.leases.all()
        return found

    def verify(self, number: int, state: int = 0) -> None:
        """One segment is done and verified."""
        changed = replace(self.lease.records[number], state_hash=bytes([state]) * 32)
        self.leases.add_segment(
            self.record.lease_id,
            SegmentRow(
                index=number,
                end_step=changed.end_step,
                final=changed.final,
                state_hash=changed.state_hash.hex(),
                segment_root=changed.root(SALT).hex(),
                record=changed.to_json(),
            ),
        )

    def step(self, **changes: Any) -> LeaseView:
        view = replace(self.lease.chain.lease(self.lease.lease_id), **changes)
        self.payments.step(self.record, view)
        return view


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.leases.journal.close()


def test_when_killed_while_sending_then_the_intention_is_journaled(bench: Bench) -> None:
    bench.verify(0)
    bench.sender.dies = True
    with pytest.raises(KeyboardInterrupt):
        bench.step()
    (key,) = bench.record.transactions
    assert key == bench.record.transaction
    assert key.startswith(f"commit:{bench.record.lease_id}:1:")


def test_when_a_transaction_is_on_its_way_then_nothing_else_is_sent(bench: Bench) -> None:
    bench.verify(0)
    bench.step()
    bench.verify(1)
    bench.step()
    assert len(bench.sender.submitted) == 1
    bench.sender.states[bench.sender.submitted[0]] = TxState.CONFIRMED
    bench.step()
    assert len(bench.sender.submitted) == 2


def test_when_other_work_is_committed_then_it_is_another_transaction(bench: Bench) -> None:
    # After a reorganisation the same segments end elsewhere: the old key must not stand for them.
    for state in (1, 2):
        bench.verify(0, state)
        bench.step()
        bench.leases.update(bench.record.lease_id, transaction=None)
    assert len(set(bench.sender.submitted)) == 2


def test_when_an_attempt_is_void_then_everything_that_it_sent_is_taken_back(bench: Bench) -> None:
    for number in range(3):
        bench.verify(number)
        bench.step()
        bench.leases.update(bench.record.lease_id, transaction=None)
    known = [*bench.record.transactions, "never sent"]
    bench.leases.update(bench.record.lease_id, transactions=known)
    bench.payments.abandon(bench.record)
    assert bench.sender.cancelled == bench.sender.submitted
    assert len(bench.sender.cancelled) == 3
    assert bench.record.transaction is None


@pytest.mark.parametrize(("delivered", "closes"), [(False, False), (True, True)])
def test_when_the_renters_artifacts_are_not_delivered_then_the_lease_stays_open(
    bench: Bench, delivered: bool, closes: bool
) -> None:
    bench.leases.move(bench.record.lease_id, LeasePhase.ENDED, delivered=delivered)
    bench.step()
    assert bool(bench.sender.submitted) is closes


def failed_probe(lease: Committed) -> dict[str, Any]:
    """Evidence of an attempt that found another machine."""
    report = ProbeReport(
        lease_id=lease.lease_id,
        machine_hash=lease.terms.machine_hash,
        document=parties.machine_document(bytes(range(32))),
        measured_class=None,
        at=1_700_000_000,
    )
    signature = sign(report.statement, lease.chain.domain, parties.OPERATOR)
    return {
        "evidence": Evidence.PROBE_DIGESTS.value,
        "report": report.to_json(),
        "signature": to_hex(signature),
    }


def test_when_killed_between_signing_and_sending_then_the_failed_probe_is_sent_later(
    bench: Bench,
) -> None:
    evidence = failed_probe(bench.lease)
    bench.leases.move(
        bench.record.lease_id,
        LeasePhase.ENDED,
        verdict=Verdict.ACCEPTANCE_FAILED.value,
        evidence=evidence,
    )
    bench.sender.dies = True
    with pytest.raises(KeyboardInterrupt):
        bench.step()
    # The market was never told, and the artifacts never came: the refund waits for neither.
    assert (bench.record.ending_posted, bench.record.delivered) == (False, False)
    sender = FakeSender(bench.lease.chain, bench.lease.terms.operator)
    again = Payments(bench.lease.chain, sender, bench.leases)
    again.step(bench.record, bench.lease.chain.lease(bench.lease.lease_id))
    (rejected,) = bench.lease.events(MachineRejected)
    assert rejected.report == ProbeReport.from_json(evidence["report"]).digest()
    (closed,) = bench.lease.events(Closed)
    assert (closed.cause, closed.refund) == (CloseCause.ACCEPTANCE_FAILED, bench.lease.terms.cost)


@pytest.mark.parametrize(("late_s", "ends"), [(10, False), (11, True)])
def test_when_a_dispute_is_not_ruled_then_it_is_ended_only_after_its_time(
    bench: Bench, late_s: int, ends: bool
) -> None:
    bench.lease.commit()
    bench.lease.challenge(1)
    bench.lease.chain.mine(seconds=bench.lease.terms.dispute_timeout + late_s)
    bench.step()
    assert [key.split(":")[0] for key in bench.sender.submitted] == ["timeout"] * ends
