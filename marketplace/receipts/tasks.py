"""Writes the receipt of a closed lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.clock import now
from marketplace.context import Market
from marketplace.outbox.service import Done, Handler, Outcome
from marketplace.receipts import service


def handler(market: Market) -> Handler:
    """Return the handler of receipts."""

    async def write(payload: Mapping[str, Any]) -> Outcome:
        async with market.database.writing() as session:
            written = await service.write(
                session, market, payload["lease_id"], payload["block_hash"], now()
            )
        return Done({"written": written})

    return write
