"""Reads stored artifacts back, and removes those that nobody needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.artifacts import service
from marketplace.clock import now
from marketplace.context import Market
from marketplace.outbox.service import Done, Handler, Outcome


def handler(market: Market) -> Handler:
    """Return the handler of artifact checks."""

    async def check(payload: Mapping[str, Any]) -> Outcome:
        return Done({"whole": await service.check(market, payload["hash"], now())})

    return check


def collector(market: Market) -> Handler:
    """Return the handler that removes artifacts."""

    async def collect(_payload: Mapping[str, Any]) -> Outcome:
        return Done({"removed": await service.collect(market, now())})

    return collect
