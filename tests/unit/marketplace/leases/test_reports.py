"""What operators and renters report about a lease."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.messages import Progress
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.terms import Voucher
from marketplace.clock import now
from marketplace.receipts import service as receipts
from tests.support.market import (
    OPERATOR,
    RENTER,
    STRANGER,
    Rented,
    World,
    content,
    hex32,
    machine,
    open_world,
    rent,
)


def progress(rented: Rented, segments: int, **values: Any) -> Progress:
    defaults: dict[str, Any] = {
        "lease_id": bytes.fromhex(rented.lease_id[2:]),
        "segments": segments,
        "trace_root": bytes([1]) * 32,
        "at": 1_800_000_000,
    }
    return Progress(**(defaults | values))


async def report(world: World, rented: Rented, message: Progress, signer: Any = OPERATOR) -> Any:
    body = {
        "progress": message.to_json(),
        "signature": world.signed(message, signer),
        "attempt": "att_1",
    }
    return await world.request(OPERATOR, "POST", f"/leases/{rented.lease_id}/progress", json=body)


async def send_frames(world: World, rented: Rented, numbers: range, **values: Any) -> Any:
    frames = [
        {"seq": n, "kind": "log", "sealed": base64.b64encode(b"sealed %d" % n).decode()}
        for n in numbers
    ]
    body = {"attempt": "att_1", "frames": frames} | values
    return await world.request(OPERATOR, "POST", f"/leases/{rented.lease_id}/frames", json=body)


async def test_when_progress_is_signed_then_the_job_runs_and_the_newest_is_shown(
    world: World,
) -> None:
    rented = await rent(world)
    for segments in (2, 5, 3):
        assert (await report(world, rented, progress(rented, segments))).status_code == 200
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert (job["state"], job["progress"]["segments"]) == ("running", 5)


async def test_when_progress_does_not_hold_then_it_is_refused(world: World) -> None:
    rented = await rent(world)
    for message, signer, code in (
        (progress(rented, 1), STRANGER, "signature_refused"),
        (progress(rented, 21), OPERATOR, "progress_refused"),
        (progress(rented, 1, trace_root=bytes(32)), OPERATOR, "progress_refused"),
        (progress(rented, 1, lease_id=bytes([3]) * 32), OPERATOR, "progress_refused"),
    ):
        answer = await report(world, rented, message, signer)
        assert answer.json()["error"]["code"] == code


async def test_when_frames_come_twice_then_the_stream_has_them_once_and_resumes(
    world: World,
) -> None:
    rented = await rent(world)
    assert (await send_frames(world, rented, range(4))).json() == {"accepted": 4, "next_seq": 4}
    assert (await send_frames(world, rented, range(2, 6))).json()["next_seq"] == 6
    path = f"/jobs/{rented.job_id}/logs"
    whole = await world.request(RENTER, "GET", path, params={"follow": "false"})
    events = [part.split("\n") for part in whole.text.strip().split("\n\n")]
    assert [e[0] for e in events if e[0].startswith("event")] == ["event: job", "event: end"]
    frames = [e for e in events if e[0].startswith("id: ")]
    assert [json.loads(f[2].removeprefix("data: "))["seq"] for f in frames] == list(range(6))
    last = frames[3][0].removeprefix("id: ")
    rest = await world.request(
        RENTER, "GET", path, params={"follow": "false"}, headers={"last-event-id": last}
    )
    assert rest.text.count("event: frame") == 2


async def test_when_frames_break_a_limit_then_they_are_refused(tmp_path: Path) -> None:
    limits = {"max_frame_bytes": 8, "max_frames_per_request": 2, "max_job_frames": 5}
    async with open_world(tmp_path, **limits) as world:
        rented = await rent(world)
        many = await send_frames(world, rented, range(3))
        assert (many.status_code, many.json()["error"]["code"]) == (413, "too_large")
        large = await send_frames(world, rented, range(10**6, 10**6 + 1))
        assert large.status_code == 413
        assert (await send_frames(world, rented, range(4, 5))).status_code == 200
        assert (await send_frames(world, rented, range(5, 6))).status_code == 413
        frames = [{"seq": 0, "kind": "log", "sealed": "%%%"}]
        broken = await send_frames(world, rented, range(0), frames=frames)
        assert broken.json()["error"]["code"] == "frame_refused"


async def test_when_an_ending_is_reported_then_the_first_one_stays(world: World) -> None:
    rented = await rent(world)
    path = f"/leases/{rented.lease_id}/ending"
    for verdict, evidence in (("job_failed", "exit_record"), ("completed", "final_commit")):
        body = {"verdict": verdict, "attempt": "att_1", "evidence": {"evidence": evidence}}
        answer = await world.request(OPERATOR, "POST", path, json=body)
        assert answer.json()["verdict"] == "job_failed"
    closed = world.event(
        "Closed", lease_id=rented.lease_id, cause=1, paid_segments=0, refund="2000000"
    )
    await world.apply(closed)
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert (job["state"], job["verdict"]) == ("failed", "job_failed")
    assert job["lease"]["closed"]["cause"] == "provider_closed"


@pytest.mark.parametrize("evidence", [{}, {"evidence": "silence"}, {"evidence": ["exit_record"]}])
async def test_when_the_evidence_does_not_go_with_the_verdict_then_it_is_not_the_first_one(
    world: World, evidence: dict[str, object]
) -> None:
    rented = await rent(world)
    path = f"/leases/{rented.lease_id}/ending"
    body = {"verdict": "job_failed", "attempt": "att_1", "evidence": evidence}
    refused = await world.request(OPERATOR, "POST", path, json=body)
    assert refused.json()["error"]["code"] == "ending_refused"
    assert "exit_record" in refused.json()["error"]["message"]
    body = {**body, "verdict": "provider_fault", "evidence": {"evidence": "operator_statement"}}
    answer = await world.request(OPERATOR, "POST", path, json=body)
    assert answer.json()["verdict"] == "provider_fault"


@pytest.mark.parametrize("same", [True, False])
async def test_when_the_operator_reports_a_failed_probe_then_the_receipt_has_what_the_chain_names(
    world: World, same: bool
) -> None:
    rented = await rent(world)
    probe = ProbeReport(
        lease_id=bytes.fromhex(rented.lease_id[2:]),
        machine_hash=bytes(32),
        document=machine(),
        measured_class=None,
        at=1_800_000_000,
    )
    evidence = {"evidence": "probe_digests", "report": probe.to_json(), "signature": "0x00"}
    body = {"verdict": "acceptance_failed", "attempt": "att_1", "evidence": evidence}
    answer = await world.request(OPERATOR, "POST", f"/leases/{rented.lease_id}/ending", json=body)
    assert answer.json()["verdict"] == "acceptance_failed"
    digest = "0x" + probe.digest().hex() if same else hex32(9)
    lease = {"lease_id": rented.lease_id}
    rejected = world.event("MachineRejected", **lease, report=digest, by_arbiter=not same)
    closed = world.event("Closed", **lease, cause=8, paid_segments=0, refund="2000000")
    await world.apply(rejected, closed)
    async with world.market.database.writing() as session:
        await receipts.write(session, world.market, rented.lease_id, closed.block_hash, now())
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert (job["state"], job["verdict"]) == ("failed", "acceptance_failed")
    assert job["lease"]["closed"]["cause"] == "acceptance_failed"
    receipt = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/receipt")).json()
    assert receipt["probe_report"] == (probe.to_json() if same else None)


async def test_when_the_chain_says_fraud_then_no_reported_verdict_hides_it(world: World) -> None:
    rented = await rent(world)
    evidence = {"evidence": "final_commit", "segments": 4}
    body = {"verdict": "completed", "attempt": "att_1", "evidence": evidence}
    await world.request(OPERATOR, "POST", f"/leases/{rented.lease_id}/ending", json=body)
    await world.apply(
        world.event("Closed", lease_id=rented.lease_id, cause=5, paid_segments=0, refund="1")
    )
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert (job["state"], job["verdict"]) == ("failed", "proof_rejected")


async def test_when_the_operator_hands_over_artifacts_then_the_renter_reads_them(
    world: World,
) -> None:
    rented = await rent(world)
    data = b"an encrypted checkpoint"
    item = {"kind": "checkpoint", "segment": 3, "hash": content(data), "size": len(data)}
    path = f"/leases/{rented.lease_id}/artifacts"
    early = await world.request(OPERATOR, "POST", path, json={"artifacts": [item]})
    assert early.json()["error"]["code"] == "artifact_unknown"
    await world.put(OPERATOR, data)
    wrong = item | {"size": 1}
    answer = await world.request(OPERATOR, "POST", path, json={"artifacts": [wrong]})
    assert answer.json()["error"]["code"] == "artifact_refused"
    for _ in range(2):
        answer = await world.request(OPERATOR, "POST", path, json={"artifacts": [item]})
        assert answer.status_code == 204
    found = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/artifacts")).json()
    assert found["artifacts"][-1] == item | {"name": None}
    answer = await world.request(RENTER, "GET", f"/artifacts/{content(data)}")
    assert answer.content == data
    answer = await world.request(STRANGER, "GET", f"/artifacts/{content(data)}")
    assert answer.status_code == 404


async def test_when_vouchers_come_then_only_the_renters_newest_counts(world: World) -> None:
    rented = await rent(world, window=0)
    path = f"/leases/{rented.lease_id}/vouchers"
    empty = await world.request(OPERATOR, "GET", f"{path}/latest")
    assert empty.json()["error"]["code"] == "voucher_unknown"
    for segments in (2, 4, 3):
        voucher = Voucher(lease_id=bytes.fromhex(rented.lease_id[2:]), segments=segments)
        body = {"voucher": voucher.to_json(), "signature": world.signed(voucher, RENTER)}
        assert (await world.request(RENTER, "POST", path, json=body)).status_code == 200
    newest = (await world.request(OPERATOR, "GET", f"{path}/latest")).json()
    assert newest["voucher"]["segments"] == 4
    forged = Voucher(lease_id=bytes.fromhex(rented.lease_id[2:]), segments=9)
    body = {"voucher": forged.to_json(), "signature": world.signed(forged, OPERATOR)}
    answer = await world.request(RENTER, "POST", path, json=body)
    assert answer.json()["error"]["code"] == "signature_refused"
    answer = await world.request(OPERATOR, "POST", path, json=body)
    assert answer.json()["error"]["code"] == "lease_unknown"
    beyond = Voucher(lease_id=bytes.fromhex(rented.lease_id[2:]), segments=21)
    elsewhere = Voucher(lease_id=bytes(32), segments=5)
    for voucher in (beyond, elsewhere):
        body = {"voucher": voucher.to_json(), "signature": world.signed(voucher, RENTER)}
        answer = await world.request(RENTER, "POST", path, json=body)
        assert answer.json()["error"]["code"] == "voucher_refused"


async def test_when_leases_are_listed_then_chain_facts_are_public(world: World) -> None:
    rented = await rent(world)
    found = (await world.client.get("/v1/leases", params={"state": "active"})).json()
    assert [lease["lease_id"] for lease in found["leases"]] == [rented.lease_id]
    one = (await world.client.get(f"/v1/leases/{rented.lease_id}")).json()
    assert one["terms"] == rented.terms.to_json()
    none = (await world.client.get("/v1/leases", params={"renter": STRANGER.address})).json()
    assert none["leases"] == []
    assert (await world.client.get(f"/v1/leases/{hex32(9)}")).status_code == 404
