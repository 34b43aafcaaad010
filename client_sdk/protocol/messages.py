"""Signed messages between worker, market and auditor; see also :mod:`~.records`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Typed
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord, StepDigests

__all__ = [
    "AuditReport",
    "AuditorKey",
    "BoundaryOpening",
    "Progress",
    "SegmentRecord",
    "StepDigests",
]


@dataclass(frozen=True, kw_only=True)
class Progress(Typed):
    """The operator's word that the first ``segments`` segments are done, ahead of the commit."""

    EIP712_TYPE: ClassVar[str] = (
        "Progress(bytes32 leaseId,uint16 segments,bytes32 traceRoot,uint40 at)"
    )
    SCHEMA: ClassVar[str] = "gridlease/progress/1"

    lease_id: bytes
    segments: int
    #: Root over those segments; zero for a metered lease.
    trace_root: bytes
    #: Unix time.
    at: int


@dataclass(frozen=True, kw_only=True)
class AuditReport(Typed):
    """The auditor's result for one segment, given before it has seen the provider's."""

    EIP712_TYPE: ClassVar[str] = (
        "AuditReport(bytes32 leaseId,uint16 segment,bytes32 stateHash,uint40 at)"
    )
    SCHEMA: ClassVar[str] = "gridlease/audit-report/1"

    lease_id: bytes
    segment: int
    #: Hash of the state that the auditor's own execution ended in.
    state_hash: bytes
    #: Unix time.
    at: int


@dataclass(frozen=True, kw_only=True)
class AuditorKey(Typed):
    """The word of an auditor, or an arbiter, that job keys for it are wrapped to this key.

    Signed by ``auditor`` itself, so that a market that passes it on can read no job with a key of
    its own. A key that leaked is good until ``expires_at``: lifetimes are short, and renewed.
    """

    EIP712_TYPE: ClassVar[str] = (
        "AuditorKey(address auditor,bytes32 encryptionKey,bytes32 hardwareClass,"
        "uint40 issuedAt,uint40 expiresAt)"
    )
    SCHEMA: ClassVar[str] = "gridlease/auditor-key/1"

    auditor: str
    #: X25519 public key that job keys are wrapped to.
    encryption_key: bytes
    #: Class of the auditor's machine: only its bits can be compared.
    hardware_class: bytes
    #: Unix time.
    issued_at: int
    #: Unix time from which nothing is wrapped to the key any more.
    expires_at: int

    def expired(self, now: int) -> bool:
        """Tell whether the key has lapsed at Unix time ``now``."""
        return now >= self.expires_at
