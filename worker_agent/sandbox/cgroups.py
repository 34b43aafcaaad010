"""Memory, process and processor limits of a job: cgroup v1, v2 and the hybrid of both.

*Covered*: memory with swap counted in, processes and threads, processor time, device access (v1);
killing everything at once; what was used.
*Not covered*: disk and network bandwidth, and the limits of groups above ours.

A machine may mount some controllers as v1 and the rest as v2 (hybrid). Each controller is used
where it is; killing uses ``cgroup.kill`` of a v2 tree where there is one. Source:
Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker_agent.sandbox.base import Limits, Usage
from worker_agent.sandbox.errors import SandboxError

ROOT_NAME = "gridlease"
NEEDED = ("memory", "pids", "cpu")
HELPERS = 2  # bwrap's own processes
_CPU_PERIOD_US = 100_000
_MIN_QUOTA_US = 1000
_PROCESS_WEIGHT = 1024
"""Weight of an ordinary process against v1 groups."""
_PLAIN_DEVICES = ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2", "c 136:*")
"""null, zero, full, random, urandom, tty, ptmx, pts."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted cgroup tree and the folder in it under which job groups are made."""

    version: int
    controllers: frozenset[str]
    parent: Path


def read_own_groups(text: str) -> dict[str, str]:
    """Parse /proc/self/cgroup into controller list -> own path ('' is the v2 tree)."""
    groups = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        groups[names] = path
    return groups


def find_hierarchies(mounts: str, own: str) -> list[Hierarchy]:
    """Return the cgroup trees of this machine.

    Parameters
    ----------
    mounts
        Text of /proc/self/mounts.
    own
        Text of /proc/self/cgroup. v1 groups are made below the worker's own, so that limits on
        the worker hold for its jobs too.
    """
    own_groups = read_own_groups(own)
    found = []
    for line in mounts.splitlines():
        _, where, kind, options = line.split(" ")[:4]
        point = Path(where)
        if kind == "cgroup2":
            listed = point / "cgroup.controllers"
            names = frozenset(listed.read_text().split()) if listed.exists() else frozenset()
            found.append(Hierarchy(2, names, _v2_parent(point, own_groups.get("", "/"))))
        elif kind == "cgroup":
            for key, path in own_groups.items():
                names = frozenset(key.split(","))
                if key and names <= set(options.split(",")):
                    inner = point / path.lstrip("/")
                    parent = inner if inner.is_dir() else point
                    found.append(Hierarchy(1, names, parent / ROOT_NAME))
    return found


def _v2_parent(point: Path, own: str) -> Path:
    """Return where groups go in a v2 tree: beside us if that part is ours, else at the top."""
    inner = point / own.lstrip("/")
    if own == "/" or os.geteuid() == 0 or not inner.is_dir():
        return point / ROOT_NAME
    # Delegated (systemd's Delegate=yes): processes and controllers may not share one group,
    # so jobs go beside the worker's own leaf.
    return inner.parent / ROOT_NAME if os.access(inner.parent, os.W_OK) else inner / ROOT_NAME


def enable_controllers(hierarchy: Hierarchy) -> None:
    """Make the parent group of a v2 tree and hand the needed controllers down to it."""
    parent = hierarchy.parent
    for group in (parent.parent, parent):
        group.mkdir(exist_ok=True)
        offered = (group / "cgroup.controllers").read_text().split()
        for name in NEEDED:
            if name in offered:
                (group / "cgroup.subtree_control").write_text(f"+{name}")


class CgroupManager:
    """Makes one group per job in every tree that is useful.

    Parameters
    ----------
    hierarchies
        The usable trees, from `usable`.
    """

    def __init__(self, hierarchies: Sequence[Hierarchy]) -> None:
        self.hierarchies = tuple(hierarchies)

    @classmethod
    def usable(cls, hierarchies: Sequence[Hierarchy]) -> CgroupManager:
        """Keep the trees in which this process may make groups with what they offer."""
        kept = []
        for hierarchy in hierarchies:
            wanted = set(NEEDED) | {"cpuacct", "devices", "freezer"}
            if hierarchy.version == 1 and not (hierarchy.controllers & wanted):
                continue
            probe = hierarchy.parent / f"probe-{os.getpid()}"
            try:
                if hierarchy.version == 2:
                    enable_controllers(hierarchy)
                else:
                    hierarchy.parent.mkdir(exist_ok=True)
                    _weigh_v1(hierarchy)
                probe.mkdir()
                probe.rmdir()
            except OSError:
                continue
            kept.append(hierarchy)
        return cls(kept)

    def missing(self) -> list[str]:
        """Return the controllers that limits need and this machine does not give."""
        present = {name for h in self.hierarchies for name in h.controllers}
        return [name for name in NEEDED if name not in present]

    def paths(self, name: str) -> list[Path]:
        """Return the folders a group of this name has or would have."""
        return [hierarchy.parent / name for hierarchy in self.hierarchies]

    def group(self, name: str) -> CgroupGroup:
        """Return the group of this name, made or not."""
        return CgroupGroup([(h, h.parent / name) for h in self.hierarchies])

    def remove_abandoned(self, prefix: str, older_than_s: float) -> None:
        """Remove empty groups whose worker never came back; those in use refuse to go."""
        for hierarchy in self.hierarchies:
            for path in hierarchy.parent.glob(f"{prefix}*"):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_ctime > older_than_s:
                        path.rmdir()

    def create(self, name: str, limits: Limits, devices: Sequence[str] = ()) -> CgroupGroup:
        """Make the group of a job and write its limits.

        Parameters
        ----------
        name
            Name of the job's folder in each tree.
        limits
            What to enforce.
        devices
            Device nodes to allow besides the plain ones, such as ``/dev/nvidia0``.
        """
        group = self.group(name)
        try:
            for hierarchy, path in group.places:
                path.mkdir()
                if hierarchy.version == 2:
                    _limit_v2(path, hierarchy.controllers, limits)
                else:
                    _limit_v1(path, hierarchy.controllers, limits, devices)
        except OSError as error:
            group.remove()
            raise SandboxError(f"cannot limit the job: {error}") from error
        return group


def _weigh_v1(hierarchy: Hierarchy) -> None:
    """Let all jobs together weigh as much as two busy processes per processor.

    A v1 group weighs as much as ONE process beside it: without this, all jobs together got a
    tenth of a machine with ten busy processes (seen: 30 times slower than outside).
    """
    if "cpu" in hierarchy.controllers:
        weight = 2 * _PROCESS_WEIGHT * (os.cpu_count() or 1)
        (hierarchy.parent / "cpu.shares").write_text(str(weight))


def _limit_v1(
    path: Path, controllers: frozenset[str], limits: Limits, devices: Sequence[str]
) -> None:
    if "memory" in controllers:
        memory = str(limits.memory_bytes)
        (path / "memory.limit_in_bytes").write_text(memory)
        swap = path / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(memory)
        else:
            (path / "memory.swappiness").write_text("0")
    if "pids" in controllers:
        (path / "pids.max").write_text(str(limits.num_processes + HELPERS))
    if "cpu" in controllers:
        (path / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
        (path / "cpu.cfs_quota_us").write_text(str(_quota_us(limits.cpu_cores)))
        weight = max(2, int(_PROCESS_WEIGHT * limits.cpu_cores))
        (path / "cpu.shares").write_text(str(weight))
    if "devices" in controllers:
        (path / "devices.deny").write_text("a")
        granted = [
            f"c {os.major(s)}:{os.minor(s)}" for s in (Path(d).stat().st_rdev for d in devices)
        ]
        for device in (*_PLAIN_DEVICES, *granted):
            (path / "devices.allow").write_text(f"{device} rw")


def _limit_v2(path: Path, controllers: frozenset[str], limits: Limits) -> None:
    if "memory" in controllers:
        (path / "memory.max").write_text(str(limits.memory_bytes))
        (path / "memory.oom.group").write_text("1")
        swap = path / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
    if "pids" in controllers:
        (path / "pids.max").write_text(str(limits.num_processes + HELPERS))
    if "cpu" in controllers:
        (path / "cpu.max").write_text(f"{_quota_us(limits.cpu_cores)} {_CPU_PERIOD_US}")


def _quota_us(cpu_cores: float) -> int:
    return max(_MIN_QUOTA_US, int(cpu_cores * _CPU_PERIOD_US))


@dataclass(frozen=True, slots=True)
class CgroupGroup:
    """The group of one job, in every tree."""

    places: list[tuple[Hierarchy, Path]]

    def procs_files(self) -> list[str]:
        """Return the files that a process writes 0 to, to enter the group."""
        return [str(path / "cgroup.procs") for _, path in self.places]

    def pids(self) -> set[int]:
        """Return the processes in the group."""
        found: set[int] = set()
        for _, path in self.places:
            try:
                found |= {int(text) for text in (path / "cgroup.procs").read_text().split()}
            except FileNotFoundError:
                continue
        return found

    def kill(self) -> None:
        """Kill everything in the group, also what forks meanwhile."""
        for hierarchy, path in self.places:
            switch = path / "cgroup.kill"
            if hierarchy.version == 2 and switch.exists():
                switch.write_text("1")
                return
        freezers = [p for h, p in self.places if h.version == 1 and "freezer" in h.controllers]
        for path in freezers:
            (path / "freezer.state").write_text("FROZEN")
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for path in freezers:
            (path / "freezer.state").write_text("THAWED")

    def out_of_memory(self) -> bool:
        """Tell whether the kernel killed something here for want of memory."""
        for hierarchy, path in self.places:
            if "memory" not in hierarchy.controllers:
                continue
            name = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
            if _read_keyed(path / name).get("oom_kill", 0) > 0:
                return True
        return False

    def usage(self) -> Usage | None:
        """Return what the group used, None when nothing counts both figures."""
        cpu_seconds = memory = None
        for hierarchy, path in self.places:
            if hierarchy.version == 2:
                micro = _read_keyed(path / "cpu.stat").get("usage_usec")
                if micro is not None and "cpu" in hierarchy.controllers:
                    cpu_seconds = micro / 1e6
                memory = _read_int(path / "memory.peak") or memory
            else:
                nano = _read_int(path / "cpuacct.usage")
                cpu_seconds = nano / 1e9 if nano is not None else cpu_seconds
                memory = _read_int(path / "memory.max_usage_in_bytes") or memory
        if cpu_seconds is None or memory is None:
            return None
        return Usage(cpu_seconds=cpu_seconds, peak_memory_bytes=memory, exact=True)

    def remove(self, timeout_s: float = 5.0) -> None:
        """Kill what is left and remove the folders.

        A killed process leaves its group a moment after its parent was told, so this waits.
        """
        deadline = time.monotonic() + timeout_s
        for _, path in self.places:
            while path.exists():
                try:
                    path.rmdir()
                except OSError as error:
                    if time.monotonic() > deadline:
                        raise SandboxError(f"the group {path} does not empty: {error}") from error
                    self.kill()
                    time.sleep(0.002)


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _read_keyed(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
