"""The sweeper: tells Celery of due items, again and again until they are done.

It runs outside Celery, because a broker may lose messages and a worker may fall asleep without
dying. It also orders the upkeep, so that no clock inside Celery is needed.
"""

from __future__ import annotations

import asyncio
import logging

from celery import Celery
from kombu.exceptions import OperationalError

from marketplace.clock import now
from marketplace.context import Market
from marketplace.outbox import chores, repository
from marketplace.outbox.tasks import DELIVER, queue_of

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 4.0
"""An item that nobody took is announced again after this time, in seconds."""
MAX_AT_ONCE = 200


async def sweep(market: Market, app: Celery) -> int:
    """Announce what is due; return how many items.

    Raises
    ------
    kombu.exceptions.OperationalError
        The broker does not answer; the items are announced by a later sweep.
    """
    moment = now()
    async with market.database.writing() as session:
        await chores.order(session, moment)
        due = await repository.announce(session, moment, AGAIN_AFTER_S, MAX_AT_ONCE)
    for item_id, kind in due:
        await asyncio.to_thread(_announce, app, item_id, kind)
    return len(due)


def _announce(app: Celery, item_id: str, kind: str) -> None:
    app.send_task(DELIVER, args=[item_id], queue=queue_of(kind), retry=False)


async def run(market: Market, app: Celery, stop: asyncio.Event) -> None:
    """Sweep until told to stop; outages of the broker are waited out."""
    while not stop.is_set():
        try:
            await sweep(market, app)
        except (OperationalError, OSError) as error:
            log.warning("the broker does not answer: %s", error)
        try:
            await asyncio.wait_for(stop.wait(), market.settings.sweep_interval_s)
        except TimeoutError:
            continue
