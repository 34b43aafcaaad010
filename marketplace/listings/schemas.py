"""Shapes of listings."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from client_sdk.protocol.addresses import checksum_address
from marketplace.domain.machines import machine_of
from marketplace.models import Listing, Stake
from marketplace.web.schemas import Answer


class StakeAnswer(Answer):
    """A provider's deposit in the listing's token, in its smallest unit."""

    total: str
    locked: str = Field(description="Bonds of live leases.")
    unbonding: str
    owed: str = Field(description="What late rulings have still to take.")


class ListingAnswer(Answer):
    """A machine on the market, as the chain tells it."""

    listing_id: str
    provider: str
    operator: str
    token: str
    hardware_class: str
    machine_hash: str
    max_price_per_hour: str
    document: dict[str, Any] | None = Field(description="Null when it is no machine document.")
    active: bool
    stake: StakeAnswer


class ListingsAnswer(Answer):
    """A page of listings."""

    listings: list[ListingAnswer]
    next: str | None = Field(description="Send as `after` for the next page.")


def listing_answer(row: Listing, stake: Stake | None) -> ListingAnswer:
    """Write a listing."""
    machine = machine_of(row.document)
    return ListingAnswer(
        listing_id=row.listing_id,
        provider=checksum_address(row.provider),
        operator=checksum_address(row.operator),
        token=checksum_address(row.token),
        hardware_class=row.hardware_class,
        machine_hash=row.machine_hash,
        max_price_per_hour=str(row.max_price_per_hour),
        document=dict(machine.to_json()) if machine else None,
        active=row.active,
        stake=StakeAnswer(
            total=str(stake.total if stake else 0),
            locked=str(stake.locked if stake else 0),
            unbonding=str(stake.unbonding if stake else 0),
            owed=str(stake.owed if stake else 0),
        ),
    )
