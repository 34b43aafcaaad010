"""The weak tier, for real: the same tests under an ordinary uid.

Without root this file is not needed: then the whole session runs in the weak tier.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker_agent.sandbox import detect as detect_module

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
USER = "32017"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the other uid can reach, unlike root's temporary folders."""
    path = Path(tempfile.mkdtemp(prefix="gridlease-weak-"))
    yield path
    shutil.rmtree(path)


def run_as_user(folder: Path, *command: str, entered: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command under the other uid, in the groups whose cgroup.procs are `entered`."""
    argv = [sys.executable, "-m", "tests.integration.worker_agent.sandbox.as_user"]
    return subprocess.run(
        [*argv, USER, str(folder), entered, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_when_the_tests_run_without_root_then_they_hold_in_the_weak_tier(folder: Path) -> None:
    options = ["-p", "no:cacheprovider", "--basetemp", str(folder / "tmp"), "-q"]
    tests = [str(HERE / "test_jobs.py"), str(HERE / "test_doctor.py")]
    result = run_as_user(folder, sys.executable, "-m", "pytest", *options, *tests)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.fixture
def delegated() -> Iterator[list[Path]]:
    """cgroups that belong to the other uid, as systemd's Delegate=yes makes them."""
    hierarchies = detect_module.find_hierarchies(
        Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text()
    )
    wanted = [h for h in hierarchies if h.controllers & {"memory", "pids", "cpu", "cpuacct"}]
    groups = [h.parent.parent / f"delegated-{os.getpid()}" for h in wanted]
    for group in groups:
        group.mkdir()
        for path in (group, group / "cgroup.procs", group / "cgroup.subtree_control"):
            if path.exists():
                os.chown(path, int(USER), int(USER))
    yield groups
    for group in groups:
        for folder in sorted(group.rglob("*/"), reverse=True):
            folder.rmdir()
        group.rmdir()


def test_when_a_cgroup_is_delegated_then_memory_is_limited_without_root(
    folder: Path, delegated: list[Path]
) -> None:
    code = f"""
import json
from pathlib import Path
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.doctor import examine
from worker_agent.sandbox.settings import SandboxSettings
sandbox = detect(SandboxSettings(state_dir=Path({str(folder / "state")!r}), allow_weak=True))
print(json.dumps([sandbox.limits_memory, examine(sandbox).to_json()]))
sandbox.close()
"""
    entered = " ".join(str(group / "cgroup.procs") for group in delegated)
    result = run_as_user(folder, sys.executable, "-c", code, entered=entered)
    assert result.returncode == 0, result.stderr
    limits_memory, report = json.loads(result.stdout.splitlines()[-1])
    found = {finding["name"]: finding for finding in report["findings"]}
    assert (limits_memory, report["isolation"]) == (True, "weak")
    for kind in ("private", "shared", "memfd"):
        assert "out_of_memory" in found[f"memory_{kind}"]["detail"]
        assert found[f"memory_{kind}"]["required"]
    assert report["may_list"]


def test_when_weak_isolation_is_not_allowed_then_detection_says_the_mend(folder: Path) -> None:
    code = f"""
from pathlib import Path
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings
detect(SandboxSettings(state_dir=Path({str(folder / "state")!r})))
"""
    result = run_as_user(folder, sys.executable, "-c", code)
    assert result.returncode == 1
    assert "mend: run the worker as root, or allow weak isolation" in result.stderr


def test_when_user_namespaces_are_refused_then_detection_says_the_mend(folder: Path) -> None:
    code = f"""
import ctypes
from pathlib import Path
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings
libc = ctypes.CDLL(None)
assert libc.unshare(0x10000000) == 0
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text("{USER} {USER} 1")
Path("/proc/self/gid_map").write_text("{USER} {USER} 1")
Path("/proc/sys/user/max_user_namespaces").write_text("0")
detect(SandboxSettings(state_dir=Path({str(folder / "state")!r}), allow_weak=True))
"""
    result = run_as_user(folder, sys.executable, "-c", code)
    assert result.returncode == 1
    assert "user namespaces are off here: sysctl user.max_user_namespaces" in result.stderr
