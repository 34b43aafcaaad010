"""What a party signs so that somebody else may send its call: relayers pay the gas, and can do no
more than not send it.

Covered: opening out of allowance or credit, stopping, challenging, revoking an order, admitting
that a machine failed its probe.
Not covered: orders, which let others choose the terms (:mod:`client_sdk.protocol.orders`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Typed


@dataclass(frozen=True, kw_only=True)
class Opening(Typed):
    """The renter lets anybody open one lease for it. Source: ``LeaseEscrow.openFrom``."""

    EIP712_TYPE: ClassVar[str] = "Opening(bytes32 leaseId,uint8 source,uint96 relayFee)"
    SCHEMA: ClassVar[str] = "gridlease/opening/1"

    lease_id: bytes
    #: Where the money comes from: 0 allowance, 1 credit and then allowance.
    source: int
    #: Paid to the sender on top of the cost, in the smallest unit of the lease's token.
    relay_fee: int


@dataclass(frozen=True, kw_only=True)
class Stop(Typed):
    """The renter ends a lease. Source: ``LeaseEscrow.stopFor``."""

    EIP712_TYPE: ClassVar[str] = "Stop(bytes32 leaseId)"
    SCHEMA: ClassVar[str] = "gridlease/stop/1"

    lease_id: bytes


@dataclass(frozen=True, kw_only=True)
class Challenge(Typed):
    """The signer challenges a segment. Source: ``LeaseEscrow.challengeFrom``."""

    EIP712_TYPE: ClassVar[str] = (
        "Challenge(bytes32 leaseId,bytes32 root,uint16 segment,uint8 source,uint40 expiresAt,"
        "uint64 nonce)"
    )
    SCHEMA: ClassVar[str] = "gridlease/challenge/1"

    lease_id: bytes
    #: The lease's root when it was signed: the consent is for that commit.
    root: bytes
    segment: int
    #: Where the bond comes from: 0 allowance, 1 credit and then allowance.
    source: int
    #: Unix time from which the consent is void.
    expires_at: int
    #: Makes equal consents different: each is good for one challenge.
    nonce: int


@dataclass(frozen=True, kw_only=True)
class FailedProbe(Typed):
    """The operator says that its machine failed the probe. Source: ``LeaseEscrow.rejectMachine``.

    Signed by the listing's current operator, while nothing of the lease was committed.
    """

    EIP712_TYPE: ClassVar[str] = "FailedProbe(bytes32 leaseId,bytes32 report)"
    SCHEMA: ClassVar[str] = "gridlease/failed-probe/1"

    lease_id: bytes
    #: Hash of the report on the probe.
    report: bytes


@dataclass(frozen=True, kw_only=True)
class Revocation(Typed):
    """The renter voids an order. Source: ``LeaseEscrow.revokeOrder``."""

    EIP712_TYPE: ClassVar[str] = "Revocation(bytes32 order)"
    SCHEMA: ClassVar[str] = "gridlease/revocation/1"

    #: Digest of the order.
    order: bytes
