"""The Celery side of the outbox: tasks that only dispatch, and the process they run in.

A task carries nothing but an item's id. It may be lost, doubled or late: the outbox in the database
is the truth, and the sweeper tells of an item again while nothing happens.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from celery import Celery

from marketplace.artifacts import tasks as artifact_tasks
from marketplace.audits import tasks as audit_tasks
from marketplace.chain import open_chain
from marketplace.context import Market, open_market
from marketplace.faucet import tasks as faucet_tasks
from marketplace.leases import tasks as lease_tasks
from marketplace.outbox import chores
from marketplace.outbox.kinds import (
    ARTIFACT_CHECK,
    ARTIFACT_COLLECT,
    AUDIT_DRAW,
    CHORES,
    FAUCET,
    RECEIPT_WRITE,
    RELAY_MAINTAIN,
    RELAYED,
)
from marketplace.outbox.relay import Relay, maintenance
from marketplace.outbox.service import Handler, deliver
from marketplace.receipts import tasks as receipt_tasks
from marketplace.relays import tasks as relay_tasks
from marketplace.settings import Settings

DELIVER = "gridlease.deliver"
QUEUE = "gridlease"
RELAY_QUEUE = "gridlease-relay"
"""Transactions, taken by the one machine that holds the relayer's journal."""
_SOFT_LIMIT_S = 300
T = TypeVar("T")


class DeliveryProcess:
    """What a Celery worker process holds: one event loop in a thread, and the handlers.

    Built at the first task, in the process that runs it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._parts: tuple[asyncio.AbstractEventLoop, Market, Mapping[str, Handler]] | None = None

    def deliver(self, item_id: str) -> str | None:
        """Deliver one item; return its kind, or nothing when there was nothing to do."""
        loop, market, handlers = self._open()
        return _run(loop, deliver(market, handlers, item_id))

    def _open(self) -> tuple[asyncio.AbstractEventLoop, Market, Mapping[str, Handler]]:
        with self._lock:
            if self._parts is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="outbox-loop", daemon=True).start()
                market = open_market(self._settings)
                self._parts = loop, market, build_handlers(market)
            return self._parts


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, loop)
    return future.result(_SOFT_LIMIT_S)


def build_handlers(market: Market) -> Mapping[str, Handler]:
    """Return the handler of every kind of item."""
    settings, chain = market.settings, open_chain(market)
    relayer = Relay(market, chain, settings.relayer_key_file)
    faucet = Relay(market, chain, settings.faucet_key_file)
    return {
        ARTIFACT_CHECK: artifact_tasks.handler(market),
        ARTIFACT_COLLECT: artifact_tasks.collector(market),
        AUDIT_DRAW: audit_tasks.handler(market, chain),
        RECEIPT_WRITE: receipt_tasks.handler(market),
        CHORES: chores.handler(market),
        FAUCET: faucet_tasks.handler(market, faucet),
        RELAY_MAINTAIN: maintenance(relayer, faucet),
        **lease_tasks.handlers(market, relayer),
        **relay_tasks.handlers(market, chain, relayer),
    }


def build_celery(settings: Settings) -> Celery:
    """Return the Celery application; building it connects to nothing."""
    app = Celery("gridlease", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        # Longer than any task: a task still running must not be handed out again.
        broker_transport_options={
            "visibility_timeout": _SOFT_LIMIT_S * 4,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        timezone="UTC",
        enable_utc=True,
    )
    process = DeliveryProcess(settings)

    @app.task(name=DELIVER)  # type: ignore[untyped-decorator]  # Celery has no types
    def deliver_item(item_id: str) -> str | None:
        return process.deliver(item_id)

    return app


def queue_of(kind: str) -> str:
    """Return the queue that items of this kind go to."""
    return RELAY_QUEUE if kind in RELAYED else QUEUE
