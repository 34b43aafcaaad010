"""Processor, memory and disk of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker_agent.hardware.facts import (
    MachineFacts,
    group_memory_bytes,
    read_cpu_name,
    read_facts,
    read_memory_bytes,
)
from worker_agent.hardware.nvml import Gpu, GpuInventory

GIB = 1024**3


def test_when_the_processor_has_a_name_then_it_is_printable() -> None:
    text = "processor\t: 0\nmodel name\t: AMD EPYC™ 9654\nflags\t\t: fpu\n"
    assert read_cpu_name(text) == "AMD EPYC? 9654"


def test_when_the_processor_has_no_name_then_its_part_stands_for_it() -> None:
    assert read_cpu_name("processor\t: 0\nCPU part\t: 0xd40\n").endswith("0xd40")


def test_when_meminfo_is_read_then_memory_is_in_bytes() -> None:
    assert read_memory_bytes("MemTotal:       16384 kB\nMemFree: 1 kB\n") == 16 * 1024**2
    with pytest.raises(ValueError, match="MemTotal"):
        read_memory_bytes("nothing")


@pytest.mark.parametrize(
    ("groups", "path", "text", "limit"),
    [
        ("0::/box\n", "box/memory.max", "1024\n", 1024),
        ("0::/box\n", "box/memory.max", "max\n", None),
        ("4:memory:/box\n0::/\n", "memory/box/memory.limit_in_bytes", "2048\n", 2048),
        ("4:memory:/\n", "memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("3:cpu:/\n", "other", "1", None),
    ],
)
def test_when_a_group_limits_memory_then_the_limit_counts(
    tmp_path: Path, groups: str, path: str, text: str, limit: int | None
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert group_memory_bytes(groups, tmp_path) == limit


def test_when_gpus_differ_then_those_of_the_first_model_are_offered() -> None:
    gpus = tuple(
        Gpu(name=name, memory_bytes=GIB, uuid=name, device_node=f"/dev/nvidia{index}")
        for index, name in enumerate(("A", "B", "A"))
    )
    facts = MachineFacts(
        inventory=GpuInventory(driver="1", gpus=gpus),
        cpu_name="x",
        cpu_count=1,
        memory_bytes=GIB,
        disk_bytes=GIB,
    )
    assert (facts.gpu_name, facts.device) == ("A", "cuda")
    assert facts.offered_gpus == ("/dev/nvidia0", "/dev/nvidia2")


def test_when_this_machine_is_read_then_it_has_something_to_offer(tmp_path: Path) -> None:
    facts = read_facts(tmp_path)
    assert facts.cpu_name
    assert facts.cpu_count >= 1
    assert facts.memory_bytes > 64 * 1024**2
    assert facts.disk_bytes > 0
