"""Publishing and searching offers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from client_sdk.protocol.offers import Offer
from marketplace.clock import now
from marketplace.context import Market
from marketplace.domain.query import QueryError, parse_order, parse_query
from marketplace.errors import (
    ListingUnknown,
    MessageRefused,
    OfferEnded,
    OfferRefused,
    OfferUnknown,
    QueryRefused,
    RateLimited,
    RequestInvalid,
    SignatureRefused,
    Unauthenticated,
)
from marketplace.offers import repository, service
from marketplace.offers.schemas import OfferAnswer, OfferBody, OffersAnswer, offer_answer
from marketplace.search.index import OfferIndex
from marketplace.signed import read, require_signer
from marketplace.web.access import CallerDep, MarketDep, VisitorDep
from marketplace.web.schemas import HASH, errors

router = APIRouter(prefix="/offers", tags=["offers"])
MAX_PAGE = 500


@router.post(
    "",
    status_code=201,
    responses=errors(
        Unauthenticated,
        RequestInvalid,
        MessageRefused,
        SignatureRefused,
        ListingUnknown,
        OfferRefused,
        OfferEnded,
        RateLimited,
    ),
)
async def publish(
    body: OfferBody, caller: CallerDep, request: Request, response: Response, market: MarketDep
) -> OfferAnswer:
    """Publish an offer; the same one again changes nothing and answers 200."""
    offer = read(Offer, body.offer)
    await require_signer(offer, market.domain, body.signature, offer.operator)
    async with market.database.writing() as session:
        digest, new = await service.publish(session, market, offer, body.signature, caller, now())
    if not new:
        response.status_code = 200
    return await _answer(request, market, digest)


@router.get("", responses=errors(QueryRefused, RequestInvalid, RateLimited))
async def search(
    request: Request,
    market: MarketDep,
    _visitor: VisitorDep,
    q: Annotated[str, Query(max_length=2_000, description="Vast.ai's query grammar")] = "",
    order: Annotated[str, Query(max_length=200, description="Such as dph or num_gpus-,dph")] = "",
    limit: Annotated[int, Query(ge=0, le=MAX_PAGE)] = 64,
) -> OffersAnswer:
    """Search offers; the cheapest first, unless another order is asked for."""
    try:
        clauses, keys = parse_query(q), parse_order(order)
    except QueryError as error:
        raise QueryRefused(f"The query cannot be read: {error}.") from error
    index: OfferIndex = request.app.state.offers
    columns = await index.columns()
    page = columns.search(clauses, keys, limit)
    async with market.database.reading() as session:
        rows = await repository.with_listings(session, market.scope, page.digests)
    return OffersAnswer(
        offers=[
            offer_answer(*rows[digest], index.row(digest))
            for digest in page.digests
            if digest in rows
        ],
        matched=page.matched,
        available=len(columns),
        hint=None if page.matched else columns.explain(clauses),
    )


@router.get("/{digest}", responses=errors(OfferUnknown, RequestInvalid, RateLimited))
async def offer(
    digest: Annotated[str, Path(pattern=HASH)],
    request: Request,
    market: MarketDep,
    _visitor: VisitorDep,
) -> OfferAnswer:
    """Return one offer."""
    return await _answer(request, market, digest)


@router.delete(
    "/{digest}", status_code=204, responses=errors(Unauthenticated, OfferUnknown, RateLimited)
)
async def withdraw(
    digest: Annotated[str, Path(pattern=HASH)], caller: CallerDep, market: MarketDep
) -> None:
    """Withdraw an offer; again is no error."""
    async with market.database.writing() as session:
        await service.withdraw(session, market, digest, caller, now())


async def _answer(request: Request, market: Market, digest: str) -> OfferAnswer:
    index: OfferIndex = request.app.state.offers
    await index.columns()
    async with market.database.reading() as session:
        rows = await repository.with_listings(session, market.scope, [digest])
    if digest not in rows:
        raise OfferUnknown
    return offer_answer(*rows[digest], index.row(digest))
