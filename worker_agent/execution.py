"""Follows one program in the sandbox to its end: events, deadlines, stop, and what came of it.

Used alike for jobs, probes and re-executions. All times are on the monotonic clock.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from worker_agent.runtime.exits import ExitCode
from worker_agent.sandbox.base import Exit, ExitReason, SandboxProcess

_END: Final = object()
_GRACE_S: Final = 3.0
_MAX_WAITING: Final = 1000
_MAX_TEXT: Final = 4000
OUR_CODES: Final = frozenset({ExitCode.BAD_TASK, ExitCode.BAD_CHECKPOINT, ExitCode.OWN_FAULT})
"""Exit codes of the runtime that mean a fault of worker or machine, not of the renter's code."""

Event = Mapping[str, Any]


class OutcomeKind(StrEnum):
    """How an execution ended."""

    FINISHED = "finished"  # the program did all it wanted
    STOPPED = "stopped"  # it stopped at a segment boundary because it was asked to
    JOB_FAILED = "job_failed"  # the renter's code ended badly
    OUR_FAULT = "our_fault"  # sandbox, machine or worker ended it
    TOO_SLOW = "too_slow"  # it took far longer for its segments than their price pays for
    HUNG = "hung"  # it made no progress within its deadline
    CANCELLED = "cancelled"  # it was dropped because nobody wants its result any more


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one execution."""

    kind: OutcomeKind
    text: str = ""
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How much time a program has for its segments, all taken together, by our own clock."""

    setup_s: float
    """Seconds before its first segment."""
    segment_s: float
    """Seconds for each segment."""

    def limit_s(self, num_done: int) -> float:
        """Seconds after its start in which it must have finished one segment more."""
        return self.setup_s + self.segment_s * (num_done + 1)


class Handler(Protocol):
    """Hears what the program reports; an exception drops the program and is passed on."""

    def __call__(self, event: Event) -> None: ...


class Control:
    """How others end an execution: gracefully at the next boundary, or at once; from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._stop_deadline: float | None = None
        self._cancelled = ""
        self.stop_reason = ""

    def stop(self, reason: str, within_s: float) -> None:
        """Finish the running segment, but not later than ``within_s`` seconds from now."""
        with self._lock:
            if not self.stop_reason:
                self.stop_reason = reason
                self._stop_deadline = self._monotonic() + within_s

    def cancel(self, reason: str) -> None:
        """Drop the execution."""
        with self._lock:
            self._cancelled = self._cancelled or reason

    @property
    def cancelled(self) -> str:
        """Why the execution is to be dropped; empty when it is not."""
        return self._cancelled

    @property
    def stop_left_s(self) -> float | None:
        """Seconds that are left for a graceful end; ``None`` when none was asked for."""
        with self._lock:
            if self._stop_deadline is None:
                return None
            return self._stop_deadline - self._monotonic()


def follow(
    process: SandboxProcess,
    handler: Handler,
    control: Control,
    *,
    start_limit_s: float,
    step_limit_s: float,
    pace: Pace | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Follow a program until it has ended.

    Parameters
    ----------
    process:
        The program; killed here when it must be, closed by the caller.
    handler:
        Called for each event, in order, on this thread.
    control:
        Ends the program early.
    start_limit_s:
        Longest time until the first event that shows progress.
    step_limit_s:
        Longest time between two such events (segments, or the probe's result).
    pace:
        Longest time for all segments together.
    """
    events: queue.Queue[object] = queue.Queue(_MAX_WAITING)
    over = threading.Event()
    pump = threading.Thread(
        target=_pump, args=(process, events, over), daemon=True, name="job-events"
    )
    pump.start()
    try:
        clock = _Deadlines(start_limit_s, step_limit_s, pace, monotonic)
        return _follow(process, handler, control, events, clock)
    finally:
        over.set()


def _follow(
    process: SandboxProcess,
    handler: Handler,
    control: Control,
    events: queue.Queue[object],
    deadlines: _Deadlines,
) -> Outcome:
    stop = _Stop(process, control)
    last: Event = {}
    failure: Event = {}
    while True:
        ended = stop.look() or deadlines.look()
        if ended is not None:
            return _drop(process, ended)
        try:
            event = events.get(timeout=0.1)
        except queue.Empty:
            continue
        if event is _END:
            return _judge(process, last, failure)
        assert isinstance(event, Mapping)
        try:
            handler(event)
        except BaseException:
            process.kill()
            raise
        last = event
        deadlines.hear(event)
        if event.get("event") == "error":
            failure = event


class _Deadlines:
    """Tells when a program has had its time."""

    def __init__(
        self,
        start_limit_s: float,
        step_limit_s: float,
        pace: Pace | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._step_limit_s = step_limit_s
        self._pace = pace
        self._monotonic = monotonic
        self._begun_at = monotonic()
        self._deadline = self._begun_at + start_limit_s
        # A program that is ready again and again would keep the machine without a segment to pay.
        self._progress = {"ready", "segment", "probe"}
        self._num_done = 0

    def hear(self, event: Event) -> None:
        """Take an event that the handler has accepted."""
        name = event.get("event")
        if name in self._progress:
            self._progress.discard("ready")
            self._deadline = self._monotonic() + self._step_limit_s
            self._num_done += name == "segment"

    def look(self) -> Outcome | None:
        """How the execution ends now; ``None`` when it goes on."""
        now = self._monotonic()
        if now > self._deadline:
            return Outcome(OutcomeKind.HUNG, "no progress within the deadline")
        limit_s = math.inf if self._pace is None else self._pace.limit_s(self._num_done)
        if now - self._begun_at <= limit_s:
            return None
        text = (
            f"{self._num_done + 1} segments take more than {limit_s:.0f} s: the program is far "
            "slower than in the probe that their price comes from"
        )
        return Outcome(OutcomeKind.TOO_SLOW, text)


class _Stop:
    """Passes a request to stop on to the program, once."""

    def __init__(self, process: SandboxProcess, control: Control) -> None:
        self._process = process
        self._control = control
        self._told = False

    def look(self) -> Outcome | None:
        """How the execution ends now by others' will; ``None`` when it goes on."""
        if self._control.cancelled:
            return Outcome(OutcomeKind.CANCELLED, self._control.cancelled)
        left = self._control.stop_left_s
        if left is None:
            return None
        if not self._told:
            self._told = True
            _tell_to_stop(self._process)
        return Outcome(OutcomeKind.STOPPED, "dropped inside a segment") if left <= 0 else None


def _pump(process: SandboxProcess, events: queue.Queue[object], over: threading.Event) -> None:
    """Move events from the pipe to the queue, which is bounded: a flood slows only its program."""

    def put(item: object) -> None:
        while not over.is_set():
            try:
                events.put(item, timeout=0.5)
            except queue.Full:
                continue
            return

    try:
        for event in process.events():
            put(event)
    finally:
        put(_END)


def _tell_to_stop(process: SandboxProcess) -> None:
    try:
        process.send({"command": "stop"})
    except Exception:  # the program is ending by itself: its events tell how
        return


def _drop(process: SandboxProcess, outcome: Outcome) -> Outcome:
    process.interrupt(_GRACE_S)
    if process.wait(_GRACE_S + 2) is None:
        process.kill()
        process.wait(10)
    return outcome


def _judge(process: SandboxProcess, last: Event, failure: Event) -> Outcome:
    """Tell from exit status and last events what came of it."""
    ended = process.wait(10)
    if ended is None:  # it closed its event pipe, but does not end
        process.kill()
        ended = process.wait(10) or Exit(ExitReason.KILLED, None)
    name = last.get("event")
    if ended.ok and name in {"finished", "probe"}:
        return Outcome(OutcomeKind.FINISHED, code=0)
    if ended.ok and name == "stopped":
        return Outcome(OutcomeKind.STOPPED, code=0)
    text = str(failure.get("text", ""))[-_MAX_TEXT:] or _exit_text(ended)
    ours = ended.reason in {ExitReason.NOT_STARTED, ExitReason.KILLED, ExitReason.INTERRUPTED}
    if ours or (ended.reason is ExitReason.EXITED and ended.code in OUR_CODES):
        return Outcome(OutcomeKind.OUR_FAULT, text, ended.code)
    return Outcome(OutcomeKind.JOB_FAILED, text, ended.code)


def _exit_text(ended: Exit) -> str:
    words = {
        ExitReason.EXITED: f"the program ended with exit code {ended.code}",
        ExitReason.SIGNALED: f"the program died of signal {(ended.code or 128) - 128}",
        ExitReason.OUT_OF_MEMORY: "the program ran out of its memory limit",
        ExitReason.WALL_TIME: "the program ran into its time limit",
        ExitReason.OUTPUT_LIMIT: "the program printed more than its limit",
        ExitReason.INTERRUPTED: "the program was interrupted",
        ExitReason.KILLED: "the program was killed",
        ExitReason.NOT_STARTED: f"the program could not be started: {ended.detail}",
    }
    return words[ended.reason]
