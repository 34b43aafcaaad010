"""Executes segments of a lease again, blind, in this machine's own sandbox.

The program must not be able to tell an audit from the job: else the renter's code computes
something else under audit, and an honest provider is slashed. So it is started in the same mode and
is not told at which segment its result will be taken; it is killed once that segment is here. Its
clock tells the same time again, as far as :mod:`client_sdk.training.clock` reaches. *Not covered:*
a program that goes below Python for the time, or for what tells one machine from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from client_sdk.protocol.canonical import parse_json
from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.records import MAX_RECORD_BYTES, SegmentRecord
from worker_agent.checkpoints import RECORD_NAME, checkpoint_hash
from worker_agent.errors import BadCheckpoint, JobFailed, ProviderFault, WorkerError
from worker_agent.execution import Control, Outcome, OutcomeKind, Pace, follow
from worker_agent.inputs import JobInputs
from worker_agent.jobs import Jobs, Work
from worker_agent.runtime.exits import KIND_OF, ErrorKind, ExitCode
from worker_agent.runtime.task import Mode
from worker_agent.sandbox.errors import ControlClosed, SandboxError
from worker_agent.store import LeaseStore

_OWN_CODES: Final = {code for code, kind in KIND_OF.items() if kind is ErrorKind.JOB}
_OUT_OF_TIME: Final = {OutcomeKind.HUNG, OutcomeKind.TOO_SLOW}
_MEMORY_WORDS: Final = ("out of memory", "outofmemory", "memoryerror", "cannot allocate memory")


class CheckpointUnusable(BadCheckpoint):
    """Training cannot be resumed from the checkpoint that was handed over."""


class ReplayCancelled(ProviderFault):
    """The replay was dropped: its result is no longer wanted."""


class ReplayTooSlow(ProviderFault):
    """The replay had not ended after its time: another one like it would only take as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What to execute again.

    Attributes
    ----------
    inputs
        The job.
    lease_id, seed, clock_s
        From the chain.
    max_segments
        Most segments of the lease; the program must see the same number as the first time.
    start_segment, segment
        First and last segment to run; the state after the last one is the result.
    resume
        Checkpoint of the segment before the first, or ``None`` for segment 0.
    folder
        Where the resulting checkpoint is put.
    limit_s
        Longest duration of the whole, in seconds, whatever the program reports meanwhile.
    segment_limit_s
        Longest time until the first segment and between two, in seconds.
    max_bytes
        Largest accepted tensor file.
    state_before
        State that was committed for the end of the segment before the last one, when it is to be
        held against this run's own.
    """

    inputs: JobInputs
    lease_id: bytes
    seed: int
    clock_s: int
    max_segments: int
    start_segment: int
    segment: int
    resume: Path | None
    folder: Path
    limit_s: float
    segment_limit_s: float
    max_bytes: int
    state_before: bytes | None = None

    @property
    def wanted(self) -> frozenset[int]:
        """Segments whose checkpoints are taken."""
        keeps = self.state_before is not None and self.segment > self.start_segment
        return frozenset({self.segment, self.segment - 1} if keeps else {self.segment})


def replay(jobs: Jobs, request: Replay, control: Control) -> SegmentRecord:
    """Run, and return the record of the last segment with a state hash computed here.

    Raises
    ------
    CheckpointUnusable
        The runtime cannot resume from the checkpoint.
    JobFailed
        The renter's code ended by itself, and not for want of memory.
    ReplayTooSlow
        It had its time.
    ProviderFault
        This machine failed, a limit or a signal ended the program, or the replay was cancelled.
    """
    store = LeaseStore(request.folder)
    taken: list[Path] = []
    try:
        with jobs.start(_work_of(request)) as process:

            def hear(event: Mapping[str, Any]) -> None:
                index = event.get("segment")
                if event.get("event") != "segment" or type(index) is not int or taken:
                    return
                folder = None
                if index in request.wanted:
                    folder = store.take_segment(process, index, request.max_bytes)
                if folder is not None and index == request.segment:
                    taken.append(folder)
                    process.kill()
                    return
                try:
                    process.send({"command": "taken", "segment": index})
                except ControlClosed:
                    return  # it has ended by itself

            outcome = follow(
                process,
                hear,
                control,
                start_limit_s=request.segment_limit_s,
                step_limit_s=request.segment_limit_s,
                # No segment buys time for another: the program can invent as many as it likes.
                pace=Pace(setup_s=request.limit_s, segment_s=0.0),
            )
    except SandboxError as error:
        raise ProviderFault(f"the replay could not run: {error}") from error
    if outcome.kind is OutcomeKind.CANCELLED:
        raise ReplayCancelled(outcome.text)
    if taken:
        return _read(taken[-1], request)
    raise _failure(outcome)


def _work_of(request: Replay) -> Work:
    return Work(
        mode=Mode.TRAIN,  # as the provider ran it
        inputs=request.inputs,
        lease_id=request.lease_id,
        seed=request.seed,
        clock_s=request.clock_s,
        start_segment=request.start_segment,
        max_segments=request.max_segments,
        resume=request.resume,
        wall_time_s=request.limit_s,
    )


def _failure(outcome: Outcome) -> WorkerError:
    """What a run means that gave no segment."""
    if outcome.kind in _OUT_OF_TIME:
        return ReplayTooSlow()
    if outcome.code == ExitCode.BAD_CHECKPOINT:
        return CheckpointUnusable(outcome.text)
    if _by_itself(outcome):
        return JobFailed(outcome.text, outcome.code)
    return ProviderFault(f"the replay gave no segment: {outcome.kind}: {outcome.text}")


def _by_itself(outcome: Outcome) -> bool:
    """Whether the renter's code ended the run, as far as it can be told from outside.

    A lack of memory can be this machine's, whoever reports it.
    """
    text = outcome.text.lower()
    own = outcome.kind is OutcomeKind.JOB_FAILED and outcome.code in _OWN_CODES
    return own and not any(word in text for word in _MEMORY_WORDS)


def replay_whole(
    jobs: Jobs, request: Replay, control: Control
) -> tuple[SegmentRecord, SegmentRecord | None]:
    """Run from the job's start, and the last segment once more where the commit is wrong before it.

    The second run goes on from the own checkpoint before the last segment, which is right where the
    handed-over one is not. It tells whether the job can be resumed at all: only then do states that
    differ from the committed ones prove anything.

    Raises
    ------
    WorkerError
        As `replay`.
    """
    record = replay(jobs, request, control)
    if request.state_before is None or request.segment == request.start_segment:
        return record, None
    before = LeaseStore(request.folder).segment(request.segment - 1)
    if checkpoint_hash(before) == request.state_before:
        return record, None
    again = replace(
        request,
        start_segment=request.segment,
        resume=before,
        folder=request.folder / "again",
        state_before=None,
    )
    return record, replay(jobs, again, control)


def _read(folder: Path, request: Replay) -> SegmentRecord:
    try:
        raw = parse_json((folder / RECORD_NAME).read_bytes(), max_bytes=MAX_RECORD_BYTES)
        record = SegmentRecord.from_json(raw)
    except MessageError as error:
        raise JobFailed(f"the replay's record is malformed: {error}") from error
    if record.segment != request.segment or record.lease_id != request.lease_id:
        raise JobFailed("the replay's record is of another segment")
    if checkpoint_hash(folder) != record.state_hash:
        raise JobFailed("the replay's checkpoint does not have the recorded hash")
    return record
