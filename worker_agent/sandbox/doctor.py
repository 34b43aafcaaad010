"""Attacks this machine's sandbox and tells whether the machine may list.

*Covered*: the probes of `worker_agent.sandbox.probes`, run as jobs with bait on the host side
(secret files, an environment variable, listening sockets), and the worker's own duties: output
limit, interrupt and kill, traps among collected outputs.
*Not covered*: GPU isolation between jobs (one tenant per GPU is a rule of the worker), side
channels, and flaws of the kernel.

The same probes are the project's security tests and ``gridlease worker check``.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worker_agent.sandbox.base import (
    MIB,
    Caps,
    Exit,
    ExitReason,
    Isolation,
    Limits,
    Mount,
    Sandbox,
    SandboxProcess,
    SandboxSpec,
)
from worker_agent.sandbox.errors import SandboxError
from worker_agent.sandbox.mounts import SOURCES_TARGET, runtime_mounts

SCHEMA = "gridlease/sandbox-report/1"
PROBES_MODULE = "worker_agent.sandbox.probes"

QUIET_PROBES = (
    "secret_files",
    "home_folders",
    "environment",
    "kernel_settings",
    "kernel_messages",
    "read_only_system",
    "other_processes",
    "privileges",
    "inherited_files",
    "devices",
    "host_network",
    "socket_families",
    "nested_namespaces",
    "file_systems",
    "tracing",
    "kernel_interfaces",
    "foreign_calls",
    "terminal",
    "open_file_limit",
)
"""Probes that share one job, because none of them can end it."""

MEMORY_KINDS = ("private", "shared", "memfd")

MEMORY_PROBES = frozenset(f"memory_{kind}" for kind in MEMORY_KINDS)

_PROBE_S = 60.0
_KILL_S = 2.0
_NUM_PROCESSES = 48
_NUM_FILES = 500
_MEMORY = 96 * MIB
_DISK = 16 * MIB
_SMALL_TMPFS = 8 * MIB
_FLOOD = 8 * MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one attack."""

    name: str
    contained: bool
    required: bool
    """False when this machine's isolation does not promise it, which the listing shows."""
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Result of an examination."""

    tier: str
    isolation: Isolation
    findings: tuple[Finding, ...]
    seconds: float
    schema: str = field(default=SCHEMA)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Attacks that worked although this isolation promises that they do not."""
        return tuple(f for f in self.findings if f.required and not f.contained)

    @property
    def may_list(self) -> bool:
        """Whether this machine may offer itself."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return the report for ``gridlease worker check --json``."""
        return {**asdict(self), "isolation": str(self.isolation), "may_list": self.may_list}


@dataclass(frozen=True, slots=True)
class Bait:
    """What the host holds out for the probes."""

    marker: str
    secrets: list[str]
    port: int
    abstract: str
    listeners: list[socket.socket]

    def was_taken(self) -> bool:
        """Tell whether something connected to the host's sockets."""
        for listener in self.listeners:
            listener.setblocking(False)
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            return True
        return False


@contextmanager
def bait() -> Iterator[Bait]:
    """Plant secrets and listen on the host while the probes run."""
    marker = "gridlease-bait-" + secrets.token_hex(8)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gridlease-")))
        folder.chmod(0o755)
        planted = [folder / "readable", folder / "private"]
        for path, mode in zip(planted, (0o644, 0o600), strict=True):
            path.write_text(marker)
            path.chmod(mode)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind("\0" + marker)
        unix.listen()
        # The one place that writes to the environment: the worker's own variables are the bait.
        os.environ["GRIDLEASE_BAIT"] = marker
        stack.callback(os.environ.pop, "GRIDLEASE_BAIT", None)
        port = tcp.getsockname()[1]
        yield Bait(marker, [str(path) for path in planted], port, marker, [tcp, unix])


def promised(sandbox: Sandbox, name: str) -> bool:
    """Tell whether this sandbox promises to contain a probe."""
    if name in MEMORY_PROBES:
        return sandbox.limits_memory
    return name != "many_files" or sandbox.isolation is Isolation.STRONG


class Doctor:
    """Runs the probes on one sandbox.

    Parameters
    ----------
    sandbox
        The tier to examine.
    lure
        Bait on the host.
    """

    def __init__(self, sandbox: Sandbox, lure: Bait) -> None:
        self._sandbox = sandbox
        self._lure = lure
        self._findings: list[Finding] = []
        runtime = runtime_mounts()
        probes = Path(__file__).with_name("probes")
        target = f"{SOURCES_TARGET}/worker_agent/sandbox/probes"
        self._mounts = (*runtime.mounts, Mount(probes, target))
        self._runtime = runtime

    def examine(self) -> tuple[Finding, ...]:
        """Run every probe and return what came of it."""
        self._quiet()
        self._process_bombs()
        for kind in MEMORY_KINDS:
            self._memory_bomb(kind)
        self._disk_bombs()
        self._flood()
        self._unkillable()
        self._odd_outputs()
        return tuple(self._findings)

    def _note(self, name: str, contained: bool, detail: str) -> None:
        self._findings.append(Finding(name, contained, promised(self._sandbox, name), detail))

    def _limits(self, **changes: Any) -> Limits:
        values: dict[str, Any] = {
            "memory_bytes": 256 * MIB,
            "num_processes": _NUM_PROCESSES,
            "cpu_cores": 1.0,
            "disk_bytes": _DISK,
            "num_files": _NUM_FILES,
            "wall_time_s": _PROBE_S,
            "temporary_bytes": _SMALL_TMPFS,
            "shared_memory_bytes": _SMALL_TMPFS,
            "num_open_files": 256,
        }
        return Limits(**{**values, **changes})

    def _start(
        self, names: Sequence[str], limits: Limits, arguments: Mapping[str, Any] | None = None
    ) -> SandboxProcess:
        given = {"secrets": self._lure.secrets, "marker": self._lure.marker, **(arguments or {})}
        plan = {"names": list(names), "arguments": given}
        return self._sandbox.start(
            SandboxSpec(
                argv=[*self._runtime.python, "-m", PROBES_MODULE],
                env=self._runtime.env,
                mounts=self._mounts,
                limits=limits,
                work_files={"probes.json": json.dumps(plan).encode()},
            )
        )

    def _run(
        self, names: Sequence[str], limits: Limits, arguments: Mapping[str, Any] | None = None
    ) -> tuple[Exit, list[dict[str, Any]]]:
        with self._start(names, limits, arguments) as job:
            events = list(job.events())
            ended = job.wait(_PROBE_S)
            if ended is None:
                raise SandboxError(f"the probes {', '.join(names)} did not end")
            if not events:
                said = job.output_tail().decode(errors="replace")[-1000:]
                raise SandboxError(f"the probes {', '.join(names)} said nothing: {said}")
            return ended, events

    def _report(self, names: Sequence[str], ended: Exit, events: list[dict[str, Any]]) -> None:
        answers = {event["name"]: event for event in events if event.get("event") == "probe"}
        for name in names:
            answer = answers.get(name)
            if answer is None:
                self._note(name, False, f"no answer; the job ended with {ended.reason}")
            else:
                self._note(name, bool(answer["contained"]), str(answer["detail"]))

    def _quiet(self) -> None:
        limits = self._limits()
        arguments = {
            "port": self._lure.port,
            "abstract": self._lure.abstract,
            "read_only": [m.target for m in self._mounts if m.source.is_dir()],
            "num_open_files": limits.num_open_files,
        }
        ended, events = self._run(QUIET_PROBES, limits, arguments)
        self._report(QUIET_PROBES, ended, events)
        if self._lure.was_taken():
            self._note("host_sockets", False, "something connected to the host")

    def _process_bombs(self) -> None:
        names = ("fork_bomb", "thread_bomb")
        ended, events = self._run(names, self._limits(), {"num_processes": _NUM_PROCESSES})
        self._report(names, ended, events)

    def _memory_bomb(self, kind: str) -> None:
        limits = self._limits(memory_bytes=_MEMORY)
        arguments = {"memory_bytes": _MEMORY, "memory_kind": kind}
        ended, events = self._run(("memory_bomb",), limits, arguments)
        taken = max((e["bytes"] for e in events if e.get("event") == "taken"), default=0)
        contained = taken <= _MEMORY
        detail = f"{ended.reason} after {taken // MIB} MiB of {_MEMORY // MIB}"
        self._note(f"memory_{kind}", contained, detail)

    def _disk_bombs(self) -> None:
        names = ("fill", "many_files")
        folders = {"/job": _DISK, "/tmp": _SMALL_TMPFS, "/dev/shm": _SMALL_TMPFS}  # noqa: S108 -- inside the sandbox
        arguments = {"folders": folders, "num_files": _NUM_FILES}
        ended, events = self._run(names, self._limits(), arguments)
        self._report(names, ended, events)

    def _flood(self) -> None:
        spec = SandboxSpec(
            argv=[*self._runtime.python, "-c", "while True: print('x' * 65536)"],
            env=self._runtime.env,
            mounts=self._runtime.mounts,
            limits=self._limits(stdout_bytes=_FLOOD),
        )
        with self._sandbox.start(spec) as job:
            ended = job.wait(_PROBE_S)
            kept = len(job.output_tail())
        contained = ended is not None and ended.reason is ExitReason.OUTPUT_LIMIT and kept <= MIB
        self._note("output_flood", contained, f"{ended and ended.reason}, kept {kept} bytes")

    def _unkillable(self) -> None:
        with self._start(("ignore_signals",), self._limits()) as job:
            next(iter(job.events()), None)
            began = time.monotonic()
            job.interrupt(0.1)
            ended = job.wait(_PROBE_S)
            seconds = time.monotonic() - began
        contained = ended is not None and ended.reason is ExitReason.INTERRUPTED
        self._note("ignore_signals", contained and seconds < _KILL_S, f"gone in {seconds:.3f} s")

    def _odd_outputs(self) -> None:
        limits = self._limits()
        arguments = {"sparse_bytes": limits.disk_bytes}
        with (
            tempfile.TemporaryDirectory(prefix="gridlease-") as folder,
            self._start(("odd_outputs",), limits, arguments) as job,
        ):
            job.wait(_PROBE_S)
            caps = Caps(total_bytes=MIB, num_files=20)
            taken = job.collect(Path(folder), ["**"], caps, root="out")
            modes = {path.stat().st_mode & 0o7777 for path in Path(folder).rglob("*.*")}
        names = {str(path) for path in taken.files}
        contained = names == {"good.txt", "setuid"} and modes <= {0o600}
        detail = f"took {sorted(names)}, refused {len(taken.refused)}"
        self._note("odd_outputs", contained, detail)


def examine(sandbox: Sandbox) -> Report:
    """Run every probe on a sandbox."""
    began = time.monotonic()
    with bait() as lure:
        findings = Doctor(sandbox, lure).examine()
    return Report(
        tier=sandbox.tier,
        isolation=sandbox.isolation,
        findings=findings,
        seconds=time.monotonic() - began,
    )
