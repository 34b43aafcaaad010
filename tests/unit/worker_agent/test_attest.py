"""What a machine is measured for again, and what is taken from the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
