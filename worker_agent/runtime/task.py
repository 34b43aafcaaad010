"""What the worker tells the runtime to do: ``task.json``, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

SCHEMA = "gridlease/task/1"
_MAX_TASK_BYTES = 1 << 20
_MAX_INT = 2**53 - 1  # what `client_sdk.protocol.seed.job_seed` gives fits
_MAX_THREADS = 1024
_MAX_SEGMENTS = 0xFFFF
_MAX_MOMENT_S = 2**33  # in the year 2242; `datetime` ends in 9999
_MAX_STEPS = 20_000  # what a segment's record can hold


class TaskError(ValueError):
    """task.json was refused."""


class Mode(StrEnum):
    """What a run is for. The first three run the same code in the same way."""

    TRAIN = "train"  # execute a lease
    AUDIT = "audit"  # execute one segment again
    PROBE = "probe"  # measure the job's step time, then stop
    METERED = "metered"  # run an unmodified script, counting wall-clock segments


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task; see `parse_task` for the bounds of each value."""

    mode: Mode
    lease_id: bytes
    """32 bytes."""
    seed: int
    """Seed of the job, from lease and beacon."""
    clock_s: int
    """Unix time at which the script's clock starts; a metered script sees the real one."""
    threads: int
    """Threads of torch's CPU kernels."""
    entry: str
    """Script, relative to `code_dir`."""
    args: tuple[str, ...]
    """Arguments of the script."""
    env: Mapping[str, str]
    """Variables that the job spec names."""
    code_dir: Path
    """The renter's code, read-only."""
    data_dir: Path
    """Folder under which the data lie by name, read-only."""
    image_dir: Path | None
    """Folder with the job's own packages, read-only."""
    out_dir: Path
    """Folder for ``segments/`` and ``outputs/``."""
    segment_steps: int
    """Steps per segment; 0 in a metered task."""
    max_segments: int
    """Segments after which the run ends."""
    start_segment: int
    """First segment to run."""
    stop_after_segment: int | None
    """Last segment to run, if not all."""
    resume_dir: Path | None
    """Checkpoint that ends segment `start_segment` - 1."""
    probe_steps: int | None
    """Steps after which a probe measures and stops."""
    segment_seconds: float | None
    """Wall-clock seconds of a metered segment."""
    grace_s: float
    """Seconds that a metered script gets between interrupt and kill."""


def read_task(path: Path) -> Task:
    """Read a task file.

    Raises
    ------
    TaskError
        When it is missing or not a task.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_TASK_BYTES + 1)
        if len(content) > _MAX_TASK_BYTES:
            raise TaskError(f"task.json is larger than {_MAX_TASK_BYTES} bytes")
        return parse_task(json.loads(content))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TaskError(f"task.json cannot be read: {error}") from error


def parse_task(value: object) -> Task:
    """Check every key and value of a task.

    Raises
    ------
    TaskError
        Names the key.
    """
    if not isinstance(value, dict):
        raise TaskError("task.json is not an object")
    fields = _Fields(value)
    if fields.take("schema", _text) != SCHEMA:
        raise TaskError(f"schema must be {SCHEMA}")
    mode = fields.take("mode", _mode)
    metered = mode is Mode.METERED
    task = Task(
        mode=mode,
        lease_id=fields.take("lease_id", _hash),
        seed=fields.take("seed", _integer(0, _MAX_INT)),
        clock_s=fields.take("clock_s", _integer(0, _MAX_MOMENT_S)),
        threads=fields.take("threads", _integer(1, _MAX_THREADS)),
        entry=fields.take("entry", _relative_path),
        args=fields.take("args", _texts),
        env=fields.take("env", _variables, {}),
        code_dir=fields.take("code_dir", _path),
        data_dir=fields.take("data_dir", _path),
        image_dir=fields.take("image_dir", _path_or_none, None),
        out_dir=fields.take("out_dir", _path),
        segment_steps=fields.take("segment_steps", _integer(0 if metered else 1, _MAX_STEPS)),
        max_segments=fields.take("max_segments", _integer(1, _MAX_SEGMENTS)),
        start_segment=fields.take("start_segment", _integer(0, _MAX_SEGMENTS - 1), 0),
        stop_after_segment=fields.take("stop_after_segment", _segment_or_none, None),
        resume_dir=fields.take("resume_dir", _path_or_none, None),
        probe_steps=fields.take("probe_steps", _steps_or_none, None),
        segment_seconds=fields.take("segment_seconds", _seconds_or_none, None),
        grace_s=fields.take("grace_s", _seconds, 10.0),
    )
    fields.finish()
    _check_together(task)
    return task


def _check_together(task: Task) -> None:
    if (task.mode is Mode.METERED) != (task.segment_seconds is not None):
        raise TaskError("segment_seconds: needed in a metered task, and only there")
    if (task.mode is Mode.PROBE) != (task.probe_steps is not None):
        raise TaskError("probe_steps: needed in a probe, and only there")
    if task.mode is not Mode.METERED and (task.start_segment > 0) != (task.resume_dir is not None):
        raise TaskError("resume_dir: needed when start_segment is above 0, and only then")
    if task.start_segment >= task.max_segments:
        raise TaskError("start_segment: must be below max_segments")
    last = task.stop_after_segment
    if last is not None and not task.start_segment <= last < task.max_segments:
        raise TaskError("stop_after_segment: must lie between start_segment and max_segments")


class _Fields:
    """Takes keys out of an object; what is left at the end is unknown."""

    _REQUIRED = object()

    def __init__(self, value: dict[str, Any]) -> None:
        self._left = dict(value)

    def take(self, key: str, check: Callable[[Any], Any], default: Any = _REQUIRED) -> Any:
        if key not in self._left:
            if default is self._REQUIRED:
                raise TaskError(f"{key}: missing")
            return default
        try:
            return check(self._left.pop(key))
        except (TypeError, ValueError) as error:
            raise TaskError(f"{key}: {error}") from None

    def finish(self) -> None:
        if self._left:
            raise TaskError(f"unknown keys {sorted(self._left)}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("must be a text without NUL")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return tuple(_text(item) for item in value)


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must be an object of texts")
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is not a variable's name")
    return {name: _text(item) for name, item in value.items()}


def _mode(value: Any) -> Mode:
    try:
        return Mode(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Mode)}") from None


def _hash(value: Any) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-f]{64}", value):
        raise ValueError("must be 0x and 64 hexadecimal digits")
    return bytes.fromhex(value[2:])


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be an integer from {low} to {high}")
        return value

    return check


def _segment_or_none(value: Any) -> int | None:
    return None if value is None else _integer(0, _MAX_SEGMENTS - 1)(value)


def _steps_or_none(value: Any) -> int | None:
    return None if value is None else _integer(1, _MAX_STEPS)(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError("must be a positive number of seconds")
    return float(value)


def _seconds_or_none(value: Any) -> float | None:
    return None if value is None else _seconds(value)


def _path(value: Any) -> Path:
    path = PurePosixPath(_text(value))
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path without ..")
    return Path(path)


def _path_or_none(value: Any) -> Path | None:
    return None if value is None else _path(value)


def _relative_path(value: Any) -> str:
    path = PurePosixPath(_text(value))
    if not value or path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a relative path without ..")
    return str(path)
