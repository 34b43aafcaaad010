"""Shapes of offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from marketplace.listings.schemas import ListingAnswer, listing_answer
from marketplace.models import Listing, Offer, Stake
from marketplace.web.schemas import SIGNATURE, Answer, Body


class OfferBody(Body):
    """A signed offer."""

    offer: dict[str, Any] = Field(description="`gridlease/offer/1`")
    signature: str = Field(pattern=SIGNATURE, description="EIP-712 signature by the operator.")


class OfferAnswer(Answer):
    """An offer, as it was signed, with its listing."""

    digest: str
    offer: dict[str, Any]
    signature: str
    state: str = Field(description="active, withdrawn or expired")
    listing: ListingAnswer | None
    fields: dict[str, float | str] = Field(description="Values of the search fields.")


class OffersAnswer(Answer):
    """Offers that match a query."""

    offers: list[OfferAnswer]
    matched: int = Field(description="Offers that match in all.")
    available: int = Field(description="Offers there are at all.")
    hint: str | None = Field(description="Why nothing matches, when nothing does.")


def offer_answer(
    row: Offer, listing: Listing | None, stake: Stake | None, fields: Mapping[str, float | str]
) -> OfferAnswer:
    """Write an offer."""
    return OfferAnswer(
        digest=row.digest,
        offer=row.body,
        signature=row.signature,
        state=row.state,
        listing=listing_answer(listing, stake) if listing else None,
        fields=dict(fields),
    )
