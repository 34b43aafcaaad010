"""The renter's demand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.eip712 import Domain, Typed, digest
from client_sdk.protocol.money import BPS
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification, verifications_in


class OrderRule(StrEnum):
    """Cap of an order that terms do not keep. Source: ``IEscrowTypes.OrderRule``, in its order."""

    RENTER = "renter"  # made out for another renter
    TOKEN = "token"  # priced in another token  # noqa: S105 - no password
    ARBITER = "arbiter"  # judged by another arbiter
    JOB_HASH = "job_hash"  # for another job
    LISTING_ID = "listing_id"  # on another listing than the one named
    HARDWARE_CLASS = "hardware_class"  # on a machine of another class
    PRICE_PER_SEGMENT = "price_per_segment"  # a segment is too dear
    MIN_BOND = "min_bond"  # the bond is too small
    MIN_BOND_BPS = "min_bond_bps"  # the bond is too small for the cost
    MIN_AUDIT_BPS = "min_audit_bps"  # too little goes to the auditors
    MAX_DURATION = "max_duration"  # the lease may last too long
    MIN_WINDOW = "min_window"  # too little time to challenge a commit
    MAX_WINDOW = "max_window"  # the money waits too long for its window
    MIN_DISPUTE_TIMEOUT = "min_dispute_timeout"  # too little time to rule
    MAX_DISPUTE_TIMEOUT = "max_dispute_timeout"  # an unruled dispute holds the money too long
    MAX_FIRST_COMMIT = "max_first_commit"  # silence holds the money too long
    MIN_SEGMENT_SECONDS = "min_segment_seconds"  # segments could be committed too fast
    COMMIT_GRACE = "commit_grace"  # work goes on too long after a stop


@dataclass(frozen=True, kw_only=True)
class Order(Typed):
    """What a renter wants run and what it may cost, signed by the renter.

    With a ``min_window`` the signature is also authority: anybody may then open leases for the
    renter within the order's caps, by ``LeaseEscrow.openFor``, until it expires or is revoked.

    Amounts are in the smallest unit of ``token``.
    """

    EIP712_TYPE: ClassVar[str] = (
        "Order(address renter,address token,address arbiter,bytes32 jobHash,bytes32 listingId,"
        "bytes32 offer,bytes32 hardwareClass,uint96 maxPricePerHour,uint96 maxPricePerSegment,"
        "uint96 budget,uint96 minBond,uint16 minBondBps,uint16 minAuditBps,uint16 segments,"
        "uint32 maxDurationS,uint32 minWindow,uint32 maxWindow,uint32 maxDisputeTimeout,"
        "uint32 maxFirstCommit,uint32 minSegmentSeconds,uint8 verification,uint40 expiresAt,"
        "uint64 nonce)"
    )
    SCHEMA: ClassVar[str] = "gridlease/order/1"

    renter: str
    token: str
    #: The only arbiter that the renter accepts.
    arbiter: str
    #: BLAKE3 of the job manifest; see :mod:`client_sdk.protocol.manifest`.
    job_hash: bytes
    #: Listing that must take it; zero for any.
    listing_id: bytes = ZERO_HASH
    #: Digest of the offer that it answers; zero for any.
    offer: bytes = ZERO_HASH
    #: Class of the listing that takes it; zero for any.
    hardware_class: bytes = ZERO_HASH
    max_price_per_hour: int
    #: Most for one segment of a lease that somebody else opens; 0 forbids that.
    max_price_per_segment: int = 0
    #: Most that may be spent in all.
    budget: int
    #: Least bond of a lease.
    min_bond: int = 0
    #: Least bond of a lease, in 1/10000 of its cost; both hold.
    min_bond_bps: int = 0
    #: Least share of the auditors, in 1/10000.
    min_audit_bps: int = 0
    #: Most segments.
    segments: int
    max_duration_s: int
    #: Seconds: least window and dispute timeout, and most commit grace, of a lease that somebody
    #: else opens for the renter; 0 forbids that.
    min_window: int = 0
    #: Seconds: longest window of such a lease.
    max_window: int = 0
    #: Seconds: longest dispute timeout of such a lease.
    max_dispute_timeout: int = 0
    #: Seconds: longest time to the first commit of such a lease.
    max_first_commit: int = 0
    #: Seconds: least ``min_segment_seconds`` of such a lease.
    min_segment_seconds: int = 0
    #: Mask with the one :class:`~client_sdk.protocol.verification.Verification` bit wanted.
    verification: int
    expires_at: int
    nonce: int

    @property
    def verifications(self) -> frozenset[Verification]:
        """The modes of verification in the mask."""
        return verifications_in(self.verification)

    def order_digest(self, domain: Domain) -> bytes:
        """Return the EIP-712 digest that the renter signs."""
        return digest(self, domain)

    @property
    def openable(self) -> bool:
        """Whether the signature lets others open leases for the renter."""
        return self.min_window != 0 and self.max_price_per_segment != 0

    def broken_rule(self, terms: Terms, hardware_class: bytes) -> OrderRule | None:
        """Return the first cap that terms do not keep, as the contract looks at them.

        Parameters
        ----------
        hardware_class
            That of the terms' listing.

        Source: ``OrderBook._checkOrder``. Budget and segments of all leases together are not looked
        at: what was used of them is on the chain.
        """
        kept = {
            OrderRule.RENTER: same_address(terms.renter, self.renter),
            OrderRule.TOKEN: same_address(terms.token, self.token),
            OrderRule.ARBITER: same_address(terms.arbiter, self.arbiter),
            OrderRule.JOB_HASH: terms.job_hash == self.job_hash,
            OrderRule.LISTING_ID: self.listing_id in (ZERO_HASH, terms.listing_id),
            OrderRule.HARDWARE_CLASS: self.hardware_class in (ZERO_HASH, hardware_class),
            OrderRule.PRICE_PER_SEGMENT: terms.price_per_segment <= self.max_price_per_segment,
            OrderRule.MIN_BOND: terms.bond >= self.min_bond,
            OrderRule.MIN_BOND_BPS: terms.bond * BPS >= terms.cost * self.min_bond_bps,
            OrderRule.MIN_AUDIT_BPS: terms.audit_bps >= self.min_audit_bps,
            OrderRule.MAX_DURATION: terms.max_duration <= self.max_duration_s,
            OrderRule.MIN_WINDOW: terms.window >= self.min_window,
            OrderRule.MAX_WINDOW: terms.window <= self.max_window,
            OrderRule.MIN_DISPUTE_TIMEOUT: terms.dispute_timeout // 2 >= self.min_window,
            OrderRule.MAX_DISPUTE_TIMEOUT: terms.dispute_timeout <= self.max_dispute_timeout,
            OrderRule.MAX_FIRST_COMMIT: terms.first_commit_within <= self.max_first_commit,
            OrderRule.MIN_SEGMENT_SECONDS: terms.min_segment_seconds >= self.min_segment_seconds,
            OrderRule.COMMIT_GRACE: terms.commit_grace <= self.min_window,
        }
        return next((rule for rule, holds in kept.items() if not holds), None)

    def expired(self, now: int) -> bool:
        """Tell whether the order has lapsed at Unix time ``now``."""
        return now >= self.expires_at
