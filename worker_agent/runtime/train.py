"""Runs a script that was written with the training helpers: train, audit and probe."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from client_sdk.protocol.records import metrics_to_json
from client_sdk.training import clock as clocks
from client_sdk.training import determinism
from client_sdk.training import session as sessions
from client_sdk.training.errors import (
    CheckpointError,
    OutputWriteError,
    UnfinishedRunError,
    UnreplayableError,
)
from worker_agent.runtime.control import Control
from worker_agent.runtime.exits import KIND_OF, ExitCode
from worker_agent.runtime.script import describe, run_script
from worker_agent.runtime.task import Task

_STEP_EVENT_INTERVAL_S = 0.25


class WorkerObserver:
    """Passes what a run does on to the worker."""

    def __init__(self, control: Control, segments_dir: Path) -> None:
        self._control = control
        self._segments_dir = segments_dir
        self._last_step_event_s = -_STEP_EVENT_INTERVAL_S
        self.last_record: Mapping[str, Any] | None = None
        self.probed = False

    def wants_step(self) -> bool:
        now_s = monotonic()
        if now_s - self._last_step_event_s < _STEP_EVENT_INTERVAL_S:
            return False
        self._last_step_event_s = now_s
        return True

    def on_step(self, segment: int, step: int, metrics: Mapping[str, float]) -> None:
        self._control.send("step", segment=segment, step=step, metrics=metrics_to_json(metrics))

    def on_segment(self, segment: int, record: Mapping[str, Any]) -> None:
        self.last_record = record
        # Here rather than when the command comes, so that the script's thread alone touches files.
        for taken in self._control.taken_segments():
            shutil.rmtree(self._segments_dir / str(taken), ignore_errors=True)
        self._control.send("segment", segment=segment, record=record)

    def on_probe(self, result: sessions.ProbeResult) -> None:
        self.probed = True
        self._control.send(
            "probe",
            steps=result.steps,
            setup_s=result.setup_s,
            step_s=result.step_s,
            mean_step_s=result.mean_step_s,
            boundary_s=result.boundary_s,
            state_bytes=result.state_bytes,
        )

    def stop_requested(self) -> bool:
        return self._control.stop_requested()


def run_training(task: Task, control: Control) -> ExitCode:
    """Run a train, audit or probe task to its end.

    Returns
    -------
    ExitCode
        What the process should exit with; events were sent.
    """
    # Asked to end from outside: finish the running segment, as with the stop command.
    signal.signal(signal.SIGTERM, lambda *_: control.request_stop())
    clock = clocks.JobClock(task.clock_s)
    observer = WorkerObserver(control, task.out_dir / "segments")
    session = sessions.Session(
        lease_id=task.lease_id,
        seed=task.seed,
        segment_steps=task.segment_steps,
        max_segments=task.max_segments,
        out_dir=task.out_dir,
        data_dir=task.data_dir,
        observer=observer,
        start_segment=task.start_segment,
        resume_dir=task.resume_dir,
        stop_after_segment=task.stop_after_segment,
        probe_steps=task.probe_steps,
        clock=clock,
    )
    session.outputs_dir.mkdir(parents=True, exist_ok=True)
    sessions.install(session, num_threads=task.threads)
    control.send("ready")
    try:
        with clocks.installed(clock):
            run_script(task.code_dir, task.entry, task.args, task.image_dir)
    except sessions.RunStopped:
        return _report_stop(observer, task, control)
    except BaseException as error:  # the edge to the renter's code
        return _report_error(error, observer, task, control)
    return _report_end(observer, task, control)


def _report_stop(observer: WorkerObserver, task: Task, control: Control) -> ExitCode:
    if not observer.probed:
        record = observer.last_record
        # A probe that is stopped has no record.
        final_segment = task.start_segment - 1 if record is None else record["segment"]
        control.send("stopped", final_segment=final_segment)
    return ExitCode.OK


def _report_end(observer: WorkerObserver, task: Task, control: Control) -> ExitCode:
    record = observer.last_record
    if record is None or not record["final"]:
        return _report_error(UnfinishedRunError(), observer, task, control)
    segment = record["segment"]
    control.send("finished", final_segment=segment, early=segment + 1 < task.max_segments)
    return ExitCode.OK


def _report_error(
    error: BaseException, observer: WorkerObserver, task: Task, control: Control
) -> ExitCode:
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return _report_end(observer, task, control)
    resuming = task.resume_dir is not None and observer.last_record is None
    code = _exit_code(error, resuming=resuming)
    text = describe(error, task.code_dir)
    if advice := determinism.explain(error):
        text += advice + "\n"
    control.send("error", kind=KIND_OF[code], code=int(code), text=text)
    # The script's own output goes to the renter's log, and so does what ended it.
    sys.stderr.write(text)
    sys.stderr.flush()
    return code


def _exit_code(error: BaseException, *, resuming: bool) -> ExitCode:
    match error:
        case UnreplayableError():
            return ExitCode.NOT_REPLAYABLE
        case RuntimeError() if determinism.explain(error):
            return ExitCode.NOT_REPLAYABLE
        case CheckpointError() if resuming:
            return ExitCode.BAD_CHECKPOINT
        case OutputWriteError():
            return ExitCode.CANNOT_WRITE
        case UnfinishedRunError():
            return ExitCode.SCRIPT_UNFINISHED
        case SystemExit():
            return ExitCode.SCRIPT_EXITED
        case _:
            return ExitCode.SCRIPT_RAISED
