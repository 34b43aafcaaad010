"""Upkeep: what ends by time alone, and what is due on the chain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.audits import repository as audit_rows
from marketplace.auth import repository as auth_rows
from marketplace.clock import now
from marketplace.context import Market
from marketplace.leases import relay as lease_relay
from marketplace.offers import service as offers
from marketplace.orders import service as orders
from marketplace.outbox import repository
from marketplace.outbox.kinds import (
    ARTIFACT_CHECK,
    ARTIFACT_COLLECT,
    ASKED,
    CHORES,
    FAUCET,
    RELAY_COLLECT,
    RELAY_MAINTAIN,
    UNASKED,
)
from marketplace.outbox.service import Done, Handler, Outcome

EVERY_S = 2
_COLLECT_EVERY_S = 600
_FORGET_AFTER = timedelta(days=1)


async def order(session: AsyncSession, market: Market, moment: datetime) -> None:
    """Order the upkeep of the present slot of time, once."""
    for kind in (CHORES, RELAY_MAINTAIN):
        await repository.add(session, kind, f"{kind}:{slot_of(moment)}", {}, now=moment)
    key = f"{ARTIFACT_COLLECT}:{int(moment.timestamp()) // _COLLECT_EVERY_S}"
    await repository.add(session, ARTIFACT_COLLECT, key, {}, now=moment)
    if any(rates.min_collect is not None for rates in market.settings.relay.values()):
        slot = int(moment.timestamp()) // market.settings.collect_interval_s
        payload = {"slot": slot}
        await repository.add(session, RELAY_COLLECT, f"{RELAY_COLLECT}:{slot}", payload, now=moment)


def slot_of(moment: datetime) -> int:
    """Return the number of the slot of time that a moment lies in."""
    return int(moment.timestamp()) // EVERY_S


def handler(market: Market) -> Handler:
    """Return the handler of upkeep."""

    async def run(_payload: Mapping[str, Any]) -> Outcome:
        moment = now()
        # One transaction each: a long one would hold up everybody else's writes.
        async with market.database.writing() as session:
            expired_offers = await offers.expire(session, market, moment)
        async with market.database.writing() as session:
            ended_orders = await orders.expire(session, market, moment)
        async with market.database.writing() as session:
            expired_audits = await audit_rows.expire(session, market.scope, moment)
            await auth_rows.drop_expired(session, moment)
            await repository.forget(
                session, [CHORES, RELAY_MAINTAIN], moment - timedelta(minutes=10)
            )
            daily = [ARTIFACT_CHECK, ARTIFACT_COLLECT, FAUCET, RELAY_COLLECT, *ASKED]
            await repository.forget(session, daily, moment - _FORGET_AFTER)
            await repository.forget(session, [*UNASKED], moment - lease_relay.FORGET_AFTER)
        async with market.database.writing() as session:
            due = await lease_relay.order_due(session, market, moment)
        market.uploads.sweep()
        return Done(
            {
                "expired_offers": expired_offers,
                "ended_orders": ended_orders,
                "expired_audits": expired_audits,
                "due_on_chain": due,
            }
        )

    return run
