"""The HTTP application."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from marketplace.artifacts.routes import router as artifacts
from marketplace.audits.routes import auditors_router
from marketplace.audits.routes import router as audits
from marketplace.auth.routes import router as auth
from marketplace.clock import now
from marketplace.context import Market, open_market
from marketplace.errors import (
    BodyTooLarge,
    MarketError,
    MethodRefused,
    RequestInvalid,
    RouteUnknown,
    Unavailable,
)
from marketplace.faucet.routes import router as faucet
from marketplace.jobs.routes import router as jobs
from marketplace.leases.routes import router as leases
from marketplace.listings.routes import router as listings
from marketplace.offers.routes import router as offers
from marketplace.orders.routes import router as orders
from marketplace.orders.routes import worker_router
from marketplace.relays.routes import router as relays
from marketplace.search.index import OfferIndex
from marketplace.settings import Settings, load
from marketplace.web.limits import BodyLimit, RateLimiter, SharedRateLimiter
from marketplace.web.meta import router as meta
from marketplace.web.page import PAGE

log = logging.getLogger(__name__)

_UPLOADS = "/v1/artifacts/"
ROUTERS = (
    meta,
    auth,
    listings,
    offers,
    artifacts,
    orders,
    worker_router,
    jobs,
    leases,
    auditors_router,
    audits,
    faucet,
    relays,
)


class InternalError(Unavailable):
    """The node failed at this request; it is logged."""


def create(settings: Settings | None = None, limiter: RateLimiter | None = None) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    settings
        Settings of this process; read from the environment when left out.
    limiter
        Counts requests; shared through the broker when left out.
    """
    chosen = settings or load()
    market = open_market(chosen)
    app = FastAPI(
        title="Gridlease market",
        version="1",
        summary="Offers, orders, leases, logs and artifacts of a GPU rental market.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.market = market
    app.state.limiter = limiter or SharedRateLimiter(chosen.broker_url)
    app.state.offers = OfferIndex(market, now)
    api = APIRouter(prefix="/v1")
    for router in ROUTERS:
        api.include_router(router)
    api.add_api_route("/docs", _docs, include_in_schema=False)
    app.include_router(api)
    app.add_api_route("/", _home, include_in_schema=False)
    app.add_middleware(BodyLimit, max_bytes=chosen.max_body_bytes, besides=_UPLOADS)
    app.add_exception_handler(MarketError, _market_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    market: Market = app.state.market
    limiter = app.state.limiter
    if isinstance(limiter, SharedRateLimiter):
        await limiter.close()
    await market.close()


async def _docs() -> HTMLResponse:
    return HTMLResponse(PAGE)


async def _home() -> RedirectResponse:
    return RedirectResponse("/v1/docs")


def _answer(error: MarketError) -> JSONResponse:
    headers = {}
    retry_after = error.details.get("retry_after_s")
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _market_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MarketError), error
    return _answer(error)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError), error
    # Only where and what, never the value: it may be a key.
    problems = [
        {"at": ".".join(str(part) for part in found["loc"]), "problem": found["msg"]}
        for found in error.errors()[:20]
    ]
    first = problems[0] if problems else {"at": "body", "problem": "unreadable"}
    return _answer(RequestInvalid(f"{first['at']}: {first['problem']}", problems=problems))


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), error
    known: dict[int, type[MarketError]] = {
        404: RouteUnknown,
        405: MethodRefused,
        413: BodyTooLarge,
    }
    kind = known.get(error.status_code)
    return _answer(kind() if kind else RequestInvalid(str(error.detail)))


async def _failed(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(InternalError())
