"""Login and logout."""

from __future__ import annotations

from fastapi import APIRouter, Request

from marketplace.auth import service
from marketplace.auth.schemas import LoginAnswer, LoginBody, NonceAnswer
from marketplace.clock import iso, now
from marketplace.errors import LoginRefused, RateLimited, Unauthenticated
from marketplace.web.access import Credentials, LimiterDep, MarketDep, client_host
from marketplace.web.schemas import errors

router = APIRouter(prefix="/auth", tags=["login"])


@router.post("/nonce", responses=errors(RateLimited))
async def nonce(request: Request, market: MarketDep, limiter: LimiterDep) -> NonceAnswer:
    """Give out a nonce for one login message."""
    await limiter.hit(f"login:{client_host(request)}", market.settings.logins_per_minute, 60)
    async with market.database.writing() as session:
        value, expires_at = await service.issue_nonce(session, market, now())
    return NonceAnswer(nonce=value, expires_at=iso(expires_at) or "")


@router.post("/login", responses=errors(LoginRefused, RateLimited))
async def login(
    body: LoginBody, request: Request, market: MarketDep, limiter: LimiterDep
) -> LoginAnswer:
    """Exchange a signed message for a bearer token."""
    await limiter.hit(f"login:{client_host(request)}", market.settings.logins_per_minute, 60)
    message = await service.check_message(market, body.message, body.signature, now())
    async with market.database.writing() as session:
        result = await service.login(session, market, message, now())
    return LoginAnswer(
        token=result.token, address=result.address, expires_at=iso(result.expires_at) or ""
    )


@router.post("/logout", status_code=204, responses=errors(Unauthenticated))
async def logout(market: MarketDep, credentials: Credentials) -> None:
    """Forget the token that this request carries."""
    if credentials is None:
        raise Unauthenticated
    async with market.database.writing() as session:
        await service.logout(session, credentials.credentials)
