"""The receipt of a lease: what was agreed, done, found and paid, for anyone to check.

A receipt says nothing that has to be believed: terms are signed and hash to the lease id, events
name their transactions, segment roots lead to the committed trace root, artifacts are named by
their hashes. :func:`~client_sdk.protocol.receipt_check.check_receipt` compares it with the chain.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, ClassVar, Final, Self, TypeVar

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.canonical import hash_from_hex, to_hex
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.errors import OutOfRange, WrongType
from client_sdk.protocol.messages import AuditReport
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.trace import MAX_SEGMENTS
from client_sdk.protocol.verdicts import Verdict
from client_sdk.protocol.wire import MAX_TEXT, JsonObject, Reader, check_text

#: Largest receipt in bytes of JSON.
MAX_RECEIPT_BYTES: Final = 32 << 20
_SIGNATURE: Final = re.compile(r"0x(?:[0-9a-f]{2}){0,2048}")
_ADDRESS_HASH: Final = re.compile(r"[0-9a-f]{64}")
_EVENT: Final = re.compile(r"[A-Z][A-Za-z]{0,63}")
_WHERE: Final = frozenset({"block_number", "block_hash", "tx_hash", "log_index"})

E = TypeVar("E", bound=StrEnum)
Scalar = str | bool


class ArtifactKind(StrEnum):
    """What a stored artifact is."""

    #: The encrypted job manifest.
    MANIFEST = "manifest"
    #: The encrypted code.
    BUNDLE = "bundle"
    #: An encrypted data set.
    DATA = "data"
    #: The encrypted state at the end of a segment.
    CHECKPOINT = "checkpoint"
    #: The encrypted outputs.
    OUTPUT = "output"
    #: The encrypted segment records.
    TRACE = "trace"


class AuditResult(StrEnum):
    """How an audit ended."""

    #: Both executions ended in the same state.
    AGREED = "agreed"
    #: They did not.
    MISMATCH = "mismatch"
    #: It was not finished in time.
    EXPIRED = "expired"
    #: The arbiter ruled that the segment is wrong.
    RULED_FRAUD = "ruled_fraud"
    #: The arbiter ruled that the segment is right.
    RULED_HONEST = "ruled_honest"
    #: The arbiter attested that the segment's data cannot be fetched.
    UNRETRIEVABLE = "unretrievable"


@dataclass(frozen=True, kw_only=True)
class ChainEvent:
    """One event of the escrow, in a form that everybody who reads the chain arrives at.

    ``fields`` holds the event's own fields in snake case: hashes as 0x-hexadecimal text, integers
    (enumerations too) as decimal text, addresses EIP-55, booleans as they are. The terms of
    ``Opened`` are left out: the receipt holds them.
    """

    name: str
    block_number: int
    tx_hash: bytes
    log_index: int
    fields: Mapping[str, Scalar]

    @classmethod
    def from_chain(cls, event: Any) -> Self:
        """Return the form of a decoded event: a dataclass of ``contracts.events``."""
        fields = {
            item.name: _scalar(getattr(event, item.name))
            for item in dataclasses.fields(event)
            if item.name not in _WHERE and not isinstance(getattr(event, item.name), tuple)
        }
        return cls(
            name=type(event).__name__,
            block_number=event.block_number,
            tx_hash=bytes(event.tx_hash),
            log_index=event.log_index,
            fields=fields,
        )

    def integer(self, key: str) -> int:
        """Return an integer field; 0 when the event does not have it."""
        value = self.fields.get(key, "0")
        return int(value) if isinstance(value, str) and value.isdecimal() else 0

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "name": self.name,
            "block_number": self.block_number,
            "tx_hash": to_hex(self.tx_hash),
            "log_index": self.log_index,
            "fields": dict(self.fields),
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the event that a stranger's JSON describes."""
        reader = Reader(value, path)
        event = cls(
            name=reader.text("name", max_length=64, pattern=_EVENT),
            block_number=reader.integer("block_number"),
            tx_hash=reader.digest("tx_hash"),
            log_index=reader.integer("log_index"),
            fields=reader.mapping("fields", _read_scalar, max_items=32),
        )
        reader.finish()
        return event


@dataclass(frozen=True, kw_only=True)
class ReceiptAudit:
    """One audit of the lease."""

    segment: int
    #: Who re-executed it; EIP-55.
    auditor: str
    result: AuditResult
    #: The auditor's blind report, when there is one.
    report: AuditReport | None = None
    #: The auditor's signature of the report; empty without one.
    signature: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "auditor", checksum_address(self.auditor))

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "segment": self.segment,
            "auditor": self.auditor,
            "result": self.result.value,
            "report": None if self.report is None else self.report.to_json(),
            "signature": to_hex(self.signature),
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the audit that a stranger's JSON describes."""
        reader = Reader(value, path)
        report = None
        if reader.has("report"):
            report = AuditReport.from_json(reader.raw("report"), reader.at("report"))
        audit = cls(
            segment=reader.integer("segment", high=MAX_SEGMENTS - 1),
            auditor=checksum_address(reader.raw("auditor"), reader.at("auditor")),
            result=_member(reader, "result", AuditResult),
            report=report,
            signature=_signature(reader, "signature"),
        )
        reader.finish()
        return audit


@dataclass(frozen=True, kw_only=True)
class ReceiptArtifact:
    """One stored artifact, named by the hash of its ciphertext."""

    kind: ArtifactKind
    #: BLAKE3 of the ciphertext: 64 hexadecimal digits, as stores name it.
    hash: str
    #: Bytes of the ciphertext.
    size: int
    #: Segment of a checkpoint.
    segment: int | None = None
    #: Name of a data set.
    name: str | None = None

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "kind": self.kind.value,
            "hash": self.hash,
            "size": self.size,
            "segment": self.segment,
            "name": self.name,
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the artifact that a stranger's JSON describes."""
        reader = Reader(value, path)
        artifact = cls(
            kind=_member(reader, "kind", ArtifactKind),
            hash=reader.text("hash", max_length=64, pattern=_ADDRESS_HASH),
            size=reader.integer("size"),
            segment=reader.integer("segment") if reader.has("segment") else None,
            name=reader.text("name", max_length=64) if reader.has("name") else None,
        )
        reader.finish()
        return artifact


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """Where the money of a lease went, in the smallest unit of its token."""

    #: What the renter put in escrow.
    funded: int = 0
    to_provider: int = 0
    to_treasury: int = 0
    to_audit_pool: int = 0
    #: What of the escrow went back to the renter.
    refunded: int = 0
    #: What of the provider's bond went to the renter.
    slashed_to_renter: int = 0
    #: What of the provider's bond went to the challenger.
    slashed_to_challenger: int = 0

    @property
    def paid(self) -> int:
        """What the renter paid for segments, shares included."""
        return self.to_provider + self.to_treasury + self.to_audit_pool

    @property
    def slashed(self) -> int:
        """What the provider lost of its bond."""
        return self.slashed_to_renter + self.slashed_to_challenger

    def to_json(self) -> JsonObject:
        """Return the JSON form: decimal text."""
        return {item.name: str(getattr(self, item.name)) for item in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the amounts that a stranger's JSON describes."""
        reader = Reader(value, path)
        amounts = cls(
            **{item.name: reader.amount(item.name, bits=128) for item in dataclasses.fields(cls)}
        )
        reader.finish()
        return amounts


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """All of a closed lease."""

    SCHEMA: ClassVar[str] = "gridlease/receipt/1"

    #: Chain and contract of the lease.
    domain: Domain
    lease_id: bytes
    job_id: str
    terms: Terms
    #: The operator's signature of the terms.
    signature: bytes
    verdict: Verdict
    #: Every event of the lease, in chain order.
    events: tuple[ChainEvent, ...]
    #: Roots of all committed segments, in order; empty when metered.
    segment_roots: tuple[bytes, ...] = ()
    #: The root of the last commit; ``None`` without a commit.
    trace_root: bytes | None = None
    audits: tuple[ReceiptAudit, ...] = ()
    artifacts: tuple[ReceiptArtifact, ...] = ()
    #: What the machine failed its probe with; only where that ended the lease.
    probe_report: ProbeReport | None = None
    amounts: Amounts
    #: Unix time.
    issued_at: int

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "chain_id": self.domain.chain_id,
            "escrow": self.domain.verifying_contract,
            "lease_id": to_hex(self.lease_id),
            "job_id": self.job_id,
            "terms": self.terms.to_json(),
            "signature": to_hex(self.signature),
            "verdict": self.verdict.value,
            "events": [event.to_json() for event in self.events],
            "segment_roots": [to_hex(root) for root in self.segment_roots],
            "trace_root": None if self.trace_root is None else to_hex(self.trace_root),
            "audits": [audit.to_json() for audit in self.audits],
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "probe_report": None if self.probe_report is None else self.probe_report.to_json(),
            "amounts": self.amounts.to_json(),
            "issued_at": self.issued_at,
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the receipt that a stranger's JSON describes; not checked yet."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        probe_report = None
        if reader.has("probe_report"):
            probe_report = ProbeReport.from_json(
                reader.raw("probe_report"), reader.at("probe_report")
            )
        receipt = cls(
            domain=Domain(
                reader.integer("chain_id"),
                checksum_address(reader.raw("escrow"), reader.at("escrow")),
            ),
            lease_id=reader.digest("lease_id"),
            job_id=reader.text("job_id", max_length=64),
            terms=Terms.from_json(reader.raw("terms"), reader.at("terms")),
            signature=_signature(reader, "signature"),
            verdict=_member(reader, "verdict", Verdict),
            events=reader.items("events", ChainEvent.from_json, max_items=1 << 17),
            segment_roots=reader.items("segment_roots", hash_from_hex, max_items=MAX_SEGMENTS),
            trace_root=reader.digest("trace_root") if reader.has("trace_root") else None,
            audits=reader.items("audits", ReceiptAudit.from_json, max_items=1 << 16),
            artifacts=reader.items("artifacts", ReceiptArtifact.from_json, max_items=1 << 17),
            probe_report=probe_report,
            amounts=Amounts.from_json(reader.raw("amounts"), reader.at("amounts")),
            issued_at=reader.integer("issued_at"),
        )
        reader.finish()
        return receipt


def _scalar(value: object) -> Scalar:
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, int):
        return str(value)
    assert isinstance(value, str), type(value)
    return value


def _read_scalar(value: object, path: str) -> Scalar:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise WrongType(path, "expected text or a boolean")
    return check_text(value, path, MAX_TEXT)


def _signature(reader: Reader, key: str) -> bytes:
    return bytes.fromhex(reader.text(key, pattern=_SIGNATURE, max_length=4098)[2:])


def _member(reader: Reader, key: str, kind: type[E]) -> E:
    text = reader.text(key, max_length=32)
    if text not in {member.value for member in kind}:
        raise OutOfRange(reader.at(key), f"expected one of {', '.join(kind)}")
    return kind(text)
