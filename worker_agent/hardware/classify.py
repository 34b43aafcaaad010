"""The hardware class of this machine, measured where jobs run: in the sandbox.

*Covered*: two runs of a fixed training probe must give the same bits; a machine on which they
differ gets no class and cannot list.
*Not covered*: a provider who reports another class than it measured. Audits show that: its
segments do not match those of the class it claims.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from worker_agent.hardware.errors import ProbeFailed, UnstableHardware
from worker_agent.hardware.facts import MachineFacts
from worker_agent.sandbox.base import GIB, MIB, Limits, Sandbox, SandboxSpec
from worker_agent.sandbox.errors import SandboxError
from worker_agent.sandbox.mounts import RuntimeMounts, runtime_mounts

PROBE_MODULE = "worker_agent.runtime.probe"
_RUNS = 2
_LIMIT_S = 300.0
_HEX_DIGITS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class HardwareClass:
    """What names the bits this machine computes."""

    digest: bytes
    """32 bytes; equal on machines that compute equal bits with the same torch and release."""
    torch: str
    """Version of torch that jobs run on, with its build."""
    device: str
    threads: int
    seconds: float
    """Duration of one run of the probe without the import of torch."""


def probe_spec(facts: MachineFacts, threads: int, runtime: RuntimeMounts) -> SandboxSpec:
    """Return the job that runs the probe once."""
    command = ["-m", PROBE_MODULE, "--threads", str(threads), "--device", facts.device]
    gpus = facts.offered_gpus[:1]
    # CUDA's libraries and context take several GiB of host memory.
    memory = 16 * GIB if gpus else 3 * GIB
    return SandboxSpec(
        argv=[*runtime.python, *command],
        env={**runtime.env, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)},
        mounts=runtime.mounts,
        limits=Limits(
            memory_bytes=min(memory, facts.memory_bytes),
            cpu_cores=float(facts.cpu_count),
            disk_bytes=64 * MIB,
            num_files=100,
            wall_time_s=_LIMIT_S,
        ),
        gpus=gpus,
    )


def parse_report(output: bytes) -> dict[str, Any]:
    """Return the probe's report, the last line of its output; `ProbeFailed` when it is none."""
    lines = output.decode(errors="replace").strip().splitlines()
    try:
        report = json.loads(lines[-1])
        digest = report["digest"]
        right = len(bytes.fromhex(digest.removeprefix("0x"))) == _HEX_DIGITS // 2
        known = isinstance(report["torch"], str) and isinstance(report["seconds"], float | int)
    except (IndexError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProbeFailed(f"the probe gave no report but: {' '.join(lines)[-500:]!r}") from error
    if not (right and known):
        raise ProbeFailed(f"the probe's report is malformed: {lines[-1][:500]}")
    return dict(report)


def _run_once(sandbox: Sandbox, spec: SandboxSpec) -> dict[str, Any]:
    try:
        with sandbox.start(spec) as job:
            ended = job.wait(_LIMIT_S + 30)
            output = job.output_tail()
    except SandboxError as error:
        raise ProbeFailed(f"the probe could not run: {error}") from error
    if ended is None or not ended.ok:
        said = output.decode(errors="replace").strip()[-2000:]
        raise ProbeFailed(f"the probe ended with {ended}: {said}")
    return parse_report(output)


def measure_class(
    sandbox: Sandbox, facts: MachineFacts, *, threads: int = 1, runs: int = _RUNS
) -> HardwareClass:
    """Run the probe twice in the sandbox and return this machine's class.

    Parameters
    ----------
    sandbox
        The tier that jobs will run in.
    facts
        This machine.
    threads
        Threads of torch's CPU kernels; part of the class.
    runs
        How often to run it; once is enough to hold the machine against a class known before.

    Raises
    ------
    UnstableHardware
        When the two runs differ.
    ProbeFailed
        When a run does not end well.
    """
    spec = probe_spec(facts, threads, runtime_mounts())
    reports = [_run_once(sandbox, spec) for _ in range(runs)]
    digests = [str(report["digest"]) for report in reports]
    if len(set(digests)) != 1:
        raise UnstableHardware(digests)
    first = reports[0]
    return HardwareClass(
        digest=bytes.fromhex(digests[0].removeprefix("0x")),
        torch=str(first["torch"]),
        device=facts.device,
        threads=threads,
        seconds=min(float(report["seconds"]) for report in reports),
    )
