"""A worker that lies, to show that lies are caught. Development chain only.

*Covered:* the settings refuse this module on any other chain, and so does it.

The lie: the first segment is computed, every later one is made up from the one before, with noise
in place of training: the steps are skipped, the state looks plausible, and all hashes and proofs
are right. Only re-execution tells.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from client_sdk.protocol.records import SegmentRecord, StepDigests
from contracts.deployments import DEV_CHAIN_ID
from worker_agent.checkpoints import RECORD_NAME, TENSORS_NAME, checkpoint_hash
from worker_agent.errors import SettingsError
from worker_agent.execution import Outcome, OutcomeKind
from worker_agent.inputs import JobInputs
from worker_agent.settings import Cheat
from worker_agent.stages.attempt import Attempt
from worker_agent.stages.execute import execute
from worker_agent.tracebook import verify_segment

_HONEST_SEGMENTS: Final = 1
_PAUSE_S: Final = 1.0
_NOISY_NUMBERS: Final = 4096


def execute_or_cheat(attempt: Attempt, inputs: JobInputs) -> Outcome:
    """Execute the job, or lie about it when the settings say so."""
    settings = attempt.machinery.context.settings
    if settings.cheat is None or attempt.terms.metered:
        return execute(attempt, inputs)
    if settings.chain_id != DEV_CHAIN_ID:
        raise SettingsError("cheat is refused on this chain")
    assert settings.cheat is Cheat.SKIP_STEPS
    return _skip_steps(attempt, inputs)


def _skip_steps(attempt: Attempt, inputs: JobInputs) -> Outcome:
    leases = attempt.machinery.leases
    if len(leases.segments(attempt.lease_id)) < _HONEST_SEGMENTS:
        outcome = execute(attempt, inputs, stop_after_segment=_HONEST_SEGMENTS - 1)
        if outcome.kind not in {OutcomeKind.FINISHED, OutcomeKind.STOPPED}:
            return outcome
    pause_s = min(_PAUSE_S, attempt.record.segment_s)
    while len(leases.segments(attempt.lease_id)) < attempt.terms.segments:
        if attempt.control.cancelled:
            return Outcome(OutcomeKind.CANCELLED, attempt.control.cancelled)
        if attempt.control.stop_left_s is not None:
            return Outcome(OutcomeKind.STOPPED)
        make_up_segment(attempt)
        time.sleep(pause_s)
    return Outcome(OutcomeKind.FINISHED)


def make_up_segment(attempt: Attempt) -> None:
    """Fake the next segment from the checkpoint of the last one."""
    leases = attempt.machinery.leases
    rows = leases.segments(attempt.lease_id)
    last, index = rows[-1], rows[-1].index + 1
    before = SegmentRecord.from_json(last.record)
    folder = attempt.store.segment(index)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(attempt.store.segment(last.index), folder)
    _add_noise(folder / TENSORS_NAME, index)
    steps = tuple(
        StepDigests(_made_up(b"indices", index, i), _made_up(b"metrics", index, i))
        for i in range(len(before.steps))
    )
    fake = replace(
        before,
        segment=index,
        first_step=before.end_step,
        steps=steps,
        state_hash=checkpoint_hash(folder),
    )
    (folder / RECORD_NAME).write_text(json.dumps(fake.to_json()), encoding="utf-8")
    row = verify_segment(attempt.record, attempt.store, fake, last)
    leases.add_segment(attempt.lease_id, row)
    metrics: dict[str, Any] = {name: value * 0.97 for name, value in before.metrics.items()}
    attempt.frames.metric(index, fake.end_step - 1, metrics)
    attempt.frames.progress(index, index + 1, end_step=fake.end_step, final=False)


def _add_noise(path: Path, seed: int) -> None:
    """Change low bits of the numbers in a safetensors file, as a few steps might."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:start])
    noise = blake3(b"noise" + seed.to_bytes(4, "big")).digest(length=_NOISY_NUMBERS)
    for tensor in header.values():
        if tensor.get("dtype") != "F32":
            continue  # counters and generator states would not load any more
        first, end = tensor["data_offsets"]
        for i in range(min(_NOISY_NUMBERS, (end - first) // 4)):
            # The lowest byte of a little-endian float: the value stays close to what it was.
            content[start + first + 4 * i] ^= noise[i] & 0x3F
    path.write_bytes(content)


def _made_up(kind: bytes, segment: int, step: int) -> bytes:
    return blake3(kind + segment.to_bytes(4, "big") + step.to_bytes(4, "big")).digest()
