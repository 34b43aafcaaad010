"""Listings on the chain; public."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from marketplace.errors import ListingUnknown, RateLimited, RequestInvalid
from marketplace.listings import repository
from marketplace.listings.schemas import ListingAnswer, ListingsAnswer, listing_answer
from marketplace.web.access import MarketDep, VisitorDep
from marketplace.web.schemas import ADDRESS, HASH, errors

router = APIRouter(prefix="/listings", tags=["listings"])
MAX_PAGE = 500


@router.get("", responses=errors(RequestInvalid, RateLimited))
async def listings(
    market: MarketDep,
    _visitor: VisitorDep,
    provider: Annotated[str | None, Query(pattern=ADDRESS)] = None,
    operator: Annotated[str | None, Query(pattern=ADDRESS)] = None,
    after: Annotated[str | None, Query(pattern=HASH)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> ListingsAnswer:
    """Return listings, in the order of their ids."""
    async with market.database.reading() as session:
        rows = await repository.page(
            session, market.scope, provider=provider, operator=operator, after=after, limit=limit
        )
        stakes = await repository.stakes(session, market.scope, [row.provider for row in rows])
    answers = [listing_answer(row, stakes.get((row.provider, row.token))) for row in rows]
    return ListingsAnswer(
        listings=answers, next=rows[-1].listing_id if len(rows) == limit else None
    )


@router.get("/{listing_id}", responses=errors(ListingUnknown, RequestInvalid, RateLimited))
async def listing(
    listing_id: Annotated[str, Path(pattern=HASH)], market: MarketDep, _visitor: VisitorDep
) -> ListingAnswer:
    """Return one listing."""
    async with market.database.reading() as session:
        row = await repository.find(session, market.scope, listing_id)
        if row is None:
            raise ListingUnknown
        stakes = await repository.stakes(session, market.scope, [row.provider])
    return listing_answer(row, stakes.get((row.provider, row.token)))
