"""Limits on how often anybody may ask.

Covered: request floods from one account or address.
Not covered: floods from many addresses, for which a proxy stands in front; sizes of bodies, which
the application limits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from marketplace.errors import RateLimited

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
