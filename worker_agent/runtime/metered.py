"""Runs an unmodified script and counts wall-clock segments."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from worker_agent.runtime.control import Control
from worker_agent.runtime.exits import KIND_OF, ExitCode
from worker_agent.runtime.task import Task

_POLL_S = 0.05


def run_metered(task: Task, control: Control) -> ExitCode:
    """Run a metered task to its end.

    The script runs in a process group of its own, in a writable copy of the code folder, so that
    it finds and writes files by relative path as it does at home.

    Returns
    -------
    ExitCode
        What the process should exit with; events were sent.
    """
    assert task.segment_seconds is not None
    signal.signal(signal.SIGTERM, lambda *_: control.request_stop())
    # A worker started in the background ignores interrupts, and the script would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work_dir = _copy_code(task.code_dir, task.out_dir / "outputs")
    process = subprocess.Popen(
        [sys.executable, "-u", task.entry, *task.args],
        cwd=work_dir,
        env=_environment(task.image_dir),
        process_group=0,
    )
    control.send("ready")
    num_segments, stopped = _meter(process, task, control, task.segment_seconds)
    if stopped:
        _interrupt(process, task.grace_s)
        control.send("stopped", final_segment=task.start_segment + num_segments - 1)
        return ExitCode.OK
    _kill_group(process)
    if process.returncode == 0:
        final = task.start_segment + num_segments - 1
        control.send("finished", final_segment=final, early=final + 1 < task.max_segments)
        return ExitCode.OK
    return _report_failure(process.returncode, control)


def _environment(image_dir: Path | None) -> dict[str, str]:
    """Our own environment, with the job's packages after the runtime's in the search path."""
    if image_dir is None:
        return dict(os.environ)
    path = [os.environ.get("PYTHONPATH", ""), str(image_dir)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def _meter(
    process: subprocess.Popen[bytes], task: Task, control: Control, segment_seconds: float
) -> tuple[int, bool]:
    """Count segments until the script ends or has to; returns (segments, whether it has to)."""
    started_s = time.monotonic()
    allowed = task.max_segments - task.start_segment
    num_segments = 0
    while process.poll() is None:
        while time.monotonic() - started_s >= (num_segments + 1) * segment_seconds:
            segment = task.start_segment + num_segments
            record = {"segment": segment, "seconds": segment_seconds}
            control.send("segment", segment=segment, record=record)
            num_segments += 1
            if num_segments == allowed:
                return num_segments, True
        if control.wait_for_stop(_POLL_S):
            return num_segments, True
    return num_segments, False


def _interrupt(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Interrupt the script as Ctrl-C does, give it `grace_s` seconds, then kill what is left."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _report_failure(returncode: int, control: Control) -> ExitCode:
    if returncode < 0:
        text = f"the script was killed by {signal.Signals(-returncode).name}"
    else:
        text = f"the script exited with {returncode}"
    code = ExitCode.SCRIPT_EXITED
    control.send("error", kind=KIND_OF[code], code=int(code), text=text)
    return code


def _copy_code(code_dir: Path, work_dir: Path) -> Path:
    """Copy the code where nothing is yet: files that an earlier attempt left are the script's."""
    for source in sorted(code_dir.rglob("*")):
        target = work_dir / source.relative_to(code_dir)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    work_dir.mkdir(parents=True, exist_ok=True)
    return work_dir
