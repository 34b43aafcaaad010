"""Placing, claiming and answering orders."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from client_sdk.protocol.orders import Order
from client_sdk.protocol.states import OrderState
from client_sdk.protocol.terms import Terms
from marketplace import models
from marketplace.clock import now
from marketplace.context import Market
from marketplace.errors import (
    ArtifactUnknown,
    MessageRefused,
    OfferEnded,
    OfferUnknown,
    OrderClaimed,
    OrderOver,
    OrderRefused,
    OrderUnknown,
    RateLimited,
    RequestInvalid,
    SignatureRefused,
    TermsRefused,
    TooManyOrders,
    Unauthenticated,
)
from marketplace.offers import repository as offer_rows
from marketplace.orders import repository, service
from marketplace.orders.schemas import (
    ClaimAnswer,
    DeclineBody,
    OrderAnswer,
    PlaceBody,
    PlacedAnswer,
    TermsBody,
    WorkerOrdersAnswer,
    claim_answer,
    order_answer,
    worker_order,
)
from marketplace.signed import read, require_signer
from marketplace.web.access import CallerDep, MarketDep
from marketplace.web.schemas import HASH, errors

router = APIRouter(prefix="/orders", tags=["orders"])
worker_router = APIRouter(prefix="/worker", tags=["orders"])
OrderId = Annotated[str, Path(max_length=40)]
_COMMON = (Unauthenticated, RequestInvalid, RateLimited)


@router.post(
    "",
    status_code=201,
    responses=errors(
        *_COMMON,
        MessageRefused,
        SignatureRefused,
        OfferUnknown,
        OfferEnded,
        OrderRefused,
        ArtifactUnknown,
        TooManyOrders,
    ),
)
async def place(
    body: PlaceBody, caller: CallerDep, response: Response, market: MarketDep
) -> PlacedAnswer:
    """Place an order; the same one again answers 200 with the same ids."""
    order = read(Order, body.order)
    await require_signer(order, market.domain, body.signature, order.renter)
    placing = service.Placing(
        order=order,
        signature=body.signature,
        offer=body.offer,
        artifacts=body.artifacts.model_dump(),
        sealed_key=body.sealed_key,
        audit=body.audit.model_dump(),
    )
    async with market.database.writing() as session:
        row, new = await service.place(session, market, placing, caller, now())
    if not new:
        response.status_code = 200
    return PlacedAnswer(order_id=row.order_id, job_id=row.job_id, state=row.state)


@router.get("/{order_id}", responses=errors(*_COMMON, OrderUnknown))
async def order(order_id: OrderId, caller: CallerDep, market: MarketDep) -> OrderAnswer:
    """Return an order, to its renter and to the operator it is directed at."""
    async with market.database.reading() as session:
        row = await service.visible(session, market, order_id, caller)
        offer = await offer_rows.find(session, market.scope, row.offer)
    assert offer is not None, "orders keep their offer"
    return order_answer(row, offer)


@router.delete("/{order_id}", responses=errors(*_COMMON, OrderUnknown, OrderOver))
async def withdraw(order_id: OrderId, caller: CallerDep, market: MarketDep) -> OrderAnswer:
    """Withdraw an order, as long as its lease is not open."""
    async with market.database.writing() as session:
        row = await service.withdraw(session, market, order_id, caller, now())
    return await _answer(market, row)


@worker_router.get("/orders", responses=errors(*_COMMON))
async def worker_orders(
    caller: CallerDep,
    market: MarketDep,
    listing_id: Annotated[str | None, Query(pattern=HASH)] = None,
    state: Annotated[list[OrderState] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> WorkerOrdersAnswer:
    """Return the orders directed at the caller; by default those that no worker has yet."""
    states = [s.value for s in state or [OrderState.PENDING]]
    async with market.database.reading() as session:
        rows = await repository.for_operator(
            session, market.scope, caller, listing_id=listing_id, states=states, limit=limit
        )
    return WorkerOrdersAnswer(orders=[worker_order(row) for row in rows])


@router.post("/{order_id}/claim", responses=errors(*_COMMON, OrderUnknown, OrderClaimed, OrderOver))
async def claim(order_id: OrderId, caller: CallerDep, market: MarketDep) -> ClaimAnswer:
    """Hold an order while its inputs are checked; again renews the hold."""
    async with market.database.writing() as session:
        row = await service.claim(session, market, order_id, caller, now())
    return claim_answer(row)


@router.post(
    "/{order_id}/terms",
    responses=errors(
        *_COMMON,
        OrderUnknown,
        OrderClaimed,
        OrderOver,
        MessageRefused,
        SignatureRefused,
        TermsRefused,
    ),
)
async def terms(
    order_id: OrderId, body: TermsBody, caller: CallerDep, market: MarketDep
) -> OrderAnswer:
    """Sign terms for a claimed order; the same ones again change nothing."""
    signed = read(Terms, body.terms)
    await require_signer(signed, market.domain, body.signature, signed.operator)
    if signed.operator.lower() != caller:
        raise SignatureRefused(f"The terms are by {signed.operator}; you are {caller}.")
    given = service.SignedTerms(signed, body.signature, body.lock_token, body.probe)
    async with market.database.writing() as session:
        row = await service.sign_terms(session, market, order_id, caller, given, now())
    return await _answer(market, row)


@router.post("/{order_id}/decline", responses=errors(*_COMMON, OrderUnknown, OrderOver))
async def decline(
    order_id: OrderId, body: DeclineBody, caller: CallerDep, market: MarketDep
) -> OrderAnswer:
    """Refuse an order, with the reason that its renter will read."""
    async with market.database.writing() as session:
        row = await service.decline(
            session, market, order_id, caller, body.code, body.reason, now()
        )
    return await _answer(market, row)


async def _answer(market: Market, row: models.Order) -> OrderAnswer:
    async with market.database.reading() as session:
        offer = await offer_rows.find(session, market.scope, row.offer)
    assert offer is not None, "orders keep their offer"
    return order_answer(row, offer)
