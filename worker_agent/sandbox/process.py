"""One running job: its pipes, its clock, its end.

*Covered*: output is drained whatever the worker does, with a bound on what is kept and on the
total; the wall clock; SIGTERM reaches the renter's program and not bwrap; the end is reported
only when no process of the job is left.
*Not covered*: a program that ignores its grace loses what it did not write.
"""

from __future__ import annotations

import io
import json
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker_agent.sandbox import files
from worker_agent.sandbox.base import (
    MIB,
    Caps,
    Collected,
    Exit,
    ExitReason,
    Limits,
    OutputCallback,
    Usage,
)
from worker_agent.sandbox.cgroups import CgroupGroup
from worker_agent.sandbox.errors import ControlClosed, SandboxError, StillRunning
from worker_agent.sandbox.proctree import Sampler, find_main

log = logging.getLogger(__name__)

TAIL_BYTES = MIB
MAX_LINE_BYTES = MIB
"""Longest line accepted on the control pipe; longer ones are dropped."""

_PIECE = 256 * 1024
_SAMPLE_S = 1.0
_END_S = 10.0
_SIGNAL_BASE = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Handles:
    """Everything `JobProcess` takes over from the start of a job."""

    popen: subprocess.Popen[bytes]
    init_pid: int
    init_fd: int
    """pidfd of process 1 of the sandbox: when it is gone, all are."""
    work_fd: int
    output_fd: int
    status_fd: int
    control_in_fd: int
    """The worker writes commands here."""
    control_out_fd: int
    """The worker reads events here."""
    group: CgroupGroup | None
    release: Callable[[], None]
    """Gives uid slot, cgroups and journal entry back."""


@dataclass(slots=True)
class _Ending:
    """What decides how the end is reported; guarded by the process's lock."""

    cause: ExitReason | None = None
    kill_at: float = float("inf")
    exit: Exit | None = None
    usage: Usage | None = None
    done: threading.Event = field(default_factory=threading.Event)


class JobProcess:
    """A job in a bubblewrap sandbox.

    Parameters
    ----------
    job_id
        Name of the job's resources.
    handles
        Processes and descriptors, which this object closes.
    limits
        Wall time and output limit are enforced here.
    on_output
        Called from the drain thread; an exception in it is logged and ends the calls.
    """

    def __init__(
        self,
        job_id: str,
        handles: Handles,
        limits: Limits,
        on_output: OutputCallback | None,
    ) -> None:
        self._job_id = job_id
        self._handles = handles
        self._limits = limits
        self._on_output = on_output
        self._lock = threading.Lock()
        self._ending = _Ending(kill_at=time.monotonic() + limits.wall_time_s)
        self._tail = bytearray()
        self._sampler = Sampler(handles.init_pid)
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(handles.control_in_fd, False)
        self._events = os.fdopen(handles.control_out_fd, "rb")
        self._closed = False
        self._drainer = threading.Thread(target=self._drain, name=f"{job_id}-output", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"{job_id}-watch", daemon=True)
        self._drainer.start()
        self._watcher.start()

    @property
    def job_id(self) -> str:
        """Name of this job's resources on the machine."""
        return self._job_id

    # -- talking to the job

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON line to the job's file descriptor 4."""
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            if self._closed:
                raise ControlClosed
            try:
                written = os.write(self._handles.control_in_fd, line)
            except BlockingIOError:
                raise ControlClosed("the job does not read its commands") from None
            except BrokenPipeError:
                raise ControlClosed from None
        if written != len(line):
            raise ControlClosed("the job does not read its commands")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects the job wrote to file descriptor 3; drops what is none."""
        while line := self._read_line():
            if not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = self._read_line()
                log.warning("%s: dropped an event over %d bytes", self._job_id, MAX_LINE_BYTES)
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                log.warning("%s: dropped an event that is no JSON", self._job_id)
                continue
            if isinstance(event, dict):
                yield event

    def _read_line(self) -> bytes:
        try:
            return self._events.readline(MAX_LINE_BYTES)
        except ValueError:
            return b""  # closed meanwhile: nothing more comes

    # -- ending

    def poll(self) -> Exit | None:
        """Return how the job ended, None while it runs."""
        return self._ending.exit if self._ending.done.is_set() else None

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        """Wait for the end; None when ``timeout_s`` passed first."""
        self._ending.done.wait(timeout_s)
        return self.poll()

    def interrupt(self, grace_s: float) -> None:
        """Send SIGTERM to the renter's program; kill everything after ``grace_s``."""
        with self._lock:
            if self._ending.done.is_set():
                return
            self._ending.cause = self._ending.cause or ExitReason.INTERRUPTED
            self._ending.kill_at = min(self._ending.kill_at, time.monotonic() + grace_s)
        main = find_main(self._handles.init_pid)
        if main is not None:
            try:
                signal.pidfd_send_signal(main, signal.SIGTERM)
            except ProcessLookupError:
                log.debug("%s: ended before the interrupt", self._job_id)
            finally:
                os.close(main)
        self._wake()

    def kill(self) -> None:
        """Kill every process of the job now."""
        self._end_because(ExitReason.KILLED)

    def _end_because(self, cause: ExitReason) -> None:
        with self._lock:
            if self._ending.done.is_set():
                return
            self._ending.cause = self._ending.cause or cause
        self._kill_all()

    def _kill_all(self) -> None:
        try:
            # The kernel ends a process namespace with its process 1.
            signal.pidfd_send_signal(self._handles.init_fd, signal.SIGKILL)
        except ProcessLookupError:
            log.debug("%s: already gone", self._job_id)
        if self._handles.group is not None:
            self._handles.group.kill()

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.write(self._wake_w, b"x")

    # -- threads

    def _drain(self) -> None:
        # Owned by this thread: a callback may still hold it when the job is closed.
        with os.fdopen(self._handles.output_fd, "rb", buffering=0) as output:
            self._drain_from(output)

    def _drain_from(self, output: io.FileIO) -> None:
        total = 0
        callback = self._on_output
        while piece := output.read(_PIECE):
            total += len(piece)
            with self._lock:
                self._tail += piece
                del self._tail[:-TAIL_BYTES]
            if total > self._limits.stdout_bytes:
                self._end_because(ExitReason.OUTPUT_LIMIT)
                callback = None
            if callback is not None:
                try:
                    callback(piece)
                except Exception:
                    log.exception("%s: the output callback failed", self._job_id)
                    callback = None

    def _watch(self) -> None:
        exit_ = Exit(ExitReason.KILLED, None, "the watcher failed, see the worker's log")
        usage = self._sampler.usage()
        try:
            self._watch_until_gone()
            exit_, usage = self._account()
        except Exception:
            # A thread's edge: without it nobody would ever see the end of the job.
            log.exception("%s: the watcher failed", self._job_id)
            self._kill_all()
        with self._lock:
            self._ending.exit = exit_
            self._ending.usage = usage
            self._ending.done.set()

    def _watch_until_gone(self) -> None:
        poller = select.poll()
        poller.register(self._handles.init_fd, select.POLLIN)
        poller.register(self._wake_r, select.POLLIN)
        while True:
            now = time.monotonic()
            with self._lock:
                kill_at = self._ending.kill_at
            if now >= kill_at:
                self._end_because(ExitReason.WALL_TIME)
                kill_at = float("inf")
                with self._lock:
                    self._ending.kill_at = kill_at
            pause_s = min(kill_at - now, _SAMPLE_S)
            ready = {number for number, _ in poller.poll(max(0.0, pause_s) * 1000)}
            if self._handles.init_fd in ready:
                return
            if self._wake_r in ready:
                os.read(self._wake_r, 4096)
            if self._handles.group is None:
                self._sampler.sample()

    def _account(self) -> tuple[Exit, Usage]:
        """Return how the job ended and what it used, once its processes are gone."""
        popen = self._handles.popen
        try:
            code = popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            code = popen.wait()
        self._drainer.join(_END_S)
        status = self._read_status()
        group = self._handles.group
        usage = group.usage() if group is not None else None
        with self._lock:
            cause = self._ending.cause
        return self._classify(cause, code, status), usage or self._sampler.usage()

    def _read_status(self) -> int | None:
        """Return the exit code bwrap reported; None when the program never ran to its end."""
        with os.fdopen(self._handles.status_fd, "rb") as file:
            for line in file:
                code = json.loads(line).get("exit-code")
                if code is not None:
                    return int(code)
        return None

    def _classify(self, cause: ExitReason | None, bwrap_code: int, code: int | None) -> Exit:
        group = self._handles.group
        if cause is not None:
            return Exit(cause, code)
        if group is not None and group.out_of_memory() and code in (None, 137):
            return Exit(ExitReason.OUT_OF_MEMORY, code, "memory limit reached")
        if code is None:
            detail = self.output_tail()[-2000:].decode(errors="replace").strip()
            return Exit(ExitReason.NOT_STARTED, None, detail or f"bwrap ended with {bwrap_code}")
        if code > _SIGNAL_BASE:
            return Exit(ExitReason.SIGNALED, code, f"signal {code - _SIGNAL_BASE}")
        return Exit(ExitReason.EXITED, code)

    # -- what is left

    def stats(self) -> Usage:
        """Return what the job has used so far; after the end: in all."""
        if self._ending.usage is not None:
            return self._ending.usage
        group = self._handles.group
        usage = group.usage() if group is not None else None
        if usage is None:
            self._sampler.sample()
            usage = self._sampler.usage()
        return usage

    def output_tail(self) -> bytes:
        """Return the last MiB of stdout and stderr."""
        with self._lock:
            return bytes(self._tail)

    def read_file(self, path: str, max_bytes: int) -> bytes:
        """Read a regular file below /job without following links."""
        return files.read_file(self._work(), path, max_bytes)

    def copy_file(self, path: str, destination: Path, max_bytes: int) -> int:
        """Copy a regular file below /job; return its size in bytes."""
        return files.copy_file(self._work(), path, destination, max_bytes)

    def list_dir(self, path: str) -> list[str]:
        """Return the names in a folder below /job."""
        return files.list_dir(self._work(), path)

    def collect(
        self, destination: Path, patterns: Sequence[str], caps: Caps, *, root: str = "."
    ) -> Collected:
        """Copy matching regular files below ``/job/<root>`` out; only after the end."""
        if not self._ending.done.is_set():
            raise StillRunning
        return files.Collector(destination, patterns, caps).collect(self._work(), root)

    def _work(self) -> int:
        if self._closed:
            raise SandboxError("the job was closed and its work disk is gone")
        return self._handles.work_fd

    def close(self) -> None:
        """Kill what still runs and give every resource back; may be called twice."""
        self.kill()
        self._ending.done.wait()
        self._watcher.join()
        with self._lock:
            if self._closed:
                return
            self._closed = True
        handles = self._handles
        for number in (handles.init_fd, handles.work_fd, handles.control_in_fd):
            os.close(number)
        os.close(self._wake_r)
        os.close(self._wake_w)
        self._events.close()
        handles.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
