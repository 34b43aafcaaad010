"""Who is asking: bearer tokens, rate limits, and the node behind the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from marketplace.auth import service as auth
from marketplace.clock import now
from marketplace.context import Market
from marketplace.errors import Unauthenticated
from marketplace.web.limits import RateLimiter

_bearer = HTTPBearer(auto_error=False, description="The token that POST /v1/auth/login gives.")


def market_of(request: Request) -> Market:
    """Return the node that serves this request."""
    market: Market = request.app.state.market
    return market


def limiter_of(request: Request) -> RateLimiter:
    """Return the node's rate limiter."""
    limiter: RateLimiter = request.app.state.limiter
    return limiter


MarketDep = Annotated[Market, Depends(market_of)]
LimiterDep = Annotated[RateLimiter, Depends(limiter_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def client_host(request: Request) -> str:
    """Return the network address of the client."""
    return request.client.host if request.client else "unknown"


async def visitor(
    request: Request, market: MarketDep, limiter: LimiterDep, credentials: Credentials
) -> str | None:
    """Return the caller's account, lower-case, or nothing for somebody who is not logged in."""
    limit = market.settings.requests_per_minute
    if credentials is None:
        await limiter.hit(f"host:{client_host(request)}", limit, 60)
        return None
    async with market.database.reading() as session:
        address = await auth.authenticate(session, credentials.credentials, now())
    if address is None:
        await limiter.hit(f"host:{client_host(request)}", limit, 60)
        raise Unauthenticated("The token has expired or is not known.")
    await limiter.hit(f"account:{address}", limit, 60)
    return address


VisitorDep = Annotated[str | None, Depends(visitor)]


async def caller(address: VisitorDep) -> str:
    """Return the caller's account, lower-case; refuse somebody who is not logged in."""
    if address is None:
        raise Unauthenticated
    return address


CallerDep = Annotated[str, Depends(caller)]
