"""What a machine has and may give to jobs."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from worker_agent.hardware.nvml import GpuInventory, read_gpus

_NO_LIMIT = 1 << 60
"""cgroup v1 says "no limit" with a number near 2**63."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineFacts:
    """This machine, as measured."""

    inventory: GpuInventory
    cpu_name: str
    cpu_count: int
    """Processors that this process may use."""
    memory_bytes: int
    disk_bytes: int
    """Free bytes where jobs' work disks go."""

    @property
    def gpu_name(self) -> str:
        """Model of the GPUs; a machine with different ones offers those of the first model."""
        return self.inventory.gpus[0].name if self.inventory.gpus else ""

    @property
    def device(self) -> str:
        """``cuda`` or ``cpu``, as torch names what jobs run on."""
        return "cuda" if self.inventory.gpus else "cpu"

    @property
    def offered_gpus(self) -> tuple[str, ...]:
        """Device nodes of the GPUs of the offered model."""
        return tuple(g.device_node for g in self.inventory.gpus if g.name == self.gpu_name)


def read_cpu_name(cpuinfo: str) -> str:
    """Return the processor's name from the text of /proc/cpuinfo.

    ARM kernels give no name; then the architecture and the part number stand for it.
    """
    fields = dict(re.findall(r"^([^\t:]+)\s*: (.*)$", cpuinfo, re.MULTILINE))
    name = fields.get("model name") or " ".join(
        part for part in (platform.machine(), fields.get("CPU part", "")) if part
    )
    return re.sub(r"[^ -~]", "?", name).strip()[:96]


def read_memory_bytes(meminfo: str) -> int:
    """Return the machine's memory from the text of /proc/meminfo."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", meminfo, re.MULTILINE)
    if found is None:
        raise ValueError("/proc/meminfo has no MemTotal")
    return int(found.group(1)) * 1024


def group_memory_bytes(own_groups: str, tree: Path) -> int | None:
    """Return the memory limit of the cgroup this process is in, None without one.

    Parameters
    ----------
    own_groups
        Text of /proc/self/cgroup.
    tree
        Where cgroups are mounted.
    """
    smallest: int | None = None
    for line in own_groups.splitlines():
        _, names, path = line.split(":", 2)
        inner = path.lstrip("/")
        if names == "":
            file = tree / inner / "memory.max"
        elif "memory" in names.split(","):
            file = tree / "memory" / inner / "memory.limit_in_bytes"
        else:
            continue
        text = file.read_text().strip() if file.is_file() else "max"
        if text.isdigit() and int(text) < _NO_LIMIT:
            smallest = min(smallest or _NO_LIMIT, int(text))
    return smallest


def read_facts(state_dir: Path) -> MachineFacts:
    """Look at this machine.

    Parameters
    ----------
    state_dir
        An existing folder on the file system that holds jobs' work disks.
    """
    memory = read_memory_bytes(Path("/proc/meminfo").read_text())
    limit = group_memory_bytes(Path("/proc/self/cgroup").read_text(), Path("/sys/fs/cgroup"))
    return MachineFacts(
        inventory=read_gpus(),
        cpu_name=read_cpu_name(Path("/proc/cpuinfo").read_text()),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_bytes=memory if limit is None else min(memory, limit),
        disk_bytes=shutil.disk_usage(state_dir).free,
    )
