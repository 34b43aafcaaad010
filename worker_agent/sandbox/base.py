"""What every sandbox tier offers: the words and types the rest of the worker uses.

A tier turns a `SandboxSpec` into a running `SandboxProcess`. bubblewrap is the one tier of this
release (`worker_agent.sandbox.bubblewrap`); OCI runtimes fit behind the same interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from client_sdk.protocol.machine import Isolation as Isolation

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

WORK_DIR = "/job"
"""The one place in the sandbox that a job may write to and that outlives it."""

OutputCallback = Callable[[bytes], None]
"""Called from the drain thread with each piece of the job's stdout and stderr."""


class ExitReason(StrEnum):
    """Why a job's processes ended; the first reason wins."""

    EXITED = "exited"  # the program ended by itself, code is its exit status
    SIGNALED = "signaled"  # a signal the worker did not send; code is 128 + its number
    OUT_OF_MEMORY = "out_of_memory"  # the kernel killed it at the memory limit
    WALL_TIME = "wall_time"  # it ran into Limits.wall_time_s
    OUTPUT_LIMIT = "output_limit"  # it printed more than Limits.stdout_bytes
    INTERRUPTED = "interrupted"  # the worker asked it to stop, within or after the grace
    KILLED = "killed"  # the worker killed it
    NOT_STARTED = "not_started"  # the program could not be executed; our fault or a bad argv


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a job may use; the defaults are those of the sandbox study."""

    memory_bytes: int
    """Memory of all processes together, tmpfs included; no swap on top."""
    num_processes: int = 512
    """Processes and threads together."""
    cpu_cores: float
    """Processor time per second of wall time."""
    disk_bytes: int
    """Size of the work disk at /job."""
    num_files: int = 100_000
    """Inodes of the work disk."""
    wall_time_s: float
    """Seconds from start to kill."""
    stdout_bytes: int = GIB
    """Bytes of stdout and stderr together, after which the job is killed."""
    shared_memory_bytes: int = 256 * MIB
    """Size of /dev/shm, which torch's data loaders need; counts as memory."""
    temporary_bytes: int = 64 * MIB
    """Size of /tmp; counts as memory."""
    num_open_files: int = 4096
    """Open files per process."""

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "num_processes", "cpu_cores", "disk_bytes", "wall_time_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above zero, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Mount:
    """A host file or folder shown read-only in the sandbox.

    The source itself must be readable for everybody (the job has its own uid); its parent
    folders need not be.
    """

    source: Path
    target: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSpec:
    """One program to run."""

    argv: Sequence[str]
    limits: Limits
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the program, nothing of the worker's is added."""
    mounts: Sequence[Mount] = ()
    work_files: Mapping[str, bytes] = field(default_factory=dict)
    """Files put into /job before the program starts, by path relative to /job."""
    gpus: Sequence[str] = ()
    """Device nodes of the granted GPUs, such as ``/dev/nvidia0``."""
    cwd: str = WORK_DIR
    hostname: str = "job"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a job ended. ``code`` is None when the program never ran or was killed by us."""

    reason: ExitReason
    code: int | None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with status 0."""
        return self.reason is ExitReason.EXITED and self.code == 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job has used so far."""

    cpu_seconds: float
    peak_memory_bytes: int
    exact: bool
    """True when the kernel counted, False when the worker sampled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caps:
    """What the collector takes at most."""

    total_bytes: int
    num_files: int = 1000
    depth: int = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing the job left that was not collected, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Outputs copied out of the sandbox, paths relative to the destination."""

    files: list[Path]
    refused: list[Refusal]


class SandboxProcess(Protocol):
    """One job; every method may be called from any thread."""

    @property
    def job_id(self) -> str:
        """Name of this job's resources on the machine."""
        ...

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON line to the job's file descriptor 4; `ControlClosed` when it is gone."""
        ...

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects the job wrote to file descriptor 3, until it closes it."""
        ...

    def poll(self) -> Exit | None:
        """Return how the job ended, None while it runs."""
        ...

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        """Wait for the end; None when ``timeout_s`` passed first."""
        ...

    def interrupt(self, grace_s: float) -> None:
        """Send SIGTERM to the program; kill everything after ``grace_s``. Does not wait."""
        ...

    def kill(self) -> None:
        """Kill every process of the job now."""
        ...

    def stats(self) -> Usage:
        """Return what the job has used so far; after the end: in all."""
        ...

    def output_tail(self) -> bytes:
        """Return the last MiB of stdout and stderr."""
        ...

    def read_file(self, path: str, max_bytes: int) -> bytes:
        """Read a regular file below /job without following links."""
        ...

    def copy_file(self, path: str, destination: Path, max_bytes: int) -> int:
        """Copy a regular file below /job; return its size in bytes."""
        ...

    def list_dir(self, path: str) -> list[str]:
        """Return the names in a folder below /job."""
        ...

    def collect(
        self, destination: Path, patterns: Sequence[str], caps: Caps, *, root: str = "."
    ) -> Collected:
        """Copy matching regular files below ``/job/<root>`` out; only after the end."""
        ...

    def close(self) -> None:
        """Kill what still runs and give every resource back; may be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Sandbox(Protocol):
    """One tier on this machine."""

    @property
    def tier(self) -> str:
        """Name of the tier, as listings show it."""
        ...

    @property
    def isolation(self) -> Isolation:
        """How much this tier enforces."""
        ...

    @property
    def limits_memory(self) -> bool:
        """Whether the kernel enforces memory and process limits."""
        ...

    def start(self, spec: SandboxSpec, on_output: OutputCallback | None = None) -> SandboxProcess:
        """Start a job; `SandboxError` when the machine refuses."""
        ...

    def sweep(self) -> list[str]:
        """Remove what a killed worker left behind; return the names of those jobs."""
        ...

    def close(self) -> None:
        """Kill every job and let go of the state folder."""
        ...
