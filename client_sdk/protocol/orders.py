"""The renter's demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.eip712 import Domain, Typed, digest
from client_sdk.protocol.verification import Verification, verifications_in


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
        "uint96 budget,uint96 minStake,uint32 maxDurationS,uint32 minWindow,uint16 segments,"
        "uint8 verification,uint40 expiresAt,uint64 nonce)"
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
    #: Least stake of the provider.
    min_stake: int = 0
    max_duration_s: int
    #: Seconds: least window and dispute timeout, and most commit grace, of a lease that somebody
    #: else opens for the renter; 0 forbids that.
    min_window: int = 0
    #: Most segments.
    segments: int
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

    def expired(self, now: int) -> bool:
        """Tell whether the order has lapsed at Unix time ``now``."""
        return now >= self.expires_at
