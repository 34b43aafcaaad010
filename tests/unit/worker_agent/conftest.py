"""Fakes joined into a small market, turned by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import Behaviour, FakeSandbox
from worker_agent import inputs as inputs_module
from worker_agent.hardware.nvml import GpuInventory
from worker_agent.records import LeasePhase
from worker_agent.stages import accept as accept_module

PATIENCE_S = 60.0


@dataclass
class World:
    """Chain, market and a provider on fakes."""

    folder: Path
    chain: FakeChain
    market: FakeMarket
    sandbox: FakeSandbox
    provider: parties.Provider

    def restart(self, **changes: Any) -> None:
        """The provider's process was killed and is started again."""
        self.provider.runners.cancel_all("killed")
        self.provider.context.journal.close()
        sender, owner = self.provider.context.sender, self.provider.context.owner_sender
        self.provider = parties.make_provider(
            self.folder / "provider", self.chain, self.market, self.sandbox, **changes
        )
        # The senders' journals are files of their own: they survive too.
        self.provider.context.sender.sent = sender.sent
        self.provider.context.owner_sender.sent = owner.sent

    def run_until(
        self, condition: Callable[[], object], each: Callable[[], None] | None = None
    ) -> None:
        """Turn all loops, a block a turn, until the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.describe()
            self.chain.mine()
            self.market.dispatch()
            self.provider.turn()
            if each is not None:
                each()
            # Attempts run in their own thread: give it a turn.
            self.provider.leases.wait_for(lambda: False, 0.01)

    def start_lease(self, job: parties.Job, **changes: Any) -> bytes:
        """Order, terms and opening."""
        order_id = parties.place(self.provider, self.market, job, **changes)
        self.provider.orders.tick()
        assert self.market.orders[order_id]["state"] == "terms_signed", self.market.orders[order_id]
        return parties.open_lease(self.chain, self.market, order_id)

    def closed(self) -> bool:
        return self.provider.record.phase is LeasePhase.CLOSED

    def describe(self) -> str:
        record = self.provider.record
        lease = self.chain.state.leases.get(record.digest)
        rows = len(self.provider.leases.segments(record.lease_id))
        return f"{record.phase} {record.verdict} {rows} segments, {lease}"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    facts = SimpleNamespace(
        inventory=GpuInventory(driver="", gpus=()),
        cpu_name="fake",
        cpu_count=2,
        memory_bytes=8 << 30,
        disk_bytes=8 << 30,
        gpu_name="",
        device="cpu",
        offered_gpus=(),
    )
    monkeypatch.setattr(accept_module, "read_facts", lambda _folder: facts)
    assert inputs_module  # the real checks run, on fake bytes
    chain = FakeChain(parties.ARBITER.address)
    market = FakeMarket(chain)
    sandbox = FakeSandbox(Behaviour())
    provider = parties.make_provider(tmp_path / "provider", chain, market, sandbox)
    made = World(tmp_path, chain, market, sandbox, provider)
    yield made
    made.provider.runners.cancel_all("the test is over")
    made.provider.context.journal.close()
