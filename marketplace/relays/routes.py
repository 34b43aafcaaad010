"""Calls that the node carries to the chain for its callers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from client_sdk.protocol.consents import Stop
from client_sdk.protocol.terms import Terms
from marketplace.clock import now
from marketplace.context import Market
from marketplace.errors import (
    MessageRefused,
    RateLimited,
    RelayClosed,
    RelayFeeTooLow,
    RelayInFlight,
    RelayRefused,
    RelaysSpent,
    RelayUnknown,
    RequestInvalid,
    SignatureRefused,
    Unauthenticated,
)
from marketplace.relays import service
from marketplace.relays.schemas import OpeningBody, RelayAnswer, StopBody, WithdrawalBody
from marketplace.relays.service import Asked
from marketplace.signed import read, require_signer
from marketplace.web.access import CallerDep, LimiterDep, MarketDep
from marketplace.web.limits import RateLimiter
from marketplace.web.schemas import errors

router = APIRouter(prefix="/relays", tags=["relays"])
_COMMON = (Unauthenticated, RequestInvalid, RateLimited)
_ASKED = (*_COMMON, RelaysSpent, RelayClosed, RelayRefused)
_SIGNED = (MessageRefused, SignatureRefused)


@router.post(
    "/openings",
    status_code=202,
    responses=errors(*_ASKED, *_SIGNED, RelayFeeTooLow),
)
async def opening(
    body: OpeningBody, caller: CallerDep, market: MarketDep, limiter: LimiterDep
) -> RelayAnswer:
    """Have a lease opened, for the fee that `GET /v1/market` names; once for each lease."""
    terms = read(Terms, body.terms)
    await require_signer(terms, market.domain, body.terms_signature, terms.operator)
    asked = service.opening(market, terms, body.terms_signature, body.authorization, caller, now())
    return await _add(market, limiter, asked, caller)


@router.post("/stops", status_code=202, responses=errors(*_ASKED, *_SIGNED))
async def stop(
    body: StopBody, caller: CallerDep, market: MarketDep, limiter: LimiterDep
) -> RelayAnswer:
    """Have a lease stopped, free of charge; again changes nothing."""
    terms = read(Terms, body.terms)
    consent = Stop(lease_id=terms.lease_id(market.domain))
    await require_signer(consent, market.domain, body.signature, terms.renter)
    asked = service.stop(market, terms, body.signature, caller)
    return await _add(market, limiter, asked, caller)


@router.post("/withdrawals", status_code=202, responses=errors(*_ASKED, RelayInFlight))
async def withdrawal(
    body: WithdrawalBody, caller: CallerDep, market: MarketDep, limiter: LimiterDep
) -> RelayAnswer:
    """Have the caller's whole credit in a token sent to the caller, free of charge."""
    asked = service.withdrawal(market, body.token, body.key, caller)
    return await _add(market, limiter, asked, caller)


@router.get("/{request_id}", responses=errors(*_COMMON, RelayUnknown))
async def state(
    request_id: Annotated[str, Path(max_length=40)], caller: CallerDep, market: MarketDep
) -> RelayAnswer:
    """Tell where a call stands, to the account that asked for it."""
    async with market.database.reading() as session:
        return await service.state(session, request_id, caller)


async def _add(market: Market, limiter: RateLimiter, asked: Asked, caller: str) -> RelayAnswer:
    await limiter.hit(f"relay:{caller}", market.settings.relays_per_hour, 3_600)
    async with market.database.reading() as session:
        await service.require_possible(session, market, asked)
    async with market.database.writing() as session:
        return await service.add(session, market, asked, now())
