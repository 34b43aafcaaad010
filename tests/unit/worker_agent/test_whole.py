"""A provider's daemon from order to payment, on fakes."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest

from client_sdk import sealing
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.verification import Verification
from contracts.bindings import LeaseStatus
from contracts.events import CloseCause, Closed, Committed, MachineRejected, Settled, Stopped
from tests.fakes import parties
from worker_agent.records import LeasePhase


def events_of(world: Any, kind: type, lease_id: bytes) -> list[Any]:
    found = world.chain.events(0, world.chain.head(), topic=lease_id)
    return [event for event in found if isinstance(event, kind)]


def frames_of(world: Any, job: parties.Job, lease_id: bytes) -> list[tuple[str, Any]]:
    frames = world.market.frames[lease_id.hex()]
    assert [frame["seq"] for frame in frames] == list(range(len(frames)))
    return [
        (
            frame["kind"],
            json.loads(
                sealing.decrypt(
                    job.key,
                    base64.b64decode(frame["sealed"]),
                    f"frame:{frame['attempt']}:{frame['kind']}:{frame['seq']}".encode(),
                )
            ),
        )
        for frame in frames
    ]


def test_when_a_job_runs_to_its_end_then_each_segment_is_paid_once(world: Any) -> None:
    world.sandbox.behaviour.job_steps = 15  # ends inside the fourth segment
    world.sandbox.behaviour.files = {"model/weights": b"numbers"}
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.run_until(world.closed)

    lease = world.chain.state.leases[lease_id]
    assert (lease.status, lease.paid, lease.pending) == (LeaseStatus.CLOSED, 4, 4)
    (closed,) = events_of(world, Closed, lease_id)
    assert closed.cause is CloseCause.PROVIDER_CLOSED
    price = world.provider.record.parsed_terms.price_per_segment
    assert sum(e.to_provider for e in events_of(world, Settled, lease_id)) == 4 * price
    ending = world.market.endings[lease_id.hex()]
    assert ending["verdict"] == "completed"
    assert ending["evidence"] == {"evidence": "final_commit", "segments": 4, "final": True}
    assert len(ending["segment_roots"]) == 4
    listed = {(item["kind"], item["segment"]) for item in world.market.listed[lease_id.hex()]}
    assert {("checkpoint", 3), ("trace", None), ("output", None)} <= listed
    kinds = frames_of(world, job, lease_id)
    assert ("log", {"text": "segment 0 done\n", "stream": "stdout"}) in kinds or any(
        kind == "log" and "segment 0 done" in body["text"] for kind, body in kinds
    )
    assert any(kind == "progress" and body["verified"] == 4 for kind, body in kinds)
    # Nothing of the lease stays on the worker's disk.
    assert not list((world.folder / "provider" / "leases").iterdir())


def test_when_the_job_runs_then_it_sees_no_secret_of_the_worker(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    world.start_lease(job)
    world.run_until(world.closed)
    for spec in world.sandbox.started:
        text = repr(spec) + repr(dict(spec.work_files))
        assert job.key.hex() not in text
        assert world.provider.record.salt_secret not in text
        assert bytes(parties.OPERATOR.key).hex() not in text
        assert not {"operator", "data_dir"} & set(spec.env)


def test_when_killed_and_restarted_again_and_again_then_it_goes_on_where_it_was(
    world: Any,
) -> None:
    gate = threading.Semaphore(0)
    world.sandbox.behaviour.gate = gate
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.restart()
    for done in range(1, 6):
        gate.release()
        world.run_until(
            lambda done=done: len(world.provider.leases.segments(lease_id.hex())) >= done
        )
        world.restart()
    world.run_until(world.closed)
    commits = events_of(world, Committed, lease_id)
    assert [event.up_to for event in commits] == sorted({event.up_to for event in commits})
    assert world.chain.state.leases[lease_id].paid == 5
    roots = world.market.endings[lease_id.hex()]["segment_roots"]
    assert len(set(roots)) == 5
    trains = [
        json.loads(spec.work_files["task.json"])
        for spec in world.sandbox.started
        if "task.json" in spec.work_files
    ]
    starts = [task["start_segment"] for task in trains if task["mode"] == "train"]
    assert starts[-1] == 4  # not from the beginning


def test_when_segments_are_paid_then_only_checkpoints_that_are_needed_stay(world: Any) -> None:
    world.restart(window_s=3)
    gate = threading.Semaphore(1)
    world.sandbox.behaviour.gate = gate
    lease_id = world.start_lease(parties.make_job(world.folder, world.market, max_segments=60))
    folder = world.folder / "provider" / "leases" / lease_id.hex() / "segments"
    held: list[int] = []

    def look() -> None:
        rows = world.provider.leases.segments(lease_id.hex())
        lease = world.chain.state.leases[lease_id]
        found = {int(path.name) for path in folder.glob("[0-9]*")}
        if lease.status is LeaseStatus.ACTIVE and world.provider.record.phase is LeasePhase.RUNNING:
            # Audits and disputes of every unpaid segment can be served, and the job can go on.
            assert found >= set(range(max(lease.paid - 1, 0), len(rows)))
            held.append(len(found))
        gate.release()

    world.run_until(world.closed, look)
    assert world.chain.state.leases[lease_id].paid == 60
    assert max(held) < 40  # what two windows bring, not what the whole lease brings
    listed = {(item["kind"], item["segment"]) for item in world.market.listed[lease_id.hex()]}
    assert {("checkpoint", 59), ("trace", None)} <= listed


def test_when_the_market_is_away_then_checkpoints_for_the_renter_stay(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    gate = world.sandbox.behaviour.gate = threading.Semaphore(0)
    world.run_until(lambda: world.provider.runners.busy_with(lease_id.hex()))
    world.market.away = True
    gate.release(5)
    leases = world.provider.leases
    assert leases.wait_for(lambda: len(leases.segments(lease_id.hex())) == 5, 60)
    deliverer, record = world.provider.deliverer, world.provider.record
    deliverer.committed(record, 2)  # not delivered yet
    deliverer.paid(record, 4)
    folder = world.folder / "provider" / "leases" / lease_id.hex() / "segments"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "3", "4"]


def test_when_the_renter_stops_then_the_running_segment_is_finished_and_the_rest_refunded(
    world: Any,
) -> None:
    gate = threading.Semaphore(2)
    world.sandbox.behaviour.gate = gate
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.run_until(lambda: len(world.provider.leases.segments(lease_id.hex())) == 2)
    terms = world.provider.record.parsed_terms
    world.chain.execute(world.chain.escrow.stop(terms.abi_tuple()), parties.RENTER.address)
    world.run_until(world.closed)
    (closed,) = events_of(world, Closed, lease_id)
    assert (closed.cause, closed.paid_segments) == (CloseCause.RENTER_STOPPED, 2)
    assert closed.refund == 3 * terms.price_per_segment
    assert events_of(world, Stopped, lease_id)
    assert world.market.endings[lease_id.hex()]["verdict"] == "renter_stopped"
    listed = {(item["kind"], item["segment"]) for item in world.market.listed[lease_id.hex()]}
    assert ("checkpoint", 1) in listed


def test_when_the_opening_is_reorganised_then_the_job_starts_over_with_the_new_beacon(
    world: Any,
) -> None:
    gate = threading.Semaphore(2)
    world.sandbox.behaviour.gate = gate
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.run_until(lambda: len(world.provider.leases.segments(lease_id.hex())) == 2)
    before = world.provider.record
    view = next(iter(world.market.orders.values()))
    opened = before.opened_block
    world.chain.reorganise(world.chain.head() - opened + 1)
    world.chain.mine(2)
    assert lease_id not in world.chain.state.leases
    order_id = view["order_id"]
    parties.open_lease(world.chain, world.market, order_id)  # the renter's sender does so
    for _ in range(20):
        gate.release()
    world.run_until(world.closed)
    after = world.provider.record
    assert before.beacon
    assert world.market.endings[lease_id.hex()]["verdict"] == "completed"
    assert world.chain.state.leases[lease_id].paid == 5
    assert after.beacon not in (None, before.beacon)


def test_when_a_commit_is_lost_then_it_is_sent_again_and_paid_once(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.run_until(lambda: events_of(world, Committed, lease_id))
    first = events_of(world, Committed, lease_id)[0]
    world.chain.reorganise(world.chain.head() - first.block_number + 1)
    assert not events_of(world, Committed, lease_id)
    world.run_until(world.closed)
    assert world.chain.state.leases[lease_id].paid == 5


def test_when_the_chain_is_away_for_a_while_then_the_job_goes_on(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.run_until(lambda: world.provider.record.phase is LeasePhase.RUNNING)
    world.chain.away = True
    with pytest.raises(Exception, match="no answer"):
        world.provider.loop.tick()
    assert world.provider.leases.wait_for(
        lambda: len(world.provider.leases.segments(lease_id.hex())) == 5, 20
    )
    world.chain.away = False
    world.run_until(world.closed)
    assert world.chain.state.leases[lease_id].paid == 5


def test_when_the_market_dies_after_the_opening_then_the_provider_is_still_paid(
    world: Any,
) -> None:
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.market.away = True
    world.provider.deliverer._patience_s = 0.0

    def paid() -> bool:
        return world.chain.state.leases[lease_id].paid == 5

    def turn() -> None:
        world.chain.mine()
        world.provider.context.sender.maintain()
        world.provider.loop.tick()
        world.provider.leases.wait_for(lambda: False, 0.01)

    for _ in range(400):
        turn()
        if paid():
            break
    assert paid()
    world.market.away = False
    world.run_until(world.closed)
    assert world.market.endings[lease_id.hex()]["verdict"] == "completed"


@pytest.mark.parametrize(
    ("change", "verdict", "evidence"),
    [
        ({"fail_in_segment": 2}, "job_failed", "exit_record"),
        ({"own_fault": True}, "provider_fault", "operator_statement"),
    ],
)
def test_when_the_execution_fails_then_the_verdict_says_whose_fault_it_was(
    world: Any,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    verdict: str,
    evidence: str,
) -> None:
    from worker_agent.stages import driver

    monkeypatch.setattr(driver, "_RETRY_S", 0.01)
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    for name, value in change.items():
        setattr(world.sandbox.behaviour, name, value)
    world.run_until(world.closed)
    ending = world.market.endings[lease_id.hex()]
    assert (ending["verdict"], ending["evidence"]["evidence"]) == (verdict, evidence)
    # What the code printed goes to the renter, sealed, and nowhere else.
    assert "Traceback" not in json.dumps(ending)
    paid = world.chain.state.leases[lease_id].paid
    assert paid == (2 if verdict == "job_failed" else 0)


def test_when_the_probe_was_forged_then_the_job_is_stopped_before_it_takes_much_more(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker_agent import quotes

    monkeypatch.setattr(quotes, "_SETUP_SPARE_S", 0.3)
    world.sandbox.behaviour.probe_step_s = 0.0  # a segment for one unit of money
    world.sandbox.behaviour.hang_in_segment = 2
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    assert world.provider.record.parsed_terms.price_per_segment == 1
    world.run_until(world.closed)
    ending = world.market.endings[lease_id.hex()]
    assert (ending["verdict"], ending["evidence"]["too_slow"]) == ("job_failed", True)
    assert world.chain.state.leases[lease_id].paid == 2


def test_when_the_machine_is_not_what_it_was_then_nothing_of_the_renter_runs(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    lease_id = world.start_lease(job)
    world.provider.runners._document = parties.replace(
        world.provider.document, hardware_class=b"\7" * 32
    )
    count = len(world.sandbox.started)
    world.run_until(world.closed)
    ending = world.market.endings[lease_id.hex()]
    assert ending["verdict"] == "acceptance_failed"
    # All of the money is back, and what the operator signed is there for the renter to read.
    report = ProbeReport.from_json(ending["evidence"]["report"])
    assert report.is_failure
    (rejected,) = [event for event in world.chain.log if isinstance(event, MachineRejected)]
    assert (rejected.lease_id, rejected.report) == (lease_id, report.digest())
    (closed,) = [event for event in world.chain.log if isinstance(event, Closed)]
    cost = world.provider.record.parsed_terms.cost
    assert (closed.cause, closed.refund) == (CloseCause.ACCEPTANCE_FAILED, cost)
    later = world.sandbox.started[count:]
    assert all("worker_agent.runtime.probe" in spec.argv for spec in later)


def test_when_the_machine_is_changed_in_the_middle_of_a_job_then_it_commits_nothing_more(
    world: Any,
) -> None:
    gate = world.sandbox.behaviour.gate = threading.Semaphore(2)
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: len(world.provider.leases.segments(lease_id.hex())) == 2)
    world.restart()
    world.provider.runners._document = parties.replace(
        world.provider.document, hardware_class=b"\7" * 32
    )
    for _ in range(100):
        gate.release()
    world.run_until(world.closed)
    assert world.market.endings[lease_id.hex()]["verdict"] == "provider_fault"
    assert world.chain.state.leases[lease_id].pending <= 2


def test_when_vouchers_come_then_a_metered_job_is_paid_by_them(world: Any) -> None:
    job = parties.make_job(
        world.folder, world.market, verification=Verification.METERED, max_segments=4
    )
    gate = threading.Semaphore(3)
    world.sandbox.behaviour.gate = gate
    lease_id = world.start_lease(job)

    def sign() -> None:
        segments = len(world.provider.leases.segments(lease_id.hex()))
        if segments:
            world.market.vouchers[lease_id.hex()] = voucher(world, lease_id, segments)
            gate.release()

    world.run_until(world.closed, sign)
    lease = world.chain.state.leases[lease_id]
    assert (lease.status, lease.paid) == (LeaseStatus.CLOSED, 4)
    assert world.market.endings[lease_id.hex()]["verdict"] == "completed"


def test_when_vouchers_stop_then_the_metered_job_is_stopped_and_only_signed_ones_are_claimed(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker_agent import payments, vouchers

    monkeypatch.setattr(vouchers, "PATIENCE_S", 0.0)
    monkeypatch.setattr(payments, "VOUCHER_PATIENCE_S", 0)
    job = parties.make_job(
        world.folder, world.market, verification=Verification.METERED, max_segments=9
    )
    world.sandbox.behaviour.gate = threading.Semaphore(3)
    lease_id = world.start_lease(job)
    world.market.vouchers[lease_id.hex()] = voucher(world, lease_id, 1)
    world.run_until(world.closed)
    assert world.chain.state.leases[lease_id].paid == 1
    ending = world.market.endings[lease_id.hex()]
    assert ending["verdict"] == "budget_exhausted"


def voucher(world: Any, lease_id: bytes, segments: int) -> dict[str, Any]:
    from client_sdk.chain.signing import sign
    from client_sdk.protocol.terms import Voucher

    message = Voucher(lease_id=lease_id, segments=segments)
    signature = sign(message, world.chain.domain, parties.RENTER)
    return {"voucher": message.to_json(), "signature": "0x" + signature.hex()}
