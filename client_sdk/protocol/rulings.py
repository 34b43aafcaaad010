"""What judges of a quorum sign: rulings on disputes and on auditors.

The domain of both is the quorum's own address, not the escrow's: a judge signs for one quorum.
Source: ``IArbiterQuorum.verdictDigest`` and ``auditVerdictDigest``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Typed


@dataclass(frozen=True, kw_only=True)
class Verdict(Typed):
    """A judge's verdict on all committed, unpaid segments of a disputed lease.

    It holds for one dispute: ``root`` and ``disputed_at`` are the escrow's at the time of signing.
    """

    EIP712_TYPE: ClassVar[str] = (
        "Verdict(bytes32 leaseId,bytes32 root,uint40 disputedAt,bool fraud,uint16 goodSegments)"
    )
    SCHEMA: ClassVar[str] = "gridlease/verdict/1"

    lease_id: bytes
    root: bytes
    disputed_at: int
    fraud: bool
    good_segments: int
    """Index of the first wrong segment when fraud; else the number of committed segments."""


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
