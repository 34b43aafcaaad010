"""What judges of a quorum sign: rulings on disputes, checkpoints, machines and auditors.

The domain of all is the quorum's own address, not the escrow's: a judge signs for one quorum.
Source: ``IArbiterQuorum``, its views that end in ``Digest``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Typed


@dataclass(frozen=True, kw_only=True)
class Verdict(Typed):
    """A judge's verdict on all committed, unpaid segments of a disputed lease.

    It holds for one dispute: ``root`` and ``disputed_at`` are the escrow's at the time of signing.
    With a ``disputed_at`` of zero and ``fraud`` it is the verdict on a lease that has closed, for
    ``ruleLate``.
    """

    EIP712_TYPE: ClassVar[str] = (
        "Verdict(bytes32 leaseId,bytes32 root,uint40 disputedAt,bool fraud,uint16 segment)"
    )
    SCHEMA: ClassVar[str] = "gridlease/verdict/1"

    lease_id: bytes
    root: bytes
    disputed_at: int
    fraud: bool
    segment: int
    """Index of the first wrong one when fraud; else of the lowest disputed one."""


@dataclass(frozen=True, kw_only=True)
class Retrieval(Typed):
    """A judge's word that checkpoints of a lease cannot be fetched.

    It holds for one state of the commits: ``root`` and ``committed_at`` are the escrow's.
    """

    EIP712_TYPE: ClassVar[str] = (
        "Retrieval(bytes32 leaseId,bytes32 root,uint40 committedAt,uint16 goodSegments)"
    )
    SCHEMA: ClassVar[str] = "gridlease/retrieval/1"

    lease_id: bytes
    root: bytes
    committed_at: int
    good_segments: int
    """Index of the first segment whose checkpoint is missing."""


@dataclass(frozen=True, kw_only=True)
class Rejection(Typed):
    """A judge's word that a machine failed a repeat of its probe."""

    EIP712_TYPE: ClassVar[str] = "Rejection(bytes32 leaseId,bytes32 report)"
    SCHEMA: ClassVar[str] = "gridlease/rejection/1"

    lease_id: bytes
    report: bytes
    """Hash of the report on the probe."""


@dataclass(frozen=True, kw_only=True)
class AuditVerdict(Typed):
    """A judge's verdict that an auditor failed a segment it was drawn for."""

    EIP712_TYPE: ClassVar[str] = (
        "AuditVerdict(bytes32 leaseId,uint16 segment,address auditor,uint8 fault)"
    )
    SCHEMA: ClassVar[str] = "gridlease/audit-verdict/1"

    lease_id: bytes
    segment: int
    auditor: str
    fault: int
    """0 wrong report, 1 no report: ``IAuditorRegistry.AuditFault``."""
