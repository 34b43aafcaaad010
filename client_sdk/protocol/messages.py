"""Signed messages between worker, market and auditor; see also :mod:`~.records`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Typed
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord, StepDigests

__all__ = ["AuditReport", "BoundaryOpening", "Progress", "SegmentRecord", "StepDigests"]


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
