"""Draws the audits of a confirmed commit, once the beacon has spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import BeaconUnavailable
from marketplace.audits import assignments
from marketplace.clock import now
from marketplace.context import Market
from marketplace.outbox.service import Again, Done, GivenUp, Handler, Outcome

_BEACON_PAUSE_S = 0.5


def handler(market: Market, chain: Chain) -> Handler:
    """Return the handler of draws."""

    async def draw(payload: Mapping[str, Any]) -> Outcome:
        try:
            beacon = await asyncio.to_thread(chain.beacon, payload["block_number"])
        except BeaconUnavailable as error:
            return GivenUp(str(error))
        if beacon is None:
            return Again(_BEACON_PAUSE_S)
        place = payload["block_number"], payload["log_index"]
        async with market.database.writing() as session:
            drawn = await assignments.draw(
                session, market, place, payload["block_hash"], beacon, now()
            )
        return Done({"drawn": drawn})

    return draw
