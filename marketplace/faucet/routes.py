"""The faucet; on the development chain only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from marketplace.clock import now
from marketplace.errors import FaucetClosed, FaucetRequestUnknown, RateLimited, RequestInvalid
from marketplace.faucet import service
from marketplace.faucet.schemas import FaucetAnswer, FaucetBody
from marketplace.web.access import LimiterDep, MarketDep, VisitorDep, client_host
from marketplace.web.schemas import errors

router = APIRouter(prefix="/faucet", tags=["faucet"])


@router.post("", status_code=202, responses=errors(FaucetClosed, RequestInvalid, RateLimited))
async def fund(
    body: FaucetBody, request: Request, market: MarketDep, limiter: LimiterDep
) -> FaucetAnswer:
    """Ask for test tokens, and coin for gas; they arrive a few seconds later."""
    service.check_open(market)
    limit = market.settings.faucet_per_hour
    await limiter.hit(f"faucet:{client_host(request)}", limit, 3_600)
    async with market.database.writing() as session:
        return await service.request(session, body.address, now(), coin=body.coin)


@router.get("/{request_id}", responses=errors(FaucetClosed, FaucetRequestUnknown, RateLimited))
async def state(
    request_id: Annotated[str, Path(max_length=40)], market: MarketDep, _visitor: VisitorDep
) -> FaucetAnswer:
    """Tell where a request stands."""
    service.check_open(market)
    async with market.database.reading() as session:
        return await service.state(session, request_id)
