"""How long a job's steps take here: a short run of the renter's own code in the sandbox."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.wire import Reader
from worker_agent.errors import JobFailed, ProviderFault, StageTimeout
from worker_agent.execution import Control, OutcomeKind, follow
from worker_agent.inputs import JobInputs
from worker_agent.jobs import Jobs, Work
from worker_agent.quotes import Measured
from worker_agent.runtime.task import Mode

PROBE_STEPS: Final = 20
"""Steps of a probe; a job with shorter segments is probed for one segment."""
_LARGEST: Final = 1e15


def measure_steps(jobs: Jobs, inputs: JobInputs, limit_s: float) -> Measured:
    """Run a few steps of the job and take their time.

    Parameters
    ----------
    limit_s:
        Deadline of the whole probe, in seconds.

    Raises
    ------
    JobFailed
        The renter's code ended badly.
    ProviderFault
        The sandbox did.
    StageTimeout
        The probe took longer than ``limit_s``.
    """
    if inputs.manifest.metered:
        return Measured(step_s=0.0, boundary_s=0.0, state_bytes=0)
    work = Work(
        mode=Mode.PROBE,
        inputs=inputs,
        lease_id=bytes(32),
        seed=0,
        clock_s=int(time.time()),
        probe_steps=min(PROBE_STEPS, inputs.manifest.segment_steps),
        wall_time_s=limit_s,
    )
    reports: list[Measured] = []

    def hear(event: Mapping[str, Any]) -> None:
        if event.get("event") == "probe":
            reports.append(replace(_read(event), probe_s=time.monotonic() - begun))

    begun = time.monotonic()
    with jobs.start(work) as process:
        outcome = follow(process, hear, Control(), start_limit_s=limit_s, step_limit_s=limit_s)
    if outcome.kind is OutcomeKind.HUNG:
        raise StageTimeout("probe", limit_s)
    if outcome.kind is OutcomeKind.JOB_FAILED:
        raise JobFailed(outcome.text, outcome.code)
    if not reports:
        raise ProviderFault(f"the probe gave no result: {outcome.text}")
    return replace(reports[-1], input_bytes=inputs.size_bytes())


def _read(event: Mapping[str, Any]) -> Measured:
    """Read the report, which a hostile script can have written: only its shape can be checked."""
    try:
        reader = Reader(dict(event), "probe")
        values = [reader.number(key) for key in ("step_s", "boundary_s", "state_bytes")]
    except MessageError as error:
        raise JobFailed(f"the probe's report is malformed: {error}") from error
    if not all(0 <= value <= _LARGEST for value in values):
        raise JobFailed("the probe's report is out of all bounds")
    return Measured(step_s=values[0], boundary_s=values[1], state_bytes=int(values[2]))
