"""Jobs in the sandbox of this machine. Holds for the strong and the weak tier alike."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker_agent.sandbox.base import MIB, Caps, ExitReason, Mount, SandboxProcess, SandboxSpec
from worker_agent.sandbox.bubblewrap import BubblewrapSandbox
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.errors import (
    BadSpec,
    ControlClosed,
    SandboxBusy,
    StartFailed,
    StillRunning,
    UnsafePath,
)
from worker_agent.sandbox.settings import SandboxSettings

Spec = Callable[..., SandboxSpec]

pytestmark = pytest.mark.usefixtures("clean")
END_S = 30.0
SLEEP = "import time; time.sleep(600)"
SAY_READY = 'import os; os.write(3, b\'{"event": "ready"}\\n\');'


def started(process: SandboxProcess) -> SandboxProcess:
    """Wait until the job has said that it runs."""
    assert next(process.events()) == {"event": "ready"}
    return process


def runs(pid: int) -> bool:
    """A dead process may wait a while for whoever inherited it to notice."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture
def clean(sandbox: BubblewrapSandbox) -> Iterator[None]:
    """Nothing of a test's jobs is left on the machine."""
    yield
    state = sandbox.settings.state_dir
    assert list(state.glob("*.img")) == []
    assert list((state / "jobs").iterdir()) == []
    for hierarchy in sandbox.cgroups.hierarchies:
        assert list(hierarchy.parent.glob(f"{sandbox.job_prefix}*")) == []


def test_when_a_job_ends_then_its_exit_output_files_and_events_are_there(
    sandbox: BubblewrapSandbox, python_job: Spec, tmp_path: Path
) -> None:
    code = """
import json, os, pathlib
task = json.loads(pathlib.Path('/job/deep/task.json').read_text())
os.write(3, json.dumps({'event': 'got', 'task': task}).encode() + b'\\n')
os.write(3, b'not json\\n' + b'x' * 2_000_000 + b'\\n[1]\\n')
command = os.read(4, 100)
pathlib.Path('/job/out').mkdir()
pathlib.Path('/job/out/result.txt').write_text(command.decode())
print('printed', os.getcwd(), os.getuid())
raise SystemExit(7)
"""
    pieces: list[bytes] = []
    spec = python_job(code, work_files={"deep/task.json": b'{"a": 1}'})
    with sandbox.start(spec, pieces.append) as job:
        events = []
        for event in job.events():
            events.append(event)
            job.send({"command": "go"})
        ended = job.wait(END_S)
        assert ended is not None
        assert (ended.reason, ended.code) == (ExitReason.EXITED, 7)
        assert events == [{"event": "got", "task": {"a": 1}}]
        assert job.output_tail() == b"printed /job 1000\n"
        assert b"".join(pieces) == job.output_tail()
        assert job.read_file("out/result.txt", 100) == b'{"command": "go"}\n'
        assert job.list_dir("out") == ["result.txt"]
        taken = job.collect(tmp_path, ["*.txt"], Caps(total_bytes=MIB), root="out")
        assert taken.files == [Path("result.txt")]
        assert job.poll() == ended
        with pytest.raises(ControlClosed):
            job.send({"command": "again"})


def test_when_the_environment_is_given_then_the_job_has_that_and_nothing_else(
    sandbox: BubblewrapSandbox, python_job: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_SECRET", "hunter2")
    spec = python_job("import os; print(dict(os.environ))", env={"RENTERS": "own value"})
    with sandbox.start(spec) as job:
        job.wait(END_S)
        said = job.output_tail().decode()
        assert "'RENTERS': 'own value'" in said
        assert "hunter2" not in said
        # Nor in the host's process list, where other users of the machine could see them.
        assert "PATH" in said


def test_when_a_folder_is_mounted_then_it_is_readable_and_not_writable(
    sandbox: BubblewrapSandbox, python_job: Spec, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data = closed / "data"
    data.mkdir()
    (data / "x.txt").write_text("data")
    code = """
import pathlib
print(pathlib.Path('/data/set/x.txt').read_text(), pathlib.Path('/data/one').read_text())
for path in ('/data/set/new', '/data/new', '/data/one'):
    try:
        pathlib.Path(path).write_text('no')
    except OSError as error:
        print(error.strerror)
"""
    mounts = (Mount(data, "/data/set"), Mount(data / "x.txt", "/data/one"))
    with sandbox.start(python_job(code, mounts=mounts)) as job:
        job.wait(END_S)
        assert job.output_tail().decode().split("\n")[:2] == ["data data", "Read-only file system"]
        assert job.output_tail().count(b"Read-only file system") == 3


def test_when_it_is_interrupted_then_the_program_may_end_by_itself(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    code = f"""
import signal, sys, pathlib
def end(*_):
    pathlib.Path('/job/saved').write_text('saved')
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
{SAY_READY}
{SLEEP}
"""
    with sandbox.start(python_job(code)) as job:
        started(job).interrupt(grace_s=END_S)
        ended = job.wait(END_S)
        assert ended is not None
        assert (ended.reason, ended.code) == (ExitReason.INTERRUPTED, 3)
        assert job.read_file("saved", 10) == b"saved"


def test_when_it_ignores_the_interrupt_then_it_is_killed_after_the_grace(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAY_READY} {SLEEP}"
    with sandbox.start(python_job(code)) as job:
        began = time.monotonic()
        started(job).interrupt(grace_s=0.3)
        ended = job.wait(END_S)
        assert ended is not None
        assert ended.reason is ExitReason.INTERRUPTED
        assert 0.25 < time.monotonic() - began < 10


def test_when_it_is_killed_then_daemons_and_grandchildren_are_gone_too(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    code = f"""
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
{SAY_READY}
{SLEEP}
"""
    with sandbox.start(python_job(code)) as job:
        started(job)
        with pytest.raises(StillRunning):
            job.collect(Path("/nowhere"), ["**"], Caps(total_bytes=1))
        job.kill()
        ended = job.wait(END_S)
        assert ended is not None
        assert ended.reason is ExitReason.KILLED


@pytest.mark.parametrize(
    ("code", "limits", "reason"),
    [
        (SLEEP, {"wall_time_s": 0.5}, ExitReason.WALL_TIME),
        ("while True: print('x' * 9999)", {"stdout_bytes": MIB}, ExitReason.OUTPUT_LIMIT),
        ("import os; os.kill(os.getpid(), 11)", {}, ExitReason.SIGNALED),
    ],
)
def test_when_a_limit_is_reached_then_the_exit_names_it(
    sandbox: BubblewrapSandbox,
    python_job: Spec,
    code: str,
    limits: dict[str, float],
    reason: ExitReason,
) -> None:
    with sandbox.start(python_job(code, limits=limits)) as job:
        ended = job.wait(END_S)
        assert ended is not None
        assert ended.reason is reason


def test_when_the_program_does_not_exist_then_it_was_not_started(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    spec = SandboxSpec(argv=["/nowhere/program"], limits=python_job("").limits)
    with sandbox.start(spec) as job:
        ended = job.wait(END_S)
        assert ended is not None
        assert ended.reason is ExitReason.NOT_STARTED
        assert "No such file" in ended.detail


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cwd": "relative"}, None),
        ({"hostname": "a b"}, "host name"),
        ({"env": {"A=B": "c"}}, "environment"),
        ({"mounts": (Mount(Path("/etc"), "/proc/x"),)}, "hide"),
        ({"mounts": (Mount(Path("/etc"), "/a/../b"),)}, "plain"),
        ({"mounts": (Mount(Path("/nowhere"), "/data"),)}, "does not exist"),
        ({"gpus": ("/dev/sda",)}, "GPU"),
    ],
)
def test_when_the_spec_asks_for_too_much_then_nothing_is_left_behind(
    sandbox: BubblewrapSandbox, python_job: Spec, change: dict[str, object], word: str | None
) -> None:
    if word is None:
        with sandbox.start(python_job("", **change)) as job:
            ended = job.wait(END_S)
            assert ended is not None
            assert ended.reason is ExitReason.NOT_STARTED
    else:
        with pytest.raises(BadSpec, match=word):
            sandbox.start(python_job("", **change))


def test_when_bwrap_refuses_then_its_words_come_back_and_nothing_is_left(
    sandbox: BubblewrapSandbox, python_job: Spec, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    mounts = (Mount(tmp_path / "file", "/a"), Mount(tmp_path, "/a/below"))
    with pytest.raises(StartFailed, match="bwrap: "):
        sandbox.start(python_job("", mounts=mounts))


def test_when_links_stand_in_the_work_disk_then_the_worker_does_not_follow_them(
    sandbox: BubblewrapSandbox, python_job: Spec, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    code = f"""
import os
os.symlink({str(secret)!r}, '/job/link')
os.symlink({str(tmp_path)!r}, '/job/folder')
os.mkfifo('/job/pipe')
{SAY_READY}
{SLEEP}
"""
    with sandbox.start(python_job(code)) as job:
        started(job)
        for path in ("link", "folder/secret", "pipe", "../secret", str(secret), "", "."):
            with pytest.raises(UnsafePath):
                job.read_file(path, 100)
        with pytest.raises(FileNotFoundError):
            job.read_file("nothing", 100)


def test_when_the_starting_thread_ends_then_the_job_lives_on(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    jobs: list[SandboxProcess] = []
    spec = python_job(f"{SAY_READY} import time; time.sleep(0.4); print('lived')")
    thread = threading.Thread(target=lambda: jobs.append(sandbox.start(spec)))
    thread.start()
    thread.join()
    with jobs[0] as job:
        ended = job.wait(END_S)
        assert ended is not None
        assert (ended.ok, job.output_tail()) == (True, b"lived\n")


def test_when_jobs_run_side_by_side_then_they_do_not_see_each_other(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    code = f"""
import pathlib
pathlib.Path('/dev/shm/mark').touch(); pathlib.Path('/tmp/mark').touch()
{SAY_READY}
import os
os.read(4, 10)
print(sorted(p.name for p in pathlib.Path('/proc').glob('[0-9]*')))
"""
    with sandbox.start(python_job(code)) as one, sandbox.start(python_job(code)) as two:
        for job in (started(one), started(two)):
            job.send({})
        for job in (one, two):
            job.wait(END_S)
            assert job.output_tail() == b"['1', '2']\n"


def test_when_it_has_worked_then_usage_is_counted(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    code = """
import time
kept = bytearray(64 * 1024 * 1024)
end = time.process_time() + 1.5
while time.process_time() < end: pass
"""
    with sandbox.start(python_job(code)) as job:
        job.wait(END_S)
        usage = job.stats()
    assert usage.exact == sandbox.limits_memory
    assert 0.3 < usage.cpu_seconds < 10
    assert 60 * MIB < usage.peak_memory_bytes < 1024 * MIB


def test_when_the_callback_fails_then_the_job_does_not(
    sandbox: BubblewrapSandbox, python_job: Spec
) -> None:
    def broken(_: bytes) -> None:
        raise RuntimeError

    with sandbox.start(python_job("print('x')"), broken) as job:
        ended = job.wait(END_S)
        assert ended is not None
        assert ended.ok


WORKER = """
import os, signal, sys
from pathlib import Path
from worker_agent.sandbox.base import MIB, Limits, SandboxSpec
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.mounts import runtime_mounts
from worker_agent.sandbox.settings import SandboxSettings

sandbox = detect(SandboxSettings(state_dir=Path(sys.argv[1]), allow_weak=True))
runtime = runtime_mounts()
limits = Limits(memory_bytes=128 * MIB, cpu_cores=1, disk_bytes=8 * MIB, wall_time_s=600)
code = "import os, time; os.write(3, b'{}\\\\n'); time.sleep(600)"
spec = SandboxSpec(
    argv=[*runtime.python, "-c", code], env=runtime.env, mounts=runtime.mounts, limits=limits
)
job = sandbox.start(spec)
next(job.events())
print(job.job_id, sandbox.journal.records()[0].pid, flush=True)
signal.pause()
"""


def test_when_the_worker_is_killed_then_its_jobs_end_and_the_next_one_sweeps(
    state_dir: Path,
) -> None:
    argv = [sys.executable, "-c", WORKER, str(state_dir)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as worker:
        assert worker.stdout is not None
        job_id, pid = worker.stdout.readline().split()
        settings = SandboxSettings(state_dir=state_dir, allow_weak=True)
        with pytest.raises(SandboxBusy):
            detect(settings)
        assert runs(int(pid))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    deadline = time.monotonic() + END_S
    while runs(int(pid)):
        assert time.monotonic() < deadline, "the job outlived its worker"
        time.sleep(0.01)
    after = detect(settings)
    try:
        assert list((state_dir / "jobs").iterdir()) == []
        assert list(state_dir.glob("*.img")) == []
        assert [path for path in after.cgroups.paths(job_id) if path.exists()] == []
        assert job_id not in Path("/proc/mounts").read_text()
        assert after.sweep() == []
    finally:
        after.close()


def test_when_the_sandbox_is_closed_then_its_jobs_are_gone(
    state_dir: Path, python_job: Spec
) -> None:
    sandbox = detect(SandboxSettings(state_dir=state_dir, allow_weak=True))
    job = started(sandbox.start(python_job(f"{SAY_READY} {SLEEP}")))
    pid = sandbox.journal.records()[0].pid
    assert pid is not None
    sandbox.close()
    assert not runs(pid)
    assert job.poll() is not None
    job.close()
