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


class Sweeper:
    """Announces what is due in one market."""

    def __init__(self, market: Market, app: Celery) -> None:
        self._market = market
        self._app = app
        self._slot = -1

    async def sweep(self) -> int:
        """Announce what is due; return how many items.

        Raises
        ------
        kombu.exceptions.OperationalError
            The broker does not answer; the items are announced by a later sweep.
        """
        moment = now()
        # Looking costs nobody anything; writing holds up other writers of a SQLite file.
        async with self._market.database.reading() as session:
            waiting = await repository.waits(session, moment, AGAIN_AFTER_S)
        slot = chores.slot_of(moment)
        if slot == self._slot and not waiting:
            return 0
        async with self._market.database.writing() as session:
            if slot != self._slot:
                await chores.order(session, self._market, moment)
            due = await repository.announce(session, moment, AGAIN_AFTER_S, MAX_AT_ONCE)
        self._slot = slot
        for item_id, kind in due:
            await asyncio.to_thread(self._announce, item_id, kind)
        return len(due)

    def _announce(self, item_id: str, kind: str) -> None:
        self._app.send_task(DELIVER, args=[item_id], queue=queue_of(kind), retry=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until told to stop; outages of the broker are waited out."""
        while not stop.is_set():
            try:
                await self.sweep()
            except (OperationalError, OSError) as error:
                log.warning("the broker does not answer: %s", error)
            try:
                await asyncio.wait_for(stop.wait(), self._market.settings.sweep_interval_s)
            except TimeoutError:
                continue
