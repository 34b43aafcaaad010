"""From a listing and an offer to the fields that renters search by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.machine import MachineDocument
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.verification import Verification
from marketplace.domain.ledger import ListingFacts, StakeFacts

_GIB: Final = 1 << 30
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Record:
    """How a provider's leases ended so far."""

    ended: int = 0
    good: int = 0

    @property
    def reliability(self) -> float:
        """Share that ended well, as if two more had, one well and one badly (Laplace's rule)."""
        return (self.good + 1) / (self.ended + 2)


def machine_of(document: str) -> MachineDocument | None:
    """Return the machine that a listing's document (0x-hex) describes; nothing when it is none."""
    try:
        return MachineDocument.from_bytes(bytes.fromhex(document.removeprefix("0x")))
    except (ProtocolError, ValueError):
        return None


def search_row(
    digest: str,
    offer: Offer,
    listing: ListingFacts,
    stake: StakeFacts,
    record: Record,
    decimals: int,
    now: datetime,
) -> dict[str, float | str] | None:
    """Return the values of all search fields, or nothing for a listing that cannot be read.

    Parameters
    ----------
    decimals
        Decimals of the offer's token.
    now
        Time that the offer's remaining duration is counted from.
    """
    machine = machine_of(listing.document)
    if machine is None:
        return None
    unit = 10**decimals
    price = offer.price_per_hour / unit
    gpus = machine.gpu_count
    return {
        "gpu_name": machine.gpu_name or "cpu",
        "num_gpus": gpus,
        "gpu_ram": machine.gpu_memory_bytes / _GIB,
        "gpu_total_ram": gpus * machine.gpu_memory_bytes / _GIB,
        "cpu_cores": machine.cpu_count,
        "cpu_ram": machine.memory_bytes / _GIB,
        "disk_space": machine.disk_bytes / _GIB,
        "inet_down": machine.download_mbps or 0,
        "inet_up": machine.upload_mbps or 0,
        "driver_version": machine.driver or _UNKNOWN,
        "torch_version": machine.torch,
        "region": machine.region or _UNKNOWN,
        "isolation": machine.isolation.value,
        "hardware_class": listing.hardware_class,
        "dph": price,
        "dph_per_gpu": price / max(gpus, 1),
        "token": offer.token,
        "fee_bps": offer.fee_bps,
        "duration": max(0.0, (offer.expires_at - now.timestamp()) / 3_600),
        "max_segments": offer.max_segments,
        "replay": float(Verification.REPLAY in offer.verifications),
        "metered": float(Verification.METERED in offer.verifications),
        "stake": stake.total / unit,
        "free_stake": stake.free / unit,
        "reliability": record.reliability,
        "leases": record.ended,
        "provider": offer.provider,
        "operator": offer.operator,
        "listing_id": listing.listing_id,
        "digest": digest,
    }
