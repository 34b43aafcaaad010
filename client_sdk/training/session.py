"""Where a run takes place: under a lease, set up by the worker's runtime, or at the renter's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from client_sdk.protocol.checkpoint import STATE_NAME
from client_sdk.training import determinism
from client_sdk.training.clock import JobClock, real_monotonic
from client_sdk.training.errors import NotBegunError, OptionError
from client_sdk.training.options import LocalOptions

_LOCAL_LEASE_ID = bytes(32)


class RunStopped(SystemExit):
    """Ends the script at a segment boundary: on request, after an audited segment, after a probe.

    A SystemExit, so that the script's own ``except Exception`` does not swallow it.
    """

    def __init__(self) -> None:
        super().__init__(0)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a job costs on this machine.

    Attributes
    ----------
    steps
        Steps that were run.
    setup_s
        Seconds from `begin` to the first step.
    step_s
        Median seconds per step.
    mean_step_s
        Mean seconds per step, without the first.
    boundary_s
        Seconds for state hash and checkpoint.
    state_bytes
        Bytes of tensors in a checkpoint.
    """

    steps: int
    setup_s: float
    step_s: float
    mean_step_s: float
    boundary_s: float
    state_bytes: int


class Observer(Protocol):
    """Hears what a run does."""

    def wants_step(self) -> bool:
        """Whether to report this step; asked for each, so that metrics stay on the device else."""

    def on_step(self, segment: int, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done."""

    def on_segment(self, segment: int, record: Mapping[str, Any]) -> None:
        """A segment is done and its checkpoint lies on disk."""

    def on_probe(self, result: ProbeResult) -> None:
        """A probe is done."""

    def stop_requested(self) -> bool:
        """Whether to end after the segment that is running."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What is decided outside the script.

    Attributes
    ----------
    lease_id
        32 bytes; zeros outside a lease.
    seed
        Seed of everything random.
    segment_steps, max_segments
        Steps per segment, and the segment count after which the run ends.
    out_dir
        Folder for ``segments/`` and ``outputs/``.
    data_dir
        Folder under which the job's data lie by name.
    observer
        Hears what the run does.
    start_segment
        First segment to run.
    resume_dir
        Folder of the checkpoint that ends segment `start_segment` - 1.
    stop_after_segment
        Last segment to run, or None.
    probe_steps
        Steps after which to measure and stop, or None.
    clock
        What the script takes for the time, or None for the time itself.
    """

    lease_id: bytes
    seed: int
    segment_steps: int
    max_segments: int
    out_dir: Path
    data_dir: Path
    observer: Observer
    start_segment: int = 0
    resume_dir: Path | None = None
    stop_after_segment: int | None = None
    probe_steps: int | None = None
    clock: JobClock | None = None
    begun_at_s: float = field(default_factory=real_monotonic)

    @property
    def device(self) -> torch.device:
        """The granted GPU, else the CPU."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def segments_dir(self) -> Path:
        """Folder of the checkpoints, one folder per segment."""
        return self.out_dir / "segments"

    @property
    def outputs_dir(self) -> Path:
        """Folder of what the renter gets back besides checkpoints."""
        return self.out_dir / "outputs"


class LocalObserver:
    """Appends metrics to ``metrics.jsonl``; never stops a run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wants_step(self) -> bool:
        return True

    def on_step(self, segment: int, step: int, metrics: Mapping[str, float]) -> None:
        line = json.dumps({"segment": segment, "step": step, "metrics": dict(metrics)})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def on_segment(self, segment: int, record: Mapping[str, Any]) -> None:
        """Nothing to do: the record lies beside the checkpoint."""

    def on_probe(self, result: ProbeResult) -> None:
        """Nothing to do: local runs are not probed."""

    def stop_requested(self) -> bool:
        return False


_current: Session | None = None


def begin(options: LocalOptions | None = None) -> Session:
    """Make training reproducible: call it first, before the model is built.

    Sets deterministic kernels and the thread count, and seeds torch, numpy and `random`. Under a
    lease the worker has done so already, and this only returns the session.

    Parameters
    ----------
    options
        How to run outside a lease. Not looked at under a lease.

    Returns
    -------
    Session
        Holds ``seed``, ``device`` and ``outputs_dir`` among others.
    """
    return _current if _current is not None else install_local(options or LocalOptions())


def install(session: Session, *, num_threads: int) -> None:
    """Make `session` the process's session, and make torch reproducible."""
    global _current
    determinism.apply(seed=session.seed, num_threads=num_threads)
    _current = session


def install_local(options: LocalOptions) -> Session:
    """Start a session outside a lease; see `begin`."""
    options.output_dir.mkdir(parents=True, exist_ok=True)
    newest = _newest_segment(options.output_dir / "segments") if options.resume else None
    metrics_path = options.output_dir / "metrics.jsonl"
    if newest is None:
        metrics_path.unlink(missing_ok=True)
    session = Session(
        lease_id=_LOCAL_LEASE_ID,
        seed=options.seed,
        segment_steps=options.segment_steps,
        max_segments=options.max_segments,
        out_dir=options.output_dir,
        data_dir=options.data_dir,
        observer=LocalObserver(metrics_path),
        start_segment=0 if newest is None else newest + 1,
        resume_dir=None if newest is None else options.output_dir / "segments" / str(newest),
    )
    install(session, num_threads=options.num_threads)
    return session


def current() -> Session:
    """The session.

    Raises
    ------
    NotBegunError
        When neither a lease nor `begin` set one up.
    """
    if _current is None:
        raise NotBegunError
    return _current


def uninstall() -> None:
    """Forget the session; for programs that make several, such as tests."""
    global _current
    _current = None


def data_path(name: str) -> Path:
    """Path of one of the job's data entries (``data:`` in the job file).

    Under a lease this is the read-only ``/data/<name>``. Outside it is ``<data_dir>/<name>``, or
    the only file there with that name and any suffix.

    Raises
    ------
    OptionError
        When there is no such entry.
    """
    folder = current().data_dir
    path = folder / name
    if path.exists():
        return path
    candidates = sorted(folder.glob(f"{name}.*"))
    if len(candidates) != 1:
        raise OptionError(
            f"no data named {name!r} in {folder}: name it under data: in the job file"
        )
    return candidates[0]


def _newest_segment(folder: Path) -> int | None:
    # A folder under its final name is complete: it was renamed after its files were written.
    done = [int(p.parent.name) for p in folder.glob(f"*/{STATE_NAME}") if p.parent.name.isdigit()]
    return max(done, default=None)
