"""The trace as the renter gets it: every segment's record with its salt, sealed under the job key.

With it, a receipt says more than that money followed commits: the committed roots are opened down
to each step and each state, and every auditor's blind report is held against the state it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from client_sdk.protocol.canonical import hash_from_hex, to_hex
from client_sdk.protocol.errors import OutOfRange
from client_sdk.protocol.receipt import AuditResult, Receipt
from client_sdk.protocol.receipt_check import Finding, FindingCode
from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.trace import MAX_SEGMENTS
from client_sdk.protocol.wire import JsonObject, Reader


@dataclass(frozen=True, kw_only=True)
class TraceDocument:
    """All segments of a lease, from segment 0, opened."""

    SCHEMA: ClassVar[str] = "gridlease/trace/1"

    records: tuple[SegmentRecord, ...]
    #: Salt of each segment's leaves, in the same order.
    salts: tuple[bytes, ...]

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "records": [record.to_json() for record in self.records],
            "salts": [to_hex(salt) for salt in self.salts],
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the document that a stranger's JSON describes; not checked yet."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        document = cls(
            records=reader.items("records", SegmentRecord.from_json, max_items=MAX_SEGMENTS),
            salts=reader.items("salts", hash_from_hex, max_items=MAX_SEGMENTS),
        )
        reader.finish()
        if len(document.salts) != len(document.records):
            raise OutOfRange(reader.at("salts"), "one salt for each record is needed")
        return document


def check_trace(receipt: Receipt, document: TraceDocument) -> list[Finding]:
    """Return everything in a trace that the receipt's committed roots contradict.

    Parameters
    ----------
    receipt
        Already checked against the chain.
    document
        From the provider; may hold segments after the last committed one, which prove nothing.
    """
    return [*_check_roots(receipt, document), *_check_reports(receipt, document)]


def _check_roots(receipt: Receipt, document: TraceDocument) -> Iterator[Finding]:
    committed = len(receipt.segment_roots)
    if len(document.records) < committed:
        yield Finding(
            FindingCode.RECORDS_DIFFER,
            f"{len(document.records)} records for {committed} committed segments",
        )
        return
    steps = 0
    pairs = zip(document.records, document.salts, strict=True)
    for index, (root, (record, salt)) in enumerate(zip(receipt.segment_roots, pairs, strict=False)):
        if record.segment != index or record.lease_id != receipt.lease_id:
            yield Finding(FindingCode.RECORDS_DIFFER, f"record {index} is of another segment")
        elif record.root(salt) != root:
            yield Finding(
                FindingCode.RECORDS_DIFFER,
                f"the record of segment {index} does not lead to its committed root",
            )
        elif record.first_step != steps or (record.final and index + 1 < committed):
            yield Finding(
                FindingCode.RECORDS_DIFFER,
                f"segment {index} does not continue where the one before ended",
            )
        steps = record.end_step


def _check_reports(receipt: Receipt, document: TraceDocument) -> Iterator[Finding]:
    for audit in receipt.audits:
        if audit.report is None or audit.segment >= len(document.records):
            continue
        same = audit.report.state_hash == document.records[audit.segment].state_hash
        if same != (audit.result is AuditResult.AGREED) and audit.result in (
            AuditResult.AGREED,
            AuditResult.MISMATCH,
        ):
            yield Finding(
                FindingCode.AUDIT_DIFFERS,
                f"the audit of segment {audit.segment} is called {audit.result}, but the auditor's "
                f"state is {'the same' if same else 'another'}",
            )
