"""Limits on what anybody may send: request rates and sizes of bodies.

Covered: request floods from one account or address; bodies over the limit, whether they say so or
not. The framework's own limit answers in plain text; this one as every other error of the API.
Not covered: floods from many addresses, for which a proxy stands in front.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketplace.errors import BodyTooLarge, RateLimited

log = logging.getLogger(__name__)

_MAX_KEYS = 100_000


class RateLimiter(Protocol):
    """Counts requests."""

    async def hit(self, key: str, limit: int, window_s: int) -> None:
        """Count one request; raise `RateLimited` when the key is over its limit."""


class LocalRateLimiter:
    """Fixed windows counted in this process.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, int, int], int] = {}

    async def hit(self, key: str, limit: int, window_s: int) -> None:
        """Count one request; raise `RateLimited` when the key is over its limit."""
        moment = self._clock()
        slot = (key, window_s, int(moment // window_s))
        if len(self._counts) >= _MAX_KEYS:
            # Old windows are worth nothing; forgetting live ones too only forgives, once.
            self._counts = {s: n for s, n in self._counts.items() if s[2] == slot[2]}
            if len(self._counts) >= _MAX_KEYS:
                self._counts.clear()
        count = self._counts.get(slot, 0) + 1
        self._counts[slot] = count
        if count > limit:
            raise RateLimited(retry_after_s=max(1, int(window_s - moment % window_s)))


class SharedRateLimiter:
    """Fixed windows counted in Redis or Valkey, for many API processes.

    Falls back to counting in this process while the server does not answer: a limit that is too
    generous for a while is better than an API that is down.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._redis: Redis = Redis.from_url(
            socket_url(url), socket_timeout=0.2, socket_connect_timeout=0.2
        )
        self._clock = clock
        self._local = LocalRateLimiter()
        self._retry_at = 0.0

    async def hit(self, key: str, limit: int, window_s: int) -> None:
        """Count one request; raise `RateLimited` when the key is over its limit."""
        moment = self._clock()
        if moment < self._retry_at:
            await self._local.hit(key, limit, window_s)
            return
        name = f"gridlease:rate:{key}:{window_s}:{int(moment // window_s)}"
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.incr(name)
                pipe.expire(name, window_s + 1)
                count, _ = await pipe.execute()
        except (RedisError, OSError):
            self._retry_at = moment + 5
            log.warning("rate limits are counted locally: the broker does not answer")
            await self._local.hit(key, limit, window_s)
            return
        if count > limit:
            raise RateLimited(retry_after_s=max(1, int(window_s - moment % window_s)))

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


def socket_url(url: str) -> str:
    """Return a broker URL as redis-py writes it (Celery writes ``redis+socket://``)."""
    return "unix://" + url.removeprefix("redis+socket://") if "+socket" in url else url


class BodyLimit:
    """ASGI middleware: refuses bodies that are too large.

    Parameters
    ----------
    max_bytes
        Largest accepted body.
    besides
        Start of the paths that have limits of their own.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, besides: str) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.besides = besides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(self.besides):
            await self.app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                # Of this kind, because the framework turns others into a malformed body.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            error = BodyTooLarge(f"The body is over {self.max_bytes} bytes.")
            await JSONResponse(error.body(), status_code=error.status)(scope, receive, send)
            return
        await self.app(scope, counted, send)
