"""The processes that deliver a node's outbox, to be killed: a Celery worker, and who feeds it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command

from marketplace import schema
from marketplace.context import Market
from marketplace.outbox.sweep import Sweeper
from marketplace.outbox.tasks import build_celery
from tests.support.market_story import Story

ROOT = Path(__file__).parents[2]
DEADLINE_S = 150


class Worker:
    """A Celery worker process of the node's own command."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = "from marketplace.cli import app; app()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "celery", "--config", str(self.config)],
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


async def write_config(market: Market, path: Path) -> Path:
    """What a process of the node needs: its settings, and a database that says it is migrated."""
    config = schema.configuration(market.settings.database_url)
    await asyncio.to_thread(command.stamp, config, "head")
    path.write_text(json.dumps(market.settings.model_dump(mode="json")))
    return path


@asynccontextmanager
async def sweeping(market: Market, story: Story) -> AsyncIterator[None]:
    """Announce what is due, and mine blocks: confirmations need some on top."""
    stop = asyncio.Event()

    async def mine() -> None:
        while not stop.is_set():
            await asyncio.to_thread(story.mine)
            await asyncio.sleep(0.5)

    running = asyncio.gather(Sweeper(market, build_celery(market.settings)).run(stop), mine())
    try:
        yield
    finally:
        stop.set()
        await running


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that the processes do."""

    async def wait() -> None:
        while not await condition():
            await asyncio.sleep(0.1)

    await asyncio.wait_for(wait(), DEADLINE_S)
