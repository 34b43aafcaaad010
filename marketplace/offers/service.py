"""Publishing, withdrawing and expiring offers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.offers import Offer
from marketplace import models
from marketplace.clock import from_timestamp
from marketplace.context import Market
from marketplace.domain.rules import RuleBroken, check_offer
from marketplace.domain.states import OfferState
from marketplace.errors import (
    ListingUnknown,
    OfferEnded,
    OfferRefused,
    OfferUnknown,
    SignatureRefused,
)
from marketplace.indexer import repository as chain_rows
from marketplace.indexer.service import Changes
from marketplace.offers import repository
from marketplace.outbox.repository import note
from marketplace.scope import Scope


async def publish(
    session: AsyncSession, market: Market, offer: Offer, signature: str, caller: str, now: datetime
) -> tuple[str, bool]:
    """Take an offer whose signature was checked; return its digest and whether it is new.

    Raises
    ------
    ListingUnknown, OfferRefused, OfferEnded
        The offer does not agree with its listing, or was ended before.
    """
    scope = market.scope
    if not same_address(offer.operator, caller):
        raise SignatureRefused(f"The offer is by {offer.operator}; you are logged in as {caller}.")
    digest = to_hex(offer.offer_id(market.domain))
    known = await repository.find(session, scope, digest)
    if known is not None:
        if known.state != OfferState.ACTIVE:
            raise OfferEnded(f"The offer is {known.state}; sign a new one.")
        return digest, False
    listing = await chain_rows.listing(session, scope, to_hex(offer.listing_id))
    if listing is None:
        raise ListingUnknown
    try:
        check_offer(offer, listing, int(now.timestamp()))
    except RuleBroken as error:
        raise OfferRefused(f"The offer is refused: {error}", field=error.field) from error
    revision = await repository.next_revision(session, scope)
    session.add(
        models.Offer(
            **scope.key,
            digest=digest,
            listing_id=listing.listing_id,
            provider=listing.provider,
            operator=listing.operator,
            token=listing.token,
            price_per_hour=offer.price_per_hour,
            body=dict(offer.to_json()),
            signature=signature.lower(),
            state=OfferState.ACTIVE,
            issued_at=from_timestamp(offer.issued_at),
            expires_at=from_timestamp(offer.expires_at),
            revision=revision,
        )
    )
    note(session, caller, "offer.published", digest, now)
    return digest, True


async def withdraw(
    session: AsyncSession, market: Market, digest: str, caller: str, now: datetime
) -> None:
    """End an offer; doing so twice is no error.

    Raises
    ------
    OfferUnknown
        It is not the caller's.
    """
    row = await repository.find(session, market.scope, digest)
    if row is None or row.operator != caller:
        raise OfferUnknown
    revision = await repository.next_revision(session, market.scope)
    if await repository.set_state(session, market.scope, digest, OfferState.WITHDRAWN, revision):
        note(session, caller, "offer.withdrawn", digest, now)


async def expire(session: AsyncSession, market: Market, now: datetime) -> int:
    """End the offers whose time is over; return how many."""
    revision = await repository.next_revision(session, market.scope)
    return await repository.expire(session, market.scope, now, revision)


async def follow_chain(session: AsyncSession, scope: Scope, changes: Changes) -> None:
    """Tell the search of offers whose listing, stake or record changed."""
    if changes.listings or changes.stakes:
        providers = {key.split(":")[0] for key in changes.stakes}
        await repository.touch(session, scope, listing_ids=changes.listings, providers=providers)
