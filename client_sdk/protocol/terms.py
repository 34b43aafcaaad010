"""What provider and renter bind themselves to for one lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.eip712 import Domain, Typed, digest
from client_sdk.protocol.keccak import keccak256


@dataclass(frozen=True, kw_only=True)
class Terms(Typed):
    """Everything that decides a lease; signed by the operator, hashed by the contract.

    The contract stores none of it: every call carries the terms and is checked against the lease
    id. Amounts are in the smallest unit of ``token``.
    """

    EIP712_TYPE: ClassVar[str] = (
        "Terms(address renter,address provider,address operator,address token,address arbiter,"
        "bytes32 listingId,bytes32 machineHash,bytes32 jobHash,uint96 pricePerSegment,uint96 bond,"
        "uint16 segments,uint16 feeBps,uint16 auditBps,uint16 reserveSegments,"
        "uint32 window,uint32 commitGrace,uint32 disputeTimeout,uint40 openBy,"
        "uint32 firstCommitWithin,uint32 maxDuration,uint32 minSegmentSeconds,"
        "bytes32 predecessor,uint64 nonce)"
    )
    SCHEMA: ClassVar[str] = "gridlease/terms/1"

    renter: str
    #: Owner account of the listing: stakes and is paid.
    provider: str
    #: Key of the listing that signs these terms and commits; cannot withdraw.
    operator: str
    token: str
    #: Account or contract that rules disputes.
    arbiter: str
    listing_id: bytes
    #: keccak256 of the listing's machine document.
    machine_hash: bytes
    #: BLAKE3 of the job manifest; see :mod:`client_sdk.protocol.manifest`.
    job_hash: bytes
    price_per_segment: int
    #: Part of the provider's stake that is locked, and lost on fraud.
    bond: int
    #: Most segments that are paid.
    segments: int
    #: Share of each settlement for the treasury, in 1/10000.
    fee_bps: int
    #: Share of each settlement for the auditors, in 1/10000.
    audit_bps: int
    #: Last segments that are paid only for a final checkpoint that stays retrievable.
    reserve_segments: int = 0
    #: Seconds in which a commit can be challenged; 0 means metered: only vouchers pay.
    window: int
    #: Seconds after a stop in which the provider may commit once more.
    commit_grace: int
    #: Seconds after which anyone may end an unruled dispute.
    dispute_timeout: int
    #: Unix time until which the lease can be opened.
    open_by: int
    #: Seconds after opening in which the first commit must come.
    first_commit_within: int
    #: Seconds after opening when the lease ends.
    max_duration: int
    #: Seconds that a segment takes at least; bounds what can have been done at a stop.
    min_segment_seconds: int
    #: Lease that this one continues; zero for none.
    predecessor: bytes = ZERO_HASH
    #: Tells apart terms that are otherwise equal.
    nonce: int

    @property
    def cost(self) -> int:
        """What the renter funds: the price of all segments."""
        return self.price_per_segment * self.segments

    @property
    def metered(self) -> bool:
        """Whether only renter-signed vouchers pay."""
        return self.window == 0

    def lease_id(self, domain: Domain) -> bytes:
        """Return the lease's id: the EIP-712 digest of the terms."""
        return digest(self, domain)


@dataclass(frozen=True, kw_only=True)
class Voucher(Typed):
    """The renter's word that the first ``segments`` segments of a metered lease may be paid.

    Cumulative: a later voucher replaces an earlier one, and a lost one harms nobody.
    """

    EIP712_TYPE: ClassVar[str] = "Voucher(bytes32 leaseId,uint16 segments)"
    SCHEMA: ClassVar[str] = "gridlease/voucher/1"

    lease_id: bytes
    segments: int


def chained_root(previous: bytes, up_to: int, trace_root: bytes) -> bytes:
    """Return the root that the contract stores after a commit.

    Preimage: ``keccak256(abi.encode(bytes32 previous, uint16 upTo, bytes32 traceRoot))``, starting
    from 32 zero bytes. Source: ``LeaseEscrow.commit``.
    """
    return keccak256(previous + up_to.to_bytes(32, "big") + trace_root)
