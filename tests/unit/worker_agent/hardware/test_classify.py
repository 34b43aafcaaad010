"""The hardware class, with a sandbox whose probe says what the test wants."""

from __future__ import annotations

import json
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import pytest

from client_sdk.protocol.machine import Isolation
from worker_agent.hardware.classify import HardwareClass, measure_class, parse_report, probe_spec
from worker_agent.hardware.document import machine_document
from worker_agent.hardware.errors import ProbeFailed, UnstableHardware
from worker_agent.hardware.facts import MachineFacts
from worker_agent.hardware.nvml import Gpu, GpuInventory
from worker_agent.sandbox.base import GIB, Exit, ExitReason, SandboxSpec
from worker_agent.sandbox.errors import StartFailed
from worker_agent.sandbox.mounts import runtime_mounts

DIGEST = "0x" + "ab" * 32
FACTS = MachineFacts(
    inventory=GpuInventory(),
    cpu_name="A processor",
    cpu_count=4,
    memory_bytes=8 * GIB + 5,
    disk_bytes=100 * GIB + 7,
)
GPU = Gpu(name="NVIDIA H200", memory_bytes=141 * GIB, uuid="u", device_node="/dev/nvidia0")


def report(digest: str = DIGEST, **changes: Any) -> bytes:
    values = {"digest": digest, "torch": "2.13.0+cpu", "seconds": 1.5, **changes}
    return b"a warning\n" + json.dumps(values).encode() + b"\n"


class FakeJob:
    def __init__(self, ended: Exit | None, output: bytes) -> None:
        self.ended = ended
        self.output = output

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        return self.ended

    def output_tail(self) -> bytes:
        return self.output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


class FakeSandbox:
    def __init__(self, *outputs: bytes, ended: Exit | None = None, fails: bool = False) -> None:
        self.outputs = list(outputs)
        self.ended = ended or Exit(ExitReason.EXITED, 0)
        self.fails = fails
        self.specs: list[SandboxSpec] = []

    def start(self, spec: SandboxSpec, on_output: object = None) -> FakeJob:
        if self.fails:
            raise StartFailed("no")
        self.specs.append(spec)
        return FakeJob(self.ended, self.outputs.pop(0))


def measure(sandbox: Any) -> HardwareClass:
    return measure_class(sandbox, FACTS)


def test_when_two_runs_agree_then_their_digest_is_the_class() -> None:
    sandbox = FakeSandbox(report(seconds=2.0), report())
    assert measure(sandbox) == HardwareClass(
        digest=bytes.fromhex("ab" * 32), torch="2.13.0+cpu", device="cpu", threads=1, seconds=1.5
    )
    assert len(sandbox.specs) == 2


def test_when_two_runs_differ_then_the_machine_gets_no_class() -> None:
    other = "0x" + "cd" * 32
    with pytest.raises(UnstableHardware, match="may not list") as caught:
        measure(FakeSandbox(report(), report(other)))
    assert caught.value.digests == [DIGEST, other]


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        report("0x12"),
        report("zz" * 32),
        report(torch=2),
        report(seconds="1"),
    ],
)
def test_when_the_report_is_none_then_the_probe_failed(output: bytes) -> None:
    with pytest.raises(ProbeFailed):
        parse_report(output)


def test_when_the_probe_ends_badly_then_its_words_come_back() -> None:
    ended = Exit(ExitReason.EXITED, 1)
    with pytest.raises(ProbeFailed, match="ImportError"):
        measure(FakeSandbox(b"ImportError: torch", ended=ended))
    with pytest.raises(ProbeFailed, match="could not run: no"):
        measure(FakeSandbox(fails=True))


def test_when_there_are_gpus_then_the_probe_gets_one_and_runs_on_it() -> None:
    facts = replace(FACTS, inventory=GpuInventory(driver="1", gpus=(GPU, GPU)))
    spec = probe_spec(facts, 2, runtime_mounts())
    assert spec.gpus == ("/dev/nvidia0",)
    assert list(spec.argv)[-4:] == ["--threads", "2", "--device", "cuda"]
    assert spec.limits.memory_bytes == facts.memory_bytes


def test_when_the_machine_is_described_then_free_disk_does_not_change_it() -> None:
    measured = measure(FakeSandbox(report(), report()))

    def describe(facts: MachineFacts) -> bytes:
        key = b"k" * 32
        document = machine_document(facts, measured, Isolation.STRONG, encryption_key=key)
        assert document.disk_bytes == 48 * GIB
        assert document.memory_bytes == 7 * GIB
        return document.canonical()

    assert describe(FACTS) == describe(replace(FACTS, disk_bytes=FACTS.disk_bytes - GIB))


def test_when_the_machine_has_gpus_then_the_document_names_them() -> None:
    facts = replace(FACTS, inventory=GpuInventory(driver="580.95", gpus=(GPU, GPU)))
    measured = measure(FakeSandbox(report(), report()))
    document = machine_document(
        facts, measured, Isolation.WEAK, encryption_key=b"k" * 32, region="Zürich"
    )
    assert (document.gpu_name, document.gpu_count) == ("NVIDIA H200", 2)
    assert document.gpu_memory_bytes == 141 * GIB
    assert (document.driver, document.region) == ("580.95", "Z?rich")
