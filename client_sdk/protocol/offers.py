"""A provider's standing signed quote for a listing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Domain, Typed, digest
from client_sdk.protocol.verification import Verification, verifications_in


@dataclass(frozen=True, kw_only=True)
class Offer(Typed):
    """Price and limits at which a machine takes orders, signed by the listing's operator.

    The contract never accepts an offer; it is what the renter's order answers, and its digest is
    its id. ``price_per_hour`` is in the smallest unit of ``token``.
    """

    EIP712_TYPE: ClassVar[str] = (
        "Offer(address provider,address operator,address token,address arbiter,"
        "bytes32 listingId,bytes32 machineHash,bytes32 hardwareClass,bytes32 encryptionKey,"
        "uint96 pricePerHour,uint16 feeBps,uint16 auditBps,uint16 maxSegments,"
        "uint32 minSegmentSeconds,uint8 verification,uint40 issuedAt,uint40 expiresAt,uint64 nonce)"
    )
    SCHEMA: ClassVar[str] = "gridlease/offer/1"

    provider: str
    operator: str
    token: str
    #: The arbiter that the provider's terms will name.
    arbiter: str
    listing_id: bytes
    machine_hash: bytes
    #: Digest of the determinism probe; machines of one class compute the same bits.
    hardware_class: bytes
    #: X25519 public key that job keys are wrapped to.
    encryption_key: bytes
    price_per_hour: int
    fee_bps: int
    audit_bps: int
    #: Most segments of one lease.
    max_segments: int
    #: Shortest accepted segment, in seconds.
    min_segment_seconds: int
    #: Mask of :class:`~client_sdk.protocol.verification.Verification` bits.
    verification: int
    issued_at: int
    expires_at: int
    nonce: int

    @property
    def verifications(self) -> frozenset[Verification]:
        """The modes of verification that the worker carries out."""
        return verifications_in(self.verification)

    def offer_id(self, domain: Domain) -> bytes:
        """Return the offer's id: its EIP-712 digest."""
        return digest(self, domain)

    def expired(self, now: int) -> bool:
        """Tell whether the offer has lapsed at Unix time ``now``."""
        return now >= self.expires_at
