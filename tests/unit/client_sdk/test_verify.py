"""A receipt and its artifacts, held against a scripted chain; each lie is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from client_sdk.chain.signing import sign
from client_sdk.checkpoints import checkpoint_hash
from client_sdk.errors import NotFound, VerificationFailed
from client_sdk.home import JobRecord
from client_sdk.protocol.canonical import ZERO_HASH, canonical_json
from client_sdk.protocol.checkpoint import STATE_NAME, STATE_SCHEMA, TENSORS_NAME
from client_sdk.protocol.messages import AuditReport
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.receipt import (
    MAX_RECEIPT_BYTES,
    AuditResult,
    ChainEvent,
    Receipt,
    ReceiptAudit,
)
from client_sdk.protocol.receipt_check import amounts_of
from client_sdk.protocol.records import SegmentRecord, StepDigests
from client_sdk.protocol.terms import chained_root
from client_sdk.protocol.trace import trace_root
from client_sdk.protocol.trace_document import TraceDocument
from client_sdk.protocol.verdicts import Verdict
from client_sdk.verify import audited_segments, load_receipt, verify
from contracts.events import CloseCause, Closed, Committed, MachineRejected, Opened, Settled
from tests.fakes import parties
from tests.support.sdk import DOMAIN, ESCROW, OPERATOR, STRANGER
from tests.unit.client_sdk.test_ordering import TERMS

LEASE_ID = TERMS.lease_id(DOMAIN)
SALTS = (b"\x21" * 32, b"\x22" * 32)
EVALUATE = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--checkpoint", type=pathlib.Path)
parser.add_argument("--data", type=pathlib.Path)
options = parser.parse_args()
assert (options.checkpoint / "checkpoint.safetensors").is_file()
print("some line before")
print(json.dumps({"accuracy": float((options.data / "digits").read_text())}))
"""


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of one tensor, as the runtime writes it."""
    folder = tmp_path / "artifacts" / "checkpoint-1"
    folder.mkdir(parents=True)
    header = canonical_json({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    (folder / TENSORS_NAME).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (folder / STATE_NAME).write_bytes(
        canonical_json({"schema": STATE_SCHEMA, "state": {"step": 4}})
    )
    return folder


@pytest.fixture
def records(checkpoint):
    digests = StepDigests(indices=b"\x31" * 32, metrics=b"\x32" * 32)
    states = (b"\x41" * 32, checkpoint_hash(checkpoint))
    return tuple(
        SegmentRecord(
            lease_id=LEASE_ID,
            segment=index,
            first_step=2 * index,
            steps=(digests, digests),
            final=index == 1,
            state_hash=state,
        )
        for index, state in enumerate(states)
    )


@pytest.fixture
def artifacts(tmp_path, records):
    document = TraceDocument(records=records, salts=SALTS)
    (tmp_path / "artifacts" / "trace.json").write_bytes(canonical_json(document.to_json()))
    return tmp_path / "artifacts"


def events_of(roots):
    """Opened, one commit of two segments, paid, closed."""
    places = iter(range(9))

    def make(kind, **values):
        number = next(places)
        place = {"block_number": number, "block_hash": b"", "log_index": 0}
        return kind(lease_id=LEASE_ID, tx_hash=bytes([number + 1]) * 32, **place, **values)

    root = trace_root(roots)
    shares = {"to_provider": 1_900, "to_treasury": 40, "to_audit_pool": 60}
    terms = TERMS.abi_tuple()
    return [
        make(Opened, renter=TERMS.renter, provider=TERMS.provider, terms=terms),
        make(Committed, up_to=2, trace_root=root, root=chained_root(ZERO_HASH, 2, root)),
        make(Settled, paid_segments=2, **shares),
        make(Closed, cause=CloseCause.PROVIDER_CLOSED, paid_segments=2, refund=28_000),
    ]


class Chain:
    domain = DOMAIN

    class deployment:
        chain_id, escrow, start_block = 31337, ESCROW, 1

    def __init__(self, events) -> None:
        self.log = events

    def check(self):
        pass

    def head(self):
        return 10

    def events(self, first, head, *, topic):
        return self.log


@pytest.fixture
def chain(records):
    return Chain(events_of([r.root(salt) for r, salt in zip(records, SALTS, strict=True)]))


@pytest.fixture
def receipt(records, chain):
    events = tuple(ChainEvent.from_chain(event) for event in chain.log)
    report = AuditReport(lease_id=LEASE_ID, segment=1, state_hash=records[1].state_hash, at=1)
    roots = tuple(record.root(salt) for record, salt in zip(records, SALTS, strict=True))
    return Receipt(
        domain=DOMAIN,
        lease_id=LEASE_ID,
        job_id="job_" + "0" * 26,
        terms=TERMS,
        signature=sign(TERMS, DOMAIN, OPERATOR),
        verdict=Verdict.COMPLETED,
        events=events,
        segment_roots=roots,
        trace_root=trace_root(roots),
        audits=(
            ReceiptAudit(
                segment=1,
                auditor=STRANGER.address,
                result=AuditResult.AGREED,
                report=report,
                signature=sign(report, DOMAIN, STRANGER),
            ),
        ),
        amounts=amounts_of(TERMS.cost, events),
        issued_at=1,
    )


@pytest.fixture
def record(tmp_path):
    """The renter's own record, with an evaluation that prints what the data file says."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "evaluate.py").write_text(EVALUATE)
    (tmp_path / "digits.txt").write_text("0.98")
    return JobRecord(
        job_id="job_" + "0" * 26,
        order_id="ord_1",
        market="http://m.test",
        name="digits",
        created_at="",
        chain_id=31337,
        escrow=ESCROW,
        job_key="",
        spec_folder=str(tmp_path),
        code="code",
        data={"digits": "digits.txt"},
        manifest={"evaluate": "evaluate.py"},
        order={},
        offer={},
    )


def check(receipt, chain, artifacts=None, record=None):
    return verify(receipt, chain, artifacts=artifacts, record=record)


def test_when_everything_is_honest_then_the_receipt_holds_and_the_accuracy_is_recomputed(
    receipt, chain, artifacts, record
):
    report = check(receipt, chain, artifacts, record)
    assert report.holds, report.findings
    assert report.metrics == {"accuracy": 0.98}
    assert report.skipped == ()
    kinds = [line.partition(":")[0] for line in report.checks]
    assert kinds == ["chain", "signature", "audits", "trace", "checkpoint", "evaluation"]
    assert json.loads(json.dumps(report.to_json()))["holds"] is True


def test_when_the_terms_are_not_the_operators_then_it_is_found(receipt, chain):
    forged = replace(receipt, signature=sign(TERMS, DOMAIN, STRANGER))
    assert "not signed by the operator" in check(forged, chain).findings[0]


def test_when_a_report_is_not_the_auditors_then_it_is_found(receipt, chain):
    audit = replace(receipt.audits[0], signature=sign(TERMS, DOMAIN, STRANGER))
    assert "not the auditor's" in check(replace(receipt, audits=(audit,)), chain).findings[0]


def rejected(by_arbiter=False, **changes):
    """A lease that ended with a failed probe: its chain, and the report."""
    document = parties.machine_document(b"\x09" * 32)
    report = ProbeReport(
        lease_id=LEASE_ID,
        machine_hash=TERMS.machine_hash,
        document=document,
        measured_class=None,
        at=1,
    )
    report = replace(report, **changes)
    opened, _, _, closed = events_of((b"\x01" * 32, b"\x02" * 32))
    closed = replace(closed, cause=CloseCause.ACCEPTANCE_FAILED, paid_segments=0, refund=TERMS.cost)
    marked = MachineRejected(
        lease_id=LEASE_ID,
        report=report.digest(),
        by_arbiter=by_arbiter,
        tx_hash=closed.tx_hash,
        block_number=closed.block_number,
        block_hash=b"",
        log_index=7,
    )
    return Chain([opened, marked, closed]), report


def rejected_receipt(receipt, chain, report):
    events = tuple(ChainEvent.from_chain(event) for event in chain.log)
    return replace(
        receipt,
        verdict=Verdict.ACCEPTANCE_FAILED,
        events=events,
        segment_roots=(),
        trace_root=None,
        audits=(),
        amounts=amounts_of(TERMS.cost, events),
        probe_report=report,
    )


@pytest.mark.parametrize(("by_arbiter", "who"), [(False, "operator"), (True, "arbiter")])
def test_when_the_machine_failed_its_probe_then_the_report_is_held_against_the_chain(
    receipt, by_arbiter, who
):
    chain, report = rejected(by_arbiter)
    found = check(rejected_receipt(receipt, chain, report), chain)
    assert found.holds, found.findings
    (line,) = [line for line in found.checks if line.startswith("probe:")]
    assert who in line


def test_when_the_node_shows_no_report_on_the_probe_then_it_is_said(receipt):
    chain, _ = rejected()
    found = check(rejected_receipt(receipt, chain, None), chain)
    assert found.holds, found.findings
    assert [line for line in found.skipped if line.startswith("probe:")]


def test_when_the_report_on_the_probe_is_another_then_it_is_found(receipt):
    chain, report = rejected()
    found = check(rejected_receipt(receipt, chain, replace(report, at=2)), chain)
    assert [line for line in found.findings if line.startswith("probe_differs")]
    assert not [line for line in found.checks if line.startswith("probe:")]


@pytest.mark.parametrize("what", ["lease", "machine", "no failure"])
def test_when_the_report_on_the_probe_shows_no_failure_of_this_machine_then_it_is_found(
    receipt, what
):
    document = parties.machine_document(b"\x09" * 32)
    changes = {
        "lease": {"lease_id": b"\x01" * 32},
        "machine": {"machine_hash": b"\x01" * 32},
        "no failure": {
            "machine_hash": document.machine_hash(),
            "measured_class": document.hardware_class,
        },
    }[what]
    chain, report = rejected(**changes)
    assert report.is_failure is (what != "no failure")
    found = check(rejected_receipt(receipt, chain, report), chain)
    assert [line for line in found.findings if line.startswith("probe_differs")]


def test_when_a_drawn_segment_was_not_reexecuted_then_it_does_not_count_as_audited(receipt, chain):
    expired = ReceiptAudit(segment=0, auditor=STRANGER.address, result=AuditResult.EXPIRED)
    drawn = replace(receipt, audits=(expired, *receipt.audits))
    assert audited_segments(drawn) == ([1], [0])
    report = check(drawn, chain)
    assert "audits: segments 1 were re-executed and agree bit for bit" in report.checks
    assert report.skipped[0].startswith("audits: segments 0 were drawn, but no auditor's report")


def test_when_the_receipt_lies_about_money_then_the_chain_contradicts(receipt, chain):
    lie = replace(receipt, amounts=replace(receipt.amounts, to_provider=1))
    assert any("to_provider" in finding for finding in check(lie, chain).findings)


def test_when_the_receipt_leaves_out_an_event_then_it_is_found(receipt, chain):
    lie = replace(receipt, events=receipt.events[:-1])
    assert not check(lie, chain).holds


def test_when_the_checkpoint_was_changed_then_it_is_found(
    receipt, chain, artifacts, checkpoint, record
):
    with (checkpoint / TENSORS_NAME).open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    report = check(receipt, chain, artifacts, record)
    assert "not the state that segment 1 ended in" in report.findings[0]
    assert report.metrics == {}


def test_when_the_checkpoint_is_none_then_it_is_found(receipt, chain, artifacts, checkpoint):
    (checkpoint / TENSORS_NAME).write_bytes(b"")
    assert any("checkpoint" in finding for finding in check(receipt, chain, artifacts).findings)


def test_when_the_trace_is_another_then_it_is_found(receipt, chain, artifacts, records):
    document = TraceDocument(records=records, salts=(SALTS[0], SALTS[0]))
    (artifacts / "trace.json").write_bytes(canonical_json(document.to_json()))
    assert any("segment 1" in finding for finding in check(receipt, chain, artifacts).findings)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}"])
def test_when_the_trace_is_malformed_then_it_is_found(receipt, chain, artifacts, content):
    (artifacts / "trace.json").write_bytes(content)
    assert check(receipt, chain, artifacts).findings[0].startswith("trace: ")


def test_when_there_are_no_artifacts_then_it_is_said_and_the_rest_is_checked(
    receipt, chain, tmp_path
):
    report = check(receipt, chain, tmp_path / "none")
    assert report.holds
    assert "gridlease artifacts" in report.skipped[0]


def test_when_the_checkpoint_was_not_committed_then_it_is_not_vouched_for(
    receipt, chain, artifacts, checkpoint
):
    checkpoint.rename(checkpoint.with_name("checkpoint-2"))
    report = check(receipt, chain, artifacts)
    assert any("not under the committed trace" in line for line in report.skipped)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit('no such layer')", "no such layer"),
        ("print('fine')", "did not print one JSON line"),
        ("print('[1]')", "not an object"),
        ("pass", "did not print"),
    ],
)
def test_when_the_evaluation_fails_then_it_is_said(
    receipt, chain, artifacts, record, tmp_path, program, words
):
    (tmp_path / "code" / "evaluate.py").write_text(program)
    with pytest.raises(VerificationFailed, match=words):
        check(receipt, chain, artifacts, record)


def test_when_the_code_is_gone_then_the_evaluation_is_skipped(
    receipt, chain, artifacts, record, tmp_path
):
    (tmp_path / "code" / "evaluate.py").unlink()
    report = check(receipt, chain, artifacts, record)
    assert report.holds
    assert "not there any more" in report.skipped[0]


def test_when_a_receipt_is_saved_then_it_is_loaded_equal(receipt, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt.to_json()))
    assert load_receipt(path) == receipt
    with pytest.raises(NotFound):
        load_receipt(tmp_path / "other.json")
    path.write_text("{")
    with pytest.raises(VerificationFailed):
        load_receipt(path)


def test_when_a_signature_is_none_then_nobody_signed(receipt, chain):
    audit = replace(receipt.audits[0], signature=b"")
    findings = check(replace(receipt, signature=b"", audits=(audit,)), chain).findings
    assert findings == (
        f"signature: the terms are not signed by the operator {OPERATOR.address}",
        "signature: the report on segment 1 is not the auditor's",
    )


def test_when_no_auditor_reported_then_no_segment_is_called_executed_again(receipt, chain):
    lost = ReceiptAudit(segment=1, auditor=STRANGER.address, result=AuditResult.EXPIRED)
    report = check(replace(receipt, audits=(lost,)), chain)
    assert report.holds
    assert [line.partition(":")[0] for line in report.checks] == ["chain", "signature"]


def test_when_a_receipt_is_checked_then_the_whole_chain_is_asked_and_is_the_right_one(
    receipt, chain
):
    asked = []
    chain.check = lambda: asked.append("the chain's id and contract")
    log = chain.log
    chain.events = lambda first, head, *, topic: asked.append((first, head, topic)) or log
    assert check(receipt, chain).holds
    assert asked == ["the chain's id and contract", (1, 10, LEASE_ID)]


def test_when_a_segment_was_recorded_but_not_committed_then_its_checkpoint_is_not_vouched_for(
    receipt, chain, artifacts, checkpoint, records
):
    late = replace(records[1], segment=2, first_step=4)
    document = TraceDocument(records=(*records, late), salts=(*SALTS, SALTS[0]))
    (artifacts / "trace.json").write_bytes(canonical_json(document.to_json()))
    checkpoint.rename(checkpoint.with_name("checkpoint-2"))
    report = check(receipt, chain, artifacts)
    assert "checkpoint: segment 2 is not under the committed trace" in report.skipped


@pytest.mark.parametrize("older", ["checkpoint-0", "checkpoint-9"])
def test_when_there_are_several_checkpoints_then_the_last_segments_counts(
    receipt, chain, artifacts, checkpoint, older
):
    # The segments' order is that of numbers: 10 comes after 9.
    newer = {"checkpoint-0": 1, "checkpoint-9": 10}[older]
    checkpoint.rename(checkpoint.with_name(f"checkpoint-{newer}"))
    (artifacts / older).mkdir()
    report = check(receipt, chain, artifacts)
    said = [line for line in (*report.checks, *report.skipped) if line.startswith("checkpoint")]
    assert [f"segment {newer}" in line for line in said] == [True]


def test_when_a_receipt_is_too_large_then_it_is_not_read(tmp_path):
    path = tmp_path / "receipt.json"
    with path.open("wb") as file:
        file.truncate(MAX_RECEIPT_BYTES + 1)
    with pytest.raises(VerificationFailed, match="too large for a receipt"):
        load_receipt(path)
