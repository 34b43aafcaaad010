"""What bwrap is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker_agent.sandbox import arguments
from worker_agent.sandbox.base import MIB, Limits, Mount, SandboxSpec
from worker_agent.sandbox.errors import BadSpec

LIMITS = Limits(memory_bytes=64 * MIB, cpu_cores=1, disk_bytes=8 * MIB, wall_time_s=1)


def spec(**changes: object) -> SandboxSpec:
    return SandboxSpec(**{"argv": ["/bin/true"], "limits": LIMITS, **changes})


def words(given: SandboxSpec, work_disk: str | None = "/work") -> list[str]:
    told = arguments.bwrap_arguments(given, [], given.mounts, work_disk)
    assert told.endswith(b"\0")
    return told.decode().split("\0")[:-1]


def has(told: list[str], *run: str) -> bool:
    return any(told[i : i + len(run)] == list(run) for i in range(len(told)))


def test_when_a_job_is_confined_then_every_namespace_is_its_own() -> None:
    told = words(spec())
    for word in ("user", "pid", "ipc", "uts", "net"):
        assert f"--unshare-{word}" in told
    for word in ("--disable-userns", "--die-with-parent", "--new-session", "--clearenv"):
        assert word in told
    assert has(told, "--cap-drop", "ALL")
    assert has(told, "--seccomp", str(arguments.SECCOMP_FD))
    assert told[-2:] == ["--remount-ro", "/"]


def test_when_variables_are_set_then_they_come_after_clearing() -> None:
    told = words(spec(env={"A": "1", "B": "x y"}))
    cleared = told.index("--clearenv")
    assert told[cleared + 1 : cleared + 7] == ["--setenv", "A", "1", "--setenv", "B", "x y"]


def test_when_there_is_a_work_disk_then_it_is_bound_and_else_a_sized_tmpfs() -> None:
    assert has(words(spec()), "--bind", "/work", "/job")
    tmpfs = ("--size", str(8 * MIB), "--perms", "0700", "--tmpfs", "/job")
    assert has(words(spec(), work_disk=None), *tmpfs)


def test_when_mounts_are_given_then_they_are_read_only() -> None:
    told = words(spec(mounts=(Mount(Path("/srv"), "/data"),)))
    assert has(told, "--ro-bind", "/srv", "/data")
    assert told.index("/data") > told.index("/job")


def test_when_gpus_are_granted_then_their_nodes_come_after_dev_and_sys_is_shown() -> None:
    told = words(spec(gpus=("/dev/nvidia3",)))
    assert has(told, "--dev-bind", "/dev/nvidia3", "/dev/nvidia3")
    assert told.index("--dev-bind") > told.index("--dev")
    assert has(told, "--ro-bind", "/sys", "/sys")
    assert not has(words(spec()), "--ro-bind", "/sys", "/sys")


@pytest.mark.parametrize(
    "change",
    [
        {"argv": []},
        {"argv": ["python"]},
        {"hostname": "A"},
        {"hostname": "a" * 64},
        {"env": {"1A": "x"}},
        {"env": {"A": "x\0--bind\0/\0/host"}},
        {"mounts": (Mount(Path("/"), "data"),)},
        {"mounts": (Mount(Path("/"), "/"),)},
        {"mounts": (Mount(Path("/"), "/job"),)},
        {"mounts": (Mount(Path("/"), "/tmp"),)},
        {"mounts": (Mount(Path("/"), "/dev/x"),)},
        {"mounts": (Mount(Path("/"), "/a\0b"),)},
        {"gpus": ("/dev/nvidia0/../sda",)},
    ],
)
def test_when_a_spec_is_impossible_then_it_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadSpec):
        arguments.check_spec(spec(**change))


@pytest.mark.parametrize("name", ["memory_bytes", "num_processes", "cpu_cores", "wall_time_s"])
def test_when_a_limit_is_zero_then_it_is_refused(name: str) -> None:
    values = {"memory_bytes": 1, "cpu_cores": 1, "disk_bytes": 1, "wall_time_s": 1}
    with pytest.raises(ValueError, match=name):
        Limits(**{**values, name: 0})


def test_when_a_job_is_told_of_then_nothing_of_it_runs_as_root_or_before_it_is_confined() -> None:
    told = words(spec())
    assert has(told, "--uid", str(arguments.JOB_UID), "--gid", str(arguments.JOB_UID))
    assert arguments.JOB_UID > 0
    assert has(told, "--block-fd", str(arguments.BLOCK_FD))
    assert has(told, "--remount-ro", "/dev")


def test_when_system_folders_are_shown_then_they_are_read_only() -> None:
    given = spec()
    raw = arguments.bwrap_arguments(given, [Mount(Path("/usr/bin"), "/usr/bin")], [], "/work")
    assert has(raw.decode().split("\0"), "--ro-bind", "/usr/bin", "/usr/bin")


def test_when_memory_is_shown_as_a_folder_then_it_is_bounded() -> None:
    told = words(spec())
    for size, target in (
        (LIMITS.temporary_bytes, "/tmp"),
        (LIMITS.shared_memory_bytes, "/dev/shm"),
    ):
        assert has(told, "--size", str(size), "--perms", "1777", "--tmpfs", target)


def test_when_proc_tells_of_the_machine_then_those_files_are_masked() -> None:
    told = words(spec())
    assert Path("/proc/cmdline").exists()
    assert has(told, "--ro-bind", "/dev/null", "/proc/cmdline")


@pytest.mark.parametrize("target", ["/data/../etc/passwd", "/srv/.."])
def test_when_a_mount_target_climbs_then_it_is_refused(target: str) -> None:
    with pytest.raises(BadSpec):
        arguments.check_spec(spec(mounts=(Mount(Path("/usr"), target),)))
