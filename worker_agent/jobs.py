"""Starts the runtime in the sandbox: one place that says what a job is given, and nothing more.

The job's environment is made here from nothing. It holds no key, no address of this machine and no
variable of the worker's own environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.manifest import JobManifest
from worker_agent.inputs import JobInputs
from worker_agent.runtime.task import SCHEMA as TASK_SCHEMA
from worker_agent.runtime.task import Mode
from worker_agent.sandbox.base import Limits, Mount, Sandbox, SandboxProcess, SandboxSpec
from worker_agent.sandbox.files import make_readable
from worker_agent.sandbox.mounts import runtime_mounts

_MAX_OUTPUT_BYTES: Final = 1 << 30
_SPARE_S: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One execution."""

    mode: Mode
    inputs: JobInputs
    lease_id: bytes
    seed: int
    clock_s: int
    """Unix time at which the job's clock starts: ``open_by`` of the terms, which whoever executes
    it again knows as well."""
    start_segment: int = 0
    max_segments: int | None = None
    """Most segments of the lease; default: the manifest's."""
    stop_after_segment: int | None = None
    resume: Path | None = None
    """Checkpoint folder of the segment before ``start_segment``."""
    probe_steps: int | None = None
    wall_time_s: float

    def task(self) -> dict[str, Any]:
        """Content of ``task.json``."""
        manifest = self.inputs.manifest
        task: dict[str, Any] = {
            "schema": TASK_SCHEMA,
            "mode": self.mode.value,
            "lease_id": to_hex(self.lease_id),
            "seed": self.seed,
            "clock_s": self.clock_s,
            "threads": manifest.threads,
            "entry": manifest.entry,
            "args": list(manifest.args),
            "env": dict(manifest.env),
            "code_dir": "/code",
            "data_dir": "/data",
            "image_dir": "/image" if self.inputs.image else None,
            "out_dir": "/job/out",
            "segment_steps": manifest.segment_steps,
            "max_segments": self.max_segments or manifest.max_segments,
            "start_segment": self.start_segment,
            "stop_after_segment": self.stop_after_segment,
            "resume_dir": "/resume" if self.resume else None,
        }
        if self.probe_steps is not None:
            task["probe_steps"] = self.probe_steps
        if self.mode is Mode.METERED:
            task["segment_seconds"] = manifest.segment_seconds
        return task


class Jobs:
    """Starts executions on this machine.

    Parameters
    ----------
    sandbox:
        The tier of this machine.
    gpus:
        Device nodes that a job with GPUs gets.
    """

    def __init__(self, sandbox: Sandbox, gpus: tuple[str, ...] = ()) -> None:
        self._sandbox = sandbox
        self._gpus = gpus

    def start(self, work: Work, on_output: Callable[[bytes], None] | None = None) -> SandboxProcess:
        """Start one execution; the caller closes the process.

        Raises
        ------
        SandboxError
            The machine refuses.
        """
        runtime = runtime_mounts()
        manifest = work.inputs.manifest
        mounts = [*runtime.mounts, Mount(work.inputs.code, "/code")]
        # Item by item: a bound folder would follow what is added to it later.
        mounts += [Mount(path, f"/data/{path.name}") for path in sorted(work.inputs.data.iterdir())]
        if work.inputs.image is not None:
            mounts.append(Mount(work.inputs.image, "/image"))
        if work.resume is not None:
            make_readable(work.resume)
            mounts.append(Mount(work.resume, "/resume"))
        spec = SandboxSpec(
            argv=[*runtime.python, "-m", "worker_agent.runtime"],
            env=job_environment(runtime.env, manifest.threads),
            mounts=mounts,
            work_files={"task.json": json.dumps(work.task()).encode()},
            limits=job_limits(manifest, work.wall_time_s),
            gpus=self._gpus if manifest.gpu_count else (),
        )
        return self._sandbox.start(spec, on_output)


def job_limits(manifest: JobManifest, wall_time_s: float) -> Limits:
    """What a job may use: what its manifest asks for."""
    return Limits(
        memory_bytes=manifest.memory_bytes,
        cpu_cores=float(manifest.threads),
        disk_bytes=manifest.disk_bytes,
        wall_time_s=wall_time_s + _SPARE_S,
        stdout_bytes=_MAX_OUTPUT_BYTES,
    )


def job_environment(base: Mapping[str, str], threads: int) -> dict[str, str]:
    """Variables of the job's process; the job's own are set later, by the runtime."""
    return {
        **base,
        # Local time must not tell machines apart; the job spec may name another zone.
        "TZ": "UTC0",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # Waiting threads must not burn the cores that they share with others.
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
