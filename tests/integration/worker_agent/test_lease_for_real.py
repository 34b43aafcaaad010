"""Provider, auditor and arbiter with the real sandbox and the real training runtime.

Only chain and market are fakes, so that time is ours: windows are long, and jumped over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.events import CloseCause, Closed, Ruled
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST
from worker_agent.arbiter import Arbiter
from worker_agent.audit import Auditor
from worker_agent.examine import Examiner
from worker_agent.jobs import Jobs
from worker_agent.records import LeasePhase
from worker_agent.sandbox.base import Sandbox
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings
from worker_agent.settings import Cheat, Role
from worker_agent.stages import driver

LIMIT_S = 240.0
WINDOW_S = 100_000
CODE = """
import torch
from gridlease import training

training.begin()
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
run = training.Run(model=model, optimizer=optimizer)
data = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
for indices in run.batches(len(data), batch_size=16):
    loss = ((model(data[indices]) - data[indices].sum(1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.record(loss=loss)
run.save_output("model/weights.safetensors", dict(model.state_dict()))
print("done")
"""
# Each clock that a training script is likely to look at changes each update.
CLOCKED = CODE.replace("import torch\n", "import datetime, time, torch\n", 1).replace(
    "    optimizer.zero_grad()\n",
    """
    moment = time.time() + time.perf_counter() + datetime.datetime.now().timestamp()
    loss = loss * (1 + moment % 7 * 1e-3) + time.localtime().tm_sec * model[0].bias.sum() * 1e-4
    optimizer.zero_grad()
""",
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    settings = SandboxSettings(state_dir=tmp_path_factory.mktemp("sandbox"), allow_weak=True)
    made = detect(settings)
    yield made
    made.close()


class World:
    """One market with a real machine under it."""

    def __init__(self, folder: Path, sandbox: Sandbox, code: str = CODE, **changes: Any) -> None:
        self.chain = FakeChain(parties.ARBITER.address)
        self.market = FakeMarket(self.chain, audit_samples=4)
        times = {"window_s": WINDOW_S, "dispute_timeout_s": WINDOW_S}
        self.provider = parties.make_provider(
            folder / "provider", self.chain, self.market, sandbox, **times, **changes
        )
        self.examiners: list[Examiner] = []
        for kind, role, key in (
            (Auditor, Role.AUDITOR, parties.AUDITOR),
            (Arbiter, Role.ARBITER, parties.ARBITER),
        ):
            own = folder / role.value
            settings = parties.make_settings(own, role)
            context = parties.make_context(own, self.chain, self.market, key, settings)
            self.examiners.append(kind(context, Jobs(sandbox), CLASS_DIGEST))
        self.turn()
        job = parties.make_job(folder, self.market, code, segment_steps=5, max_segments=4)
        order_id = parties.place(self.provider, self.market, job)
        self.provider.orders.tick()
        assert self.market.orders[order_id]["state"] == "terms_signed", self.market.orders
        self.lease_id = parties.open_lease(self.chain, self.market, order_id)

    def turn(self) -> None:
        self.chain.mine()
        self.market.dispatch()
        self.provider.turn()
        for examiner in self.examiners:
            examiner.tick()
        self.provider.leases.wait_for(lambda: False, 0.1)

    def run_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, self.provider.record
            self.turn()

    def events(self, kind: type) -> list[Any]:
        found = self.chain.events(0, self.chain.head(), topic=self.lease_id)
        return [event for event in found if isinstance(event, kind)]

    def close(self) -> None:
        self.provider.runners.cancel_all("over")
        self.provider.context.journal.close()
        for examiner in self.examiners:
            examiner.close()
            examiner.context.journal.close()


@pytest.fixture
def make_world(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., World]]:
    # The class of this machine is measured in tests of its own.
    monkeypatch.setattr(driver, "accept", lambda _attempt, _document: None)
    made: list[World] = []

    def make(**changes: Any) -> World:
        made.append(World(tmp_path, sandbox, **changes))
        return made[-1]

    yield make
    for world in made:
        world.close()


def test_when_the_training_is_honest_then_every_audited_segment_agrees_bit_for_bit(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.run_until(lambda: world.provider.record.phase is LeasePhase.ENDED)
    assert world.provider.record.verdict == "completed"
    world.run_until(
        lambda: len([r for r in world.market.audits.values() if r["state"] == "agreed"]) == 4
    )
    world.chain.mine(1, seconds=WINDOW_S)
    world.run_until(lambda: world.provider.record.phase is LeasePhase.CLOSED)
    (closed,) = world.events(Closed)
    assert (closed.cause, closed.paid_segments) == (CloseCause.COMPLETED, 4)
    kinds = {item["kind"] for item in world.market.listed[world.lease_id.hex()]}
    assert kinds == {"checkpoint", "output", "trace"}


def test_when_the_code_reads_the_clock_then_audits_read_the_same(
    make_world: Callable[..., World],
) -> None:
    world = make_world(code=CLOCKED)
    world.run_until(lambda: world.provider.record.phase is LeasePhase.ENDED)
    assert world.provider.record.verdict == "completed"
    world.run_until(lambda: all(r["outcome"] for r in world.market.audits.values()))
    # Without a fixed clock each audit, being later, gives other bits.
    assert [r["state"] for r in world.market.audits.values()] == ["agreed"] * 4


def test_when_the_worker_makes_up_states_then_re_execution_proves_it(
    make_world: Callable[..., World],
) -> None:
    world = make_world(cheat=Cheat.SKIP_STEPS)
    world.run_until(lambda: world.events(Ruled))
    (ruled,) = world.events(Ruled)
    assert ruled.fraud
    (closed,) = world.events(Closed)
    assert (closed.cause, closed.paid_segments) == (CloseCause.FRAUD, 0)
    assert world.chain.state.slashed == world.provider.record.parsed_terms.bond
