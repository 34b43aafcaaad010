"""cgroup trees of both versions, on folders that stand for them.

What the kernel does with the numbers is tested in tests/integration, with the trees of the machine
that runs the tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from worker_agent.sandbox.base import MIB, Limits, Usage
from worker_agent.sandbox.cgroups import (
    CgroupGroup,
    CgroupManager,
    Hierarchy,
    enable_controllers,
    find_hierarchies,
)
from worker_agent.sandbox.errors import SandboxError

LIMITS = Limits(
    memory_bytes=64 * MIB, num_processes=10, cpu_cores=1.5, disk_bytes=MIB, wall_time_s=1
)
V1 = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    "pids": ("pids.max",),
    "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.shares"),
    "devices": ("devices.deny", "devices.allow"),
}
V2 = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cgroup.kill")


class KernelFolder(type(Path())):  # type: ignore[misc]  # Path's concrete class is chosen at run time
    """A folder in which the kernel makes the control files."""

    files: tuple[str, ...] = ()

    def mkdir(self, *args: object, **kwargs: object) -> None:
        super().mkdir(*args, **kwargs)
        for name in self.files:
            (Path(self) / name).touch()

    def rmdir(self) -> None:
        for path in Path(self).iterdir():
            path.unlink()
        super().rmdir()


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.read_text()}


def test_when_the_machine_is_hybrid_then_each_controller_is_found_where_it_is(
    tmp_path: Path,
) -> None:
    for name in ("memory", "pids", "cpu,cpuacct", "systemd"):
        (tmp_path / name / "box").mkdir(parents=True)
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").write_text("hugetlb\n")
    mounts = f"""
tmpfs / tmpfs rw 0 0
cgroup {tmp_path}/memory cgroup rw,memory 0 0
cgroup {tmp_path}/pids cgroup rw,pids 0 0
cgroup {tmp_path}/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup {tmp_path}/systemd cgroup rw,name=systemd 0 0
cgroup2 {unified} cgroup2 rw 0 0
""".strip()
    own = "5:name=systemd:/\n4:memory:/box\n3:cpu,cpuacct:/gone\n2:pids:/\n0::/\n"
    found = {tuple(sorted(h.controllers)): h for h in find_hierarchies(mounts, own)}
    assert found[("memory",)] == Hierarchy(
        1, frozenset({"memory"}), tmp_path / "memory/box/gridlease"
    )
    assert found[("cpu", "cpuacct")].parent == tmp_path / "cpu,cpuacct/gridlease"
    assert found[("hugetlb",)] == Hierarchy(2, frozenset({"hugetlb"}), unified / "gridlease")
    manager = CgroupManager(list(found.values()))
    assert manager.missing() == []
    assert CgroupManager([found[("memory",)]]).missing() == ["pids", "cpu"]


def test_when_a_group_is_delegated_then_jobs_go_beside_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    own = tmp_path / "user.slice" / "worker.service" / "main"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("memory pids cpu")
    mounts = f"cgroup2 {tmp_path} cgroup2 rw 0 0"
    (found,) = find_hierarchies(mounts, "0::/user.slice/worker.service/main\n")
    assert found.parent == own.parent / "gridlease"


def test_when_controllers_are_enabled_then_only_the_needed_and_offered_ones(
    tmp_path: Path,
) -> None:
    parent = tmp_path / "gridlease"
    parent.mkdir()
    for folder in (tmp_path, parent):
        (folder / "cgroup.controllers").write_text("pids hugetlb")
        (folder / "cgroup.subtree_control").touch()
    enable_controllers(Hierarchy(2, frozenset({"pids", "hugetlb"}), parent))
    assert (parent / "cgroup.subtree_control").read_text() == "+pids"


def test_when_a_v2_group_is_made_then_its_limits_are_written(tmp_path: Path) -> None:
    KernelFolder.files = V2
    hierarchy = Hierarchy(2, frozenset({"memory", "pids", "cpu"}), KernelFolder(tmp_path))
    group = CgroupManager([hierarchy]).create("job-1", LIMITS)
    assert written(tmp_path / "job-1") == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "12",
        "cpu.max": "150000 100000",
    }
    group.kill()
    assert (tmp_path / "job-1" / "cgroup.kill").read_text() == "1"


def test_when_v1_groups_are_made_then_their_limits_are_written(tmp_path: Path) -> None:
    hierarchies = []
    for name, files in V1.items():
        (tmp_path / name).mkdir()
        kind = type(f"Kernel{name}", (KernelFolder,), {"files": files})
        hierarchies.append(Hierarchy(1, frozenset({name}), kind(tmp_path / name)))
    group = CgroupManager(hierarchies).create("job-1", LIMITS, ["/dev/null"])
    assert written(tmp_path / "memory" / "job-1") == {
        "memory.limit_in_bytes": str(64 * MIB),
        "memory.memsw.limit_in_bytes": str(64 * MIB),
    }
    assert written(tmp_path / "pids" / "job-1") == {"pids.max": "12"}
    assert written(tmp_path / "cpu" / "job-1") == {
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "cpu.shares": "1536",
    }
    assert written(tmp_path / "devices" / "job-1") == {
        "devices.deny": "a",
        "devices.allow": "c 1:3 rw",
    }
    assert len(group.procs_files()) == 4


def test_when_a_limit_cannot_be_written_then_nothing_is_left(tmp_path: Path) -> None:
    KernelFolder.files = ()
    (tmp_path / "file").touch()
    parent = KernelFolder(tmp_path)
    good = Hierarchy(1, frozenset({"freezer"}), parent)
    broken = Hierarchy(1, frozenset({"pids"}), tmp_path / "file")
    with pytest.raises(SandboxError, match="cannot limit the job"):
        CgroupManager([good, broken]).create("job-1", LIMITS)
    assert not (tmp_path / "job-1").exists()


def test_when_usage_is_read_then_both_versions_agree(tmp_path: Path) -> None:
    new, cpu, memory = tmp_path / "new", tmp_path / "cpu", tmp_path / "memory"
    for folder in (new, cpu, memory):
        folder.mkdir()
    (new / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (new / "memory.peak").write_text("4096\n")
    (new / "memory.events").write_text("oom 1\noom_kill 1\n")
    (cpu / "cpuacct.usage").write_text("2500000000\n")
    (memory / "memory.max_usage_in_bytes").write_text("4096\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    v2 = CgroupGroup([(Hierarchy(2, frozenset({"cpu", "memory"}), tmp_path), new)])
    v1 = CgroupGroup(
        [
            (Hierarchy(1, frozenset({"cpuacct"}), tmp_path), cpu),
            (Hierarchy(1, frozenset({"memory"}), tmp_path), memory),
        ]
    )
    assert v1.usage() == v2.usage() == Usage(2.5, 4096, exact=True)
    assert v2.out_of_memory()
    assert not v1.out_of_memory()
    assert CgroupGroup([]).usage() is None


def test_when_processes_stand_beside_v1_groups_then_jobs_are_not_starved(tmp_path: Path) -> None:
    CgroupManager.usable([Hierarchy(1, frozenset({"cpu"}), tmp_path / "gridlease")])
    assert int((tmp_path / "gridlease" / "cpu.shares").read_text()) >= 2 * 1024


def test_when_a_tree_is_not_writable_then_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trees = [
        Hierarchy(1, frozenset({"pids"}), tmp_path / "file" / "gridlease"),
        Hierarchy(1, frozenset({"rdma"}), tmp_path / "rdma"),
        Hierarchy(2, frozenset({"pids"}), tmp_path / "file" / "gridlease"),
        Hierarchy(1, frozenset({"memory"}), tmp_path / "memory"),
    ]
    assert CgroupManager.usable(trees).hierarchies == (trees[3],)
