"""What a machine is measured for again, and what is taken from the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import FakeSandbox
from worker_agent import attest
from worker_agent.hardware.classify import HardwareClass
from worker_agent.hardware.facts import MachineFacts
from worker_agent.hardware.nvml import GpuInventory

FACTS = MachineFacts(
    inventory=GpuInventory(driver="", gpus=()),
    cpu_name="fake",
    cpu_count=2,
    memory_bytes=8 << 30,
    disk_bytes=8 << 30,
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Digests that measuring gave, each another one."""
    digests: list[bytes] = []

    def measure(*_: Any) -> HardwareClass:
        digests.append(bytes([len(digests) + 1]) * 32)
        return HardwareClass(digest=digests[-1], torch="2.0", device="cpu", threads=1, seconds=1.0)

    monkeypatch.setattr(attest, "read_facts", lambda _folder: FACTS)
    monkeypatch.setattr(attest, "measure_class", measure)
    return digests


@pytest.fixture(params=[False, True], ids=["alone", "with others"])
def describe(request: Any, tmp_path: Path) -> Iterator[Callable[[], bytes]]:
    """Starts the daemon and returns the class that it has then."""
    shared = tmp_path / "machine.json" if request.param else None
    settings = parties.make_settings(tmp_path, machine_file=shared)
    chain = FakeChain(parties.ARBITER.address)
    context = parties.make_context(tmp_path, chain, FakeMarket(chain), parties.OPERATOR, settings)
    yield lambda: attest.describe_machine(context, FakeSandbox())[1].hardware_class
    context.journal.close()


def test_when_the_machine_is_the_same_then_it_is_measured_once(
    measured: list[bytes], describe: Callable[[], bytes]
) -> None:
    assert describe() == describe() == measured[0]
    assert len(measured) == 1


def test_when_the_program_is_of_another_release_then_the_class_is_measured_again(
    measured: list[bytes], describe: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = describe()
    monkeypatch.setattr(attest, "program_digest", lambda: bytes(32))
    assert describe() == measured[1] != before


def register(world: Any) -> list[str]:
    """Register once more, with a sender that remembers; returns what it has ever sent, by key."""
    attest.register(world.provider.context, world.provider.document)
    return list(world.provider.context.owner_sender.sent)


def test_when_the_stake_is_lost_again_and_again_then_it_is_topped_up_each_time(world: Any) -> None:
    stakes = world.chain.state.stakes
    ((account, stake),) = stakes.items()
    sent = []
    for lost in (stake.total, stake.total, 1, 1):  # as much as before: by a slash, or a claim
        stakes[account] = replace(stake, total=stake.total - lost)
        for _ in range(2):  # and where nothing is lost, nothing is sent
            sent = register(world)
            assert stakes[account] == stake
    assert [key.partition(":")[0] for key in sent] == ["list", *["approve-stake", "stake"] * 5]


def test_when_others_stake_or_the_owner_does_something_else_then_the_key_of_a_top_up_stays(
    world: Any,
) -> None:
    chain, owner = world.chain, parties.OWNER.address
    stake = chain.state.stakes[owner.lower()]
    chain.execute(chain.escrow.stake(parties.TOKEN.address, 1), parties.account("other").address)
    chain.execute(chain.escrow.stake("0x" + "71" * 20, 1), owner)
    chain.execute(chain.escrow.unbond(parties.TOKEN.address, 1), owner)
    chain.state.stakes[owner.lower()] = replace(stake, total=0)
    # Else a top-up that a crash cut short would not be known again.
    assert register(world)[-1] == f"stake:{parties.TOKEN.address}:1:{stake.total}"
