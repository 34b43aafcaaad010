"""What the provider's daemon remembers of each lease, and the moves between its phases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final

from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verdicts import Verdict
from worker_agent.journal import Journal

_KIND: Final = "lease"
_SEGMENT: Final = "segment"


class LeasePhase(StrEnum):
    """Where a lease stands, for the worker."""

    SIGNED = "signed"  # terms are signed; nobody has opened them yet
    OPENED = "opened"  # the chain shows the lease; waiting for confirmations and the beacon
    RUNNING = "running"  # an attempt is, or after a restart will be, executing the job
    ENDED = "ended"  # no more execution; commits, payment, audits and uploads go on
    CLOSED = "closed"  # the chain says that it is over, and everything was delivered
    DROPPED = "dropped"  # never opened within the time of its terms


MOVES: Final[dict[LeasePhase, frozenset[LeasePhase]]] = {
    LeasePhase.SIGNED: frozenset({LeasePhase.OPENED, LeasePhase.DROPPED}),
    # Back to SIGNED: a reorganisation removed the opening.
    LeasePhase.OPENED: frozenset({LeasePhase.SIGNED, LeasePhase.RUNNING, LeasePhase.ENDED}),
    LeasePhase.RUNNING: frozenset({LeasePhase.SIGNED, LeasePhase.OPENED, LeasePhase.ENDED}),
    LeasePhase.ENDED: frozenset({LeasePhase.SIGNED, LeasePhase.OPENED, LeasePhase.CLOSED}),
    LeasePhase.CLOSED: frozenset(),
    # An opening just before the terms ran out may become visible late.
    LeasePhase.DROPPED: frozenset({LeasePhase.OPENED}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseRecord:
    """One lease, as the journal holds it. Hashes and keys are hexadecimal without ``0x``."""

    lease_id: str
    """EIP-712 digest of the terms."""
    market: str
    """Base URL of the market that the order came through."""
    order_id: str
    job_id: str
    terms: dict[str, Any]
    """The signed terms, as their JSON."""
    signature: str
    """The operator's signature on the terms."""
    job_key: str
    """Key of the job's artifacts; secret."""
    artifacts: dict[str, Any]
    """Addresses of the encrypted inputs: ``manifest``, ``bundle``, ``data``, ``extra``."""
    audit: dict[str, Any] = field(default_factory=dict)
    """Who may audit, as the order says."""
    salt_secret: str
    """Secret from which the salts of the boundary leaves come."""
    segment_s: float
    """Measured duration of one segment, in seconds."""
    step_s: float
    """Measured duration of one step, in seconds; zero when metered."""
    probe_s: float = 0.0
    """Duration of the whole probe by this worker's clock, in seconds."""
    state_bytes: int
    """Measured size of a checkpoint's tensors."""
    signed_block: int
    """Newest block when the terms were signed: the opening lies after it."""
    phase: LeasePhase = LeasePhase.SIGNED
    opened_block: int | None = None
    opened_hash: str | None = None
    opened_at: int | None = None
    """Block time of the opening."""
    beacon: str | None = None
    """Beacon after the opening; with the lease id it fixes the job's seed."""
    anchor_block: int | None = None
    anchor_hash: str | None = None
    """Newest block when the beacon was read: while it is on the chain, so is the beacon."""
    attempt: str | None = None
    """Id of the present attempt."""
    accepted: bool = False
    """Whether the acceptance probe passed in the present attempt."""
    verdict: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    ending_posted: bool = False
    delivered: bool = False
    """Whether the final artifacts are with the market, or were given up."""
    transaction: str | None = None
    """Key of the newest transaction, while it is not confirmed."""
    transactions: list[str] = field(default_factory=list)
    """Keys of all transactions of the present attempt."""
    voucher: dict[str, Any] | None = None
    """Newest voucher of a metered lease: ``segments`` and ``signature``."""
    ended_at: int | None = None
    """Unix time when the execution had ended."""

    @property
    def digest(self) -> bytes:
        """Lease id as bytes."""
        return bytes.fromhex(self.lease_id)

    @property
    def parsed_terms(self) -> Terms:
        """Terms as their protocol object."""
        return Terms.from_json(self.terms)

    @property
    def failed_probe(self) -> tuple[bytes, bytes] | None:
        """Hash of the report on a probe that this machine failed, and the signature of it."""
        if self.verdict != Verdict.ACCEPTANCE_FAILED or "signature" not in self.evidence:
            return None
        report = ProbeReport.from_json(self.evidence["report"])
        return report.digest(), bytes.fromhex(self.evidence["signature"][2:])

    def to_json(self) -> dict[str, Any]:
        """JSON form for the journal."""
        return {"schema": "gridlease/worker-lease/1", **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LeaseRecord:
        """Read the JSON form."""
        names = {item.name for item in fields(cls)}
        known = {name: item for name, item in value.items() if name in names}
        return cls(**{**known, "phase": LeasePhase(value["phase"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentRow:
    """One verified segment of a lease."""

    index: int
    end_step: int
    final: bool
    """Whether the job ends with this segment."""
    state_hash: str
    segment_root: str
    record: dict[str, Any]
    """The runtime's record, from which leaves and proofs are rebuilt."""


class Leases:
    """Lease records in the journal; every change is one transaction."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._changed = threading.Condition()

    def add(self, record: LeaseRecord) -> None:
        """Journal a new lease, before its terms leave the machine."""
        with self.journal.transaction():
            self.journal.put(_KIND, record.lease_id, record.to_json())
            self.journal.note(_KIND, record.lease_id, record.phase)

    def get(self, lease_id: str) -> LeaseRecord | None:
        """Record of one lease."""
        value = self.journal.get(_KIND, lease_id)
        return None if value is None else LeaseRecord.from_json(value)

    def all(self) -> list[LeaseRecord]:
        """Every record."""
        return [LeaseRecord.from_json(value) for value in self.journal.all(_KIND)]

    def active(self) -> list[LeaseRecord]:
        """Records of leases that still need something."""
        over = {LeasePhase.CLOSED, LeasePhase.DROPPED}
        return [record for record in self.all() if record.phase not in over]

    def update(self, lease_id: str, **changes: Any) -> LeaseRecord:
        """Change fields other than the phase."""
        assert "phase" not in changes
        return self._write(lease_id, lambda record: replace(record, **changes))

    def move(self, lease_id: str, phase: LeasePhase, **changes: Any) -> LeaseRecord:
        """Move a lease to another phase, with changes that belong to the move.

        Raises
        ------
        AssertionError
            There is no such move: a bug of this worker.
        """

        def moved(record: LeaseRecord) -> LeaseRecord:
            assert phase in MOVES[record.phase], f"{record.phase} -> {phase}"
            self.journal.note(_KIND, lease_id, f"{record.phase} -> {phase}")
            return replace(record, phase=phase, **changes)

        return self._write(lease_id, moved)

    def segments(self, lease_id: str) -> list[SegmentRow]:
        """Verified segments of a lease, in order."""
        return [SegmentRow(**value) for value in self.journal.all(_SEGMENT, f"{lease_id}:")]

    def add_segment(self, lease_id: str, row: SegmentRow) -> None:
        """Journal a verified segment whose checkpoint is stored."""
        value = {name: getattr(row, name) for name in SegmentRow.__slots__}
        self.journal.put(_SEGMENT, f"{lease_id}:{row.index:06d}", value)
        self.notify()

    def forget_segments(self, lease_id: str) -> None:
        """Drop the segments of an attempt whose beacon a reorganisation has replaced."""
        with self.journal.transaction():
            self.journal.remove(_SEGMENT, f"{lease_id}:")
            self.journal.note(_KIND, lease_id, "segments dropped")

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition`` holds; looks again at every change."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def _write(self, lease_id: str, change: Callable[[LeaseRecord], LeaseRecord]) -> LeaseRecord:
        with self.journal.transaction():
            record = self.get(lease_id)
            assert record is not None, f"unknown lease {lease_id}"
            record = change(record)
            self.journal.put(_KIND, lease_id, record.to_json())
        self.notify()
        return record
