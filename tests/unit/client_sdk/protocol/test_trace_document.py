"""The trace document held against a receipt."""

from __future__ import annotations

import dataclasses

import pytest

from client_sdk.protocol.canonical import canonical_json, parse_json
from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.messages import AuditReport
from client_sdk.protocol.receipt import Amounts, AuditResult, Receipt, ReceiptAudit
from client_sdk.protocol.receipt_check import FindingCode
from client_sdk.protocol.records import SegmentRecord, StepDigests
from client_sdk.protocol.trace import segment_salt
from client_sdk.protocol.trace_document import TraceDocument, check_trace
from client_sdk.protocol.verdicts import Verdict

AUDITOR = "0x" + "0b" * 20
SECRET = b"\x02" * 32


@pytest.fixture
def lease_id(make_terms, domain):
    return make_terms().lease_id(domain)


@pytest.fixture
def document(lease_id):
    steps = (StepDigests(b"\x03" * 32, b"\x04" * 32),) * 2
    records = tuple(
        SegmentRecord(
            lease_id=lease_id,
            segment=i,
            first_step=2 * i,
            steps=steps,
            final=i == 2,
            state_hash=bytes([i]) * 32,
        )
        for i in range(3)
    )
    salts = tuple(segment_salt(SECRET, lease_id, i) for i in range(3))
    return TraceDocument(records=records, salts=salts)


@pytest.fixture
def receipt(make_terms, domain, lease_id, document):
    return receipt_of(make_terms(), domain, lease_id, document)


def receipt_of(terms, domain, lease_id, document, audits=()):
    pairs = zip(document.records, document.salts, strict=True)
    return Receipt(
        domain=domain,
        lease_id=lease_id,
        job_id="job_" + "0" * 26,
        terms=terms,
        signature=b"",
        verdict=Verdict.COMPLETED,
        events=(),
        segment_roots=tuple(record.root(salt) for record, salt in pairs),
        audits=audits,
        amounts=Amounts(),
        issued_at=0,
    )


def audit(lease_id, segment, state, result):
    report = AuditReport(lease_id=lease_id, segment=segment, state_hash=state, at=5)
    return ReceiptAudit(segment=segment, auditor=AUDITOR, result=result, report=report)


def test_when_the_trace_is_honest_then_nothing_is_found(receipt, document, lease_id):
    audits = (
        audit(lease_id, 1, b"\x01" * 32, AuditResult.AGREED),
        audit(lease_id, 2, b"\x09" * 32, AuditResult.MISMATCH),
        audit(lease_id, 2, b"\x09" * 32, AuditResult.RULED_HONEST),
        audit(lease_id, 7, b"\x09" * 32, AuditResult.AGREED),
        ReceiptAudit(segment=0, auditor=AUDITOR, result=AuditResult.EXPIRED),
    )
    assert check_trace(dataclasses.replace(receipt, audits=audits), document) == []
    fewer = dataclasses.replace(receipt, segment_roots=receipt.segment_roots[:2])
    assert check_trace(fewer, document) == []


def test_when_a_document_travels_then_it_arrives_equal(document):
    assert TraceDocument.from_json(parse_json(canonical_json(document.to_json()))) == document


@pytest.mark.parametrize(
    ("index", "changes", "text"),
    [
        (1, {"state_hash": b"\x09" * 32}, "committed root"),
        (1, {"segment": 0}, "another segment"),
        (1, {"lease_id": b"\x09" * 32}, "another segment"),
        (0, {"steps": ()}, "committed root"),
    ],
)
def test_when_a_record_was_changed_then_it_is_found(receipt, document, index, changes, text):
    records = list(document.records)
    records[index] = dataclasses.replace(records[index], **changes)
    found = check_trace(receipt, dataclasses.replace(document, records=tuple(records)))
    assert found[0].code is FindingCode.RECORDS_DIFFER
    assert text in found[0].text


@pytest.mark.parametrize("changes", [{"first_step": 3}, {"final": True}])
def test_when_committed_segments_do_not_join_then_it_is_found(
    make_terms, domain, lease_id, document, changes
):
    records = list(document.records)
    records[1] = dataclasses.replace(records[1], **changes)
    broken = dataclasses.replace(document, records=tuple(records))
    found = check_trace(receipt_of(make_terms(), domain, lease_id, broken), broken)
    assert "continue" in found[0].text


def test_when_records_are_missing_then_it_is_found(receipt, document):
    short = TraceDocument(records=document.records[:2], salts=document.salts[:2])
    (finding,) = check_trace(receipt, short)
    assert finding.code is FindingCode.RECORDS_DIFFER


@pytest.mark.parametrize(
    ("state", "result"),
    [(b"\x09" * 32, AuditResult.AGREED), (b"\x01" * 32, AuditResult.MISMATCH)],
)
def test_when_an_audit_is_called_what_it_is_not_then_it_is_found(
    receipt, document, lease_id, state, result
):
    audits = (audit(lease_id, 1, state, result),)
    (finding,) = check_trace(dataclasses.replace(receipt, audits=audits), document)
    assert finding.code is FindingCode.AUDIT_DIFFERS


def test_when_salts_and_records_do_not_match_then_the_document_is_refused(document):
    for key, value in (("salts", []), ("salts", [5] * 3), ("records", [{}]), ("extra", 1)):
        with pytest.raises(MessageError):
            TraceDocument.from_json(document.to_json() | {key: value})
