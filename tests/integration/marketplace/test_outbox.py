"""The outbox with a real queue: killed workers and a killed broker change nothing in the effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from client_sdk.chain.wallet import save_key_file
from marketplace.clock import now
from marketplace.faucet import service as faucet
from marketplace.models import OutboxItem
from tests.support.delivery import Worker, sweeping, until, write_config
from tests.support.market import key
from tests.support.market_story import DEPLOYER, Story


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
    save_key_file(tmp_path / "faucet.key", DEPLOYER)
    node = await open_node(
        "node",
        broker_url=valkey.url,
        faucet_key_file=tmp_path / "faucet.key",
        outbox_lock_s=3.0,
        sweep_interval_s=0.2,
    )
    worker = workers(await write_config(node, tmp_path / "config.json"))
    addresses = [key(4_000 + number).address for number in range(4)]
    async with sweeping(node, story):
        for round_number, address in enumerate(addresses):
            async with node.database.writing() as session:
                await faucet.request(session, address, now())
            if worker.process is None:
                worker.start()
            if round_number < 2:
                await until(lambda: _claimed(node))
                worker.kill()
            if round_number == 1:
                valkey.kill()
                valkey.start()
        await until(lambda: _all_done(node))
    for address in addresses:
        balance = story.chain.token_balance(story.token, address)
        assert balance == node.settings.faucet_tokens, "paid exactly once"
        assert story.chain.balance(address) == node.settings.faucet_wei


async def _claimed(market: Any) -> bool:
    """Whether a worker is in the middle of a request, or past it."""
    return any(item.lock_token or item.result for item in await items(market))


async def _all_done(market: Any) -> bool:
    return all(item.state == "done" for item in await items(market))
