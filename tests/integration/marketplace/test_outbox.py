"""The outbox with a real queue: killed workers and a killed broker change nothing in the effect."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.wallet import save_key_file
from marketplace.clock import now
from marketplace.faucet import service as faucet
from marketplace.models import OutboxItem
from marketplace.outbox.sweep import Sweeper
from marketplace.outbox.tasks import build_celery
from tests.support.market import key
from tests.support.market_story import DEPLOYER, Story

ROOT = Path(__file__).parents[3]
DEADLINE_S = 150


class Worker:
    """A Celery worker process of the node's own command."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = "from marketplace.cli import app; app()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "celery", "--config", str(self.config)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None


@pytest.fixture
def workers() -> Iterator[Callable[[Path], Worker]]:
    started: list[Worker] = []

    def make(config: Path) -> Worker:
        started.append(Worker(config))
        return started[-1]

    yield make
    for worker in started:
        worker.kill()


async def items(market: Any) -> list[OutboxItem]:
    async with market.database.reading() as session:
        rows = await session.scalars(select(OutboxItem).where(OutboxItem.kind == "relay.faucet"))
        return list(rows)


async def test_when_worker_and_broker_are_killed_then_each_effect_comes_once(
    story: Story,
    open_node: Callable[..., Any],
    valkey: Any,
    tmp_path: Path,
    workers: Callable[[Path], Worker],
) -> None:
    from marketplace import schema

    save_key_file(tmp_path / "faucet.key", DEPLOYER)
    node = await open_node(
        "node",
        broker_url=valkey.url,
        faucet_key_file=tmp_path / "faucet.key",
        outbox_lock_s=3.0,
        sweep_interval_s=0.2,
    )
    await asyncio.to_thread(_stamp, schema, node.settings.database_url)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(node.settings.model_dump(mode="json")))
    addresses = [key(4_000 + number).address for number in range(4)]
    sweeper = Sweeper(node, build_celery(node.settings))
    stop = asyncio.Event()
    sweeping = asyncio.create_task(sweeper.run(stop))
    mining = asyncio.create_task(_mine(story, stop))
    worker = workers(config)
    try:
        for round_number, address in enumerate(addresses):
            async with node.database.writing() as session:
                await faucet.request(session, address, now())
            if worker.process is None:
                worker.start()
            if round_number < 2:
                await _until(lambda: _claimed(node))
                worker.kill()
            if round_number == 1:
                valkey.kill()
                valkey.start()
        await _until(lambda: _all_done(node))
    finally:
        stop.set()
        await asyncio.gather(sweeping, mining)
    for address in addresses:
        balance = story.chain.token_balance(story.token, address)
        assert balance == node.settings.faucet_tokens, "paid exactly once"
        assert story.chain.balance(address) == node.settings.faucet_wei


def _stamp(schema: Any, url: str) -> None:
    from alembic import command

    command.stamp(schema.configuration(url), "head")


async def _mine(story: Story, stop: asyncio.Event) -> None:
    """Confirmations need blocks on top."""
    while not stop.is_set():
        await asyncio.to_thread(story.mine)
        await asyncio.sleep(0.5)


async def _claimed(market: Any) -> bool:
    """Whether a worker is in the middle of a request, or past it."""
    return any(item.lock_token or item.result for item in await items(market))


async def _all_done(market: Any) -> bool:
    return all(item.state == "done" for item in await items(market))


async def _until(condition: Callable[[], Any]) -> None:
    async def wait() -> None:
        while not await condition():
            await asyncio.sleep(0.1)

    await asyncio.wait_for(wait(), DEADLINE_S)
