"""One process of the embedded market: how it is started, watched and ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client_sdk.embedded import procs

BACKOFF_FIRST_S = 0.3
BACKOFF_LAST_S = 10.0
STABLE_AFTER_S = 30.0
LOG_LIMIT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildSpec:
    """What to run. Arguments and environment never hold a secret; those are in files."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    cwd: Path
    log: Path
    is_ready: Callable[[], bool]
    ready_within_s: float = 60.0
    grace_s: float = 10.0
    """Time between SIGTERM and SIGKILL."""


@dataclass(slots=True)
class Child:
    """A child process and its restarts. Not thread-safe: the supervisor's thread owns it."""

    spec: ChildSpec
    clock: Callable[[], float] = time.monotonic
    restarts: int = 0
    """Starts after the first."""
    process: subprocess.Popen[bytes] | None = None
    started_at: int = 0
    """Start time as the kernel counts it; names the process together with its pid."""
    _begun: float = 0.0
    _next_start: float = 0.0
    _backoff_s: float = field(default=BACKOFF_FIRST_S)

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches only the supervisor."""
        if self.spec.log.exists() and self.spec.log.stat().st_size > LOG_LIMIT_BYTES:
            self.spec.log.replace(self.spec.log.with_suffix(".old"))
        with self.spec.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.spec.argv),
                env=dict(self.spec.environ),
                cwd=self.spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_at = procs.start_time(self.process.pid) or 0
        self._begun = self.clock()

    @property
    def pid(self) -> int:
        """Process id of the last start; 0 before it."""
        return self.process.pid if self.process is not None else 0

    def alive(self) -> bool:
        """Whether the process runs; reaps it when it has ended."""
        return self.process is not None and self.process.poll() is None

    def revive(self) -> bool:
        """Restart a dead process once its backoff has passed; True when it was started."""
        if self.alive():
            return False
        now = self.clock()
        if self._next_start == 0.0:
            if now - self._begun >= STABLE_AFTER_S:
                self._backoff_s = BACKOFF_FIRST_S
            self._next_start = now + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, BACKOFF_LAST_S)
        if now < self._next_start:
            return False
        self._next_start = 0.0
        self.restarts += 1
        self.start()
        return True

    def stop(self) -> None:
        """End the process and everything below it, and reap it."""
        if self.process is None:
            return
        if self.alive() and self.started_at:
            below = procs.descendants(self.process.pid)
            self.process.terminate()
            self._wait(self.spec.grace_s)
            below += procs.descendants(self.process.pid)
            if self.alive():
                self.process.kill()
            procs.kill_all(below)
        self._wait(5.0)

    def log_tail(self, num_lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        try:
            lines = self.spec.log.read_bytes()[-8192:].decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-num_lines:])

    def _wait(self, timeout_s: float) -> None:
        assert self.process is not None
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return
