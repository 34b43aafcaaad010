"""Stage ``execute``: the renter's program runs, from the last verified segment on."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.records import read_metric
from client_sdk.protocol.seed import job_seed
from client_sdk.protocol.trace import MAX_METRICS
from worker_agent.errors import JobFailed
from worker_agent.execution import Outcome, OutcomeKind, follow
from worker_agent.inputs import JobInputs
from worker_agent.jobs import Work
from worker_agent.quotes import pace_of
from worker_agent.runtime.task import Mode
from worker_agent.sandbox.base import SandboxProcess
from worker_agent.sandbox.errors import ControlClosed
from worker_agent.stages.attempt import Attempt
from worker_agent.stages.prove import count_segment, take_segment
from worker_agent.stages.upload import collect_outputs

log = logging.getLogger(__name__)
_START_LIMIT_S: Final = 600.0
_LEAST_SEGMENT_LIMIT_S: Final = 120.0


def execute(attempt: Attempt, inputs: JobInputs, stop_after_segment: int | None = None) -> Outcome:
    """Run what is left of the job, or what is left up to a segment.

    Returns
    -------
    Outcome
        ``FINISHED`` at once when nothing was left to do.

    Raises
    ------
    JobFailed
        The program reports segments that are none.
    """
    rows = attempt.machinery.leases.segments(attempt.lease_id)
    if len(rows) >= attempt.terms.segments or (rows and rows[-1].final):
        return Outcome(OutcomeKind.FINISHED)
    record = attempt.record
    assert record.beacon is not None
    metered = attempt.terms.metered
    work = Work(
        mode=Mode.METERED if metered else Mode.TRAIN,
        inputs=inputs,
        lease_id=record.digest,
        seed=job_seed(record.digest, bytes.fromhex(record.beacon)),
        clock_s=attempt.terms.open_by,
        # A metered program starts again from its beginning: only its paid time goes on.
        start_segment=0 if metered else len(rows),
        max_segments=attempt.terms.segments,
        stop_after_segment=stop_after_segment,
        resume=attempt.store.segment(len(rows) - 1) if rows and not metered else None,
        wall_time_s=attempt.terms.max_duration,
    )
    settings = attempt.machinery.context.settings
    limit = max(_LEAST_SEGMENT_LIMIT_S, settings.segment_limit_factor * record.segment_s)
    attempt.unpaid_since = time.monotonic()
    with attempt.machinery.jobs.start(work, attempt.frames.output) as process:
        events = _Events(attempt, process)
        try:
            outcome = follow(
                process,
                events,
                attempt.control,
                start_limit_s=_START_LIMIT_S + limit,
                step_limit_s=limit,
                pace=pace_of(record, settings.slowdown_limit),
            )
        finally:
            attempt.frames.flush()
        if outcome.kind in {OutcomeKind.FINISHED, OutcomeKind.STOPPED}:
            collect_outputs(attempt, inputs, process)
        return outcome


class _Events:
    """Hears the program's events: all of them are a stranger's words."""

    def __init__(self, attempt: Attempt, process: SandboxProcess) -> None:
        self._attempt = attempt
        self._process = process
        self._num_metered = 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        name = event.get("event")
        if name == "step":
            self._step(event)
        elif name == "segment":
            self._segment(event)
        elif name == "ready":
            self._attempt.frames.state("running", "the program has started")

    def _step(self, event: Mapping[str, Any]) -> None:
        segment, step, metrics = event.get("segment"), event.get("step"), event.get("metrics")
        if type(segment) is not int or type(step) is not int or not isinstance(metrics, dict):
            return
        if not 0 <= segment < 1 << 16 or not 0 <= step < 1 << 48 or len(metrics) > MAX_METRICS:
            return
        try:
            values = {str(k)[:64]: read_metric(v, "metrics") for k, v in metrics.items()}
        except MessageError:
            return  # a metric that is no number is the program's own loss
        self._attempt.frames.metric(segment, step, values)

    def _segment(self, event: Mapping[str, Any]) -> None:
        index = event.get("segment")
        if type(index) is not int:
            raise JobFailed("the program reports a segment without a number")
        if self._attempt.terms.metered:
            if index != self._num_metered:  # it would be progress that nobody pays
                raise JobFailed(f"segment {index} was reported, {self._num_metered} is next")
            self._num_metered += 1
            count = count_segment(self._attempt, index)
            self._attempt.unpaid_since = time.monotonic()
            self._attempt.frames.progress(index, count)
            return
        row = take_segment(self._attempt, self._process, index)
        self._attempt.unpaid_since = time.monotonic()
        try:
            self._process.send({"command": "taken", "segment": index})
        except ControlClosed:
            log.debug("the program has ended already")
        self._attempt.frames.progress(index, index + 1, end_step=row.end_step, final=row.final)
