"""What only the strong tier promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from worker_agent.sandbox import launch
from worker_agent.sandbox.base import MIB, ExitReason, Isolation, Mount, SandboxSpec
from worker_agent.sandbox.bubblewrap import BubblewrapSandbox
from worker_agent.sandbox.cgroups import CgroupManager
from worker_agent.sandbox.detect import detect, read_cgroups
from worker_agent.sandbox.errors import SandboxBusy, SandboxUnavailable, StartFailed
from worker_agent.sandbox.settings import SandboxSettings

Spec = Callable[..., SandboxSpec]
END_S = 30.0
HOLD = "import os; os.write(3, b'{}\\n'); import time; time.sleep(600)"


def test_when_root_detects_then_isolation_is_strong_with_a_disk_image(
    sandbox: BubblewrapSandbox,
) -> None:
    assert sandbox.isolation is Isolation.STRONG
    assert sandbox.limits_memory
    assert sandbox.loop_tools is not None


def test_when_a_job_runs_then_the_host_sees_it_under_a_uid_of_its_own(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    with sandbox.start(python_job(HOLD)) as one, sandbox.start(python_job(HOLD)) as two:
        uids = set()
        for job in (one, two):
            next(job.events())
        for record in sandbox.journal.records():
            uids.add(Path(f"/proc/{record.pid}").stat().st_uid)
            # Neither environment values nor host paths are in the host's process list.
            assert b"PYTHONPATH" not in Path(f"/proc/{record.pid}/cmdline").read_bytes()
        assert len(uids) == 2
        assert min(uids) >= sandbox.settings.first_uid


def test_when_memory_runs_out_then_the_exit_says_so(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    spec = python_job("x = bytearray(200 << 20)", limits={"memory_bytes": 64 * MIB})
    with sandbox.start(spec) as job:
        ended = job.wait(END_S)
        assert ended is not None
        assert (ended.reason, ended.code) == (ExitReason.OUT_OF_MEMORY, 137)
        assert job.stats().peak_memory_bytes <= 64 * MIB


def test_when_a_job_spins_then_it_gets_its_share_of_the_processor(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    code = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    with sandbox.start(python_job(code, limits={"cpu_cores": 0.2})) as job:
        job.wait(END_S)
        assert job.stats().cpu_seconds < 0.8


def test_when_no_image_can_be_mounted_then_the_work_disk_is_a_sized_tmpfs(
    state_dir: Path, python_job: Spec
) -> None:
    settings = SandboxSettings(state_dir=state_dir)
    sandbox = BubblewrapSandbox(settings, Isolation.STRONG, read_cgroups(), None)
    code = """
import os, pathlib
info = os.statvfs('/job')
print(info.f_blocks * info.f_frsize, info.f_files, os.stat('/job').st_uid)
pathlib.Path('/job/x').write_text('x')
"""
    spec = python_job(code, limits={"disk_bytes": 8 * MIB, "num_files": 50})
    try:
        with sandbox.start(spec) as job:
            job.wait(END_S)
            assert job.output_tail() == f"{8 * MIB} 66 1000\n".encode()
            assert job.read_file("x", 1) == b"x"
    finally:
        sandbox.close()


def test_when_root_has_no_cgroups_then_isolation_is_weak_with_uid_and_disk(
    state_dir: Path, python_job: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_agent.sandbox.detect.read_cgroups", lambda: CgroupManager([]))
    with pytest.raises(SandboxUnavailable, match="mend: mount cgroup v2"):
        detect(SandboxSettings(state_dir=state_dir))
    sandbox = detect(SandboxSettings(state_dir=state_dir, allow_weak=True))
    code = """
import os
children = 0
try:
    while children < 100:
        if os.fork() == 0:
            os.read(4, 1)
        children += 1
except OSError as error:
    print(children, os.statvfs('/job').f_files)
"""
    try:
        assert sandbox.isolation is Isolation.WEAK
        limits = {"num_processes": 20, "num_files": 84}
        with sandbox.start(python_job(code, limits=limits)) as job:
            pid = sandbox.journal.records()[0].pid
            assert Path(f"/proc/{pid}").stat().st_uid >= sandbox.settings.first_uid
            job.wait(END_S)
            children, inodes = (int(word) for word in job.output_tail().split())
            assert 10 <= children <= 20
            assert inodes < 200
    finally:
        sandbox.close()


def test_when_inputs_lie_below_a_closed_folder_then_the_job_reads_them(
    sandbox: BubblewrapSandbox, python_job: Spec, tmp_path: Path
) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    (closed / "data").mkdir()
    (closed / "data" / "file").write_text("readable")
    (closed / "data" / "private").write_text("unreadable")
    (closed / "data" / "private").chmod(0o600)
    code = """
import pathlib
print(pathlib.Path('/data/file').read_text())
pathlib.Path('/data/private').read_text()
"""
    with sandbox.start(python_job(code, mounts=(Mount(closed / "data", "/data"),))) as job:
        job.wait(END_S)
        said = job.output_tail().decode()
        assert said.startswith("readable\n")
        assert "PermissionError" in said


def test_when_all_uids_are_taken_then_the_next_job_is_refused(
    state_dir: Path, python_job: Spec, tmp_path: Path
) -> None:
    settings = SandboxSettings(
        state_dir=state_dir, slots_dir=tmp_path / "slots", first_uid=31500, num_uids=1
    )
    sandbox = BubblewrapSandbox(settings, Isolation.STRONG, read_cgroups(), None)
    try:
        with (
            sandbox.start(python_job(HOLD)),
            pytest.raises(SandboxBusy, match="all 1 job uids"),
        ):
            sandbox.start(python_job(HOLD))
        sandbox.start(python_job("")).close()
    finally:
        sandbox.close()


def test_when_the_host_is_full_then_the_job_is_refused(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    with pytest.raises(StartFailed, match="bytes free"):
        sandbox.start(python_job("", limits={"disk_bytes": 1 << 60}))


def test_when_the_plan_forgets_the_uid_then_bwrap_is_not_started_as_root() -> None:
    """bwrap started as uid 0 let a job write the host's core_pattern."""
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(launch.__file__).parent)!r})
import launch
read, write = os.pipe()
plan = dict(parent=os.getppid(), staging=False, cgroup_procs=[], fds={{12: read}}, block_fd=12,
            rlimits={{}}, uid=None, gid=None, argv=["/usr/bin/id"])
launch.launch(plan)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "refused to start bwrap as uid 0" in result.stderr
    assert "uid=" not in result.stdout
    assert os.getuid() == 0
