"""Stage ``upload``: what the job made goes to the renter, encrypted under the job's key."""

from __future__ import annotations

import logging
import shutil
from typing import Final

from worker_agent.inputs import JobInputs
from worker_agent.sandbox.base import Caps, SandboxProcess
from worker_agent.sandbox.errors import SandboxError
from worker_agent.stages.attempt import Attempt

log = logging.getLogger(__name__)
_MAX_FILES: Final = 10_000
_ROOT: Final = "out/outputs"


def collect_outputs(attempt: Attempt, inputs: JobInputs, process: SandboxProcess) -> None:
    """Copy the files that the job spec names out of the sandbox; never fails the job."""
    patterns = inputs.manifest.output_paths
    if not patterns:
        return
    target = attempt.store.outputs
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    caps = Caps(total_bytes=inputs.manifest.disk_bytes, num_files=_MAX_FILES)
    try:
        collected = process.collect(target, patterns, caps, root=_ROOT)
    except SandboxError as error:
        attempt.frames.state("uploading", f"no outputs could be collected: {error}")
        log.warning("lease %s: %s", attempt.lease_id[:10], error)
        return
    for refusal in collected.refused[:20]:
        attempt.frames.state("uploading", f"not collected: {refusal.path}: {refusal.why}")


def upload(attempt: Attempt) -> None:
    """Queue the final artifacts; the delivery loop brings them out and goes on after a kill."""
    attempt.machinery.deliverer.finish(attempt.record)
