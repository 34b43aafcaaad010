from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes.sandbox import Behaviour, FakeProcess, FakeSandbox
from worker_agent.execution import Control, Outcome, OutcomeKind, Pace, follow
from worker_agent.sandbox.base import Exit, ExitReason, Limits, SandboxSpec

TASK = {
    "mode": "train",
    "lease_id": "0x" + "11" * 32,
    "seed": 1,
    "segment_steps": 2,
    "max_segments": 3,
    "start_segment": 0,
    "stop_after_segment": None,
    "resume_dir": None,
}


def run(
    behaviour: Behaviour,
    control: Control | None = None,
    pace: Pace | None = None,
    **limits: float,
) -> Any:
    spec = SandboxSpec(
        argv=["python", "-m", "worker_agent.runtime"],
        limits=Limits(memory_bytes=1, cpu_cores=1.0, disk_bytes=1, wall_time_s=9.0),
        work_files={"task.json": json.dumps(TASK).encode()},
    )
    heard: list[Mapping[str, Any]] = []
    with FakeSandbox(behaviour).start(spec) as process:
        outcome = follow(
            process,
            heard.append,
            control or Control(),
            start_limit_s=limits.get("start", 10),
            step_limit_s=limits.get("step", 10),
            pace=pace,
        )
    return outcome, heard


def test_when_the_program_finishes_then_all_its_events_were_heard_in_order() -> None:
    outcome, heard = run(Behaviour())
    assert outcome == Outcome(OutcomeKind.FINISHED, code=0)
    segments = [event["segment"] for event in heard if event["event"] == "segment"]
    assert segments == [0, 1, 2]


def test_when_asked_to_stop_then_the_running_segment_is_finished() -> None:
    gate, control = threading.Semaphore(1), Control()
    control.stop("renter_stopped", 10)
    control.stop("expired", 10)
    assert control.stop_reason == "renter_stopped"
    outcome, heard = run(Behaviour(gate=gate), control)
    assert outcome.kind is OutcomeKind.STOPPED
    assert [event["segment"] for event in heard if event["event"] == "segment"] == [0]


def test_when_the_grace_of_a_stop_is_over_then_the_program_is_dropped() -> None:
    control = Control()
    control.stop("renter_stopped", -1)
    outcome, _ = run(Behaviour(hang_in_segment=0), control)
    assert outcome == Outcome(OutcomeKind.STOPPED, "dropped inside a segment")


def test_when_cancelled_then_the_program_is_dropped_with_the_first_reason() -> None:
    control = Control()
    control.cancel("reorganised")
    control.cancel("later")
    outcome, _ = run(Behaviour(hang_in_segment=0), control)
    assert outcome == Outcome(OutcomeKind.CANCELLED, "reorganised")


def test_when_there_is_no_progress_then_it_counts_as_hung() -> None:
    outcome, _ = run(Behaviour(hang_in_segment=0), start=0.2, step=0.2)
    assert outcome.kind is OutcomeKind.HUNG


def test_when_segments_take_longer_than_they_are_paid_for_then_the_program_is_dropped() -> None:
    # It makes progress within each deadline, but not at the pace of its price.
    behaviour = Behaviour(hang_in_segment=2)
    outcome, heard = run(behaviour, pace=Pace(setup_s=0.3, segment_s=0.0))
    assert outcome.kind is OutcomeKind.TOO_SLOW
    assert "3 segments take more than 0 s" in outcome.text
    assert [event["segment"] for event in heard if event["event"] == "segment"] == [0, 1]


def test_when_segments_are_finished_then_each_gives_time_for_another() -> None:
    pace = Pace(setup_s=10.0, segment_s=4.0)
    assert [pace.limit_s(done) for done in (0, 1, 9)] == [14, 18, 50]
    outcome, _ = run(Behaviour(), pace=pace)
    assert outcome.kind is OutcomeKind.FINISHED


def test_when_the_code_fails_then_its_text_and_code_are_kept() -> None:
    outcome, _ = run(Behaviour(fail_in_segment=1))
    assert outcome == Outcome(OutcomeKind.JOB_FAILED, "Traceback: ValueError", 80)


def test_when_the_runtime_breaks_then_it_is_our_fault() -> None:
    outcome, _ = run(Behaviour(own_fault=True))
    assert outcome.kind is OutcomeKind.OUR_FAULT


def test_when_the_handler_refuses_an_event_then_the_program_is_killed() -> None:
    spec = SandboxSpec(
        argv=["python", "-m", "worker_agent.runtime"],
        limits=Limits(memory_bytes=1, cpu_cores=1.0, disk_bytes=1, wall_time_s=9.0),
        work_files={"task.json": json.dumps(TASK).encode()},
    )

    def refuse(_event: Mapping[str, Any]) -> None:
        raise ValueError("no")

    process = FakeSandbox(Behaviour()).start(spec)
    with pytest.raises(ValueError, match="no"):
        follow(process, refuse, Control(), start_limit_s=5, step_limit_s=5)
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("ended", "kind", "text"),
    [
        (Exit(ExitReason.OUT_OF_MEMORY, None), OutcomeKind.JOB_FAILED, "memory limit"),
        (Exit(ExitReason.SIGNALED, 139), OutcomeKind.JOB_FAILED, "signal 11"),
        (Exit(ExitReason.WALL_TIME, None), OutcomeKind.JOB_FAILED, "time limit"),
        (Exit(ExitReason.OUTPUT_LIMIT, None), OutcomeKind.JOB_FAILED, "printed more"),
        (Exit(ExitReason.EXITED, 0), OutcomeKind.JOB_FAILED, "exit code 0"),
        (Exit(ExitReason.NOT_STARTED, None, "no such file"), OutcomeKind.OUR_FAULT, "no such"),
        (Exit(ExitReason.KILLED, None), OutcomeKind.OUR_FAULT, "killed"),
        (Exit(ExitReason.INTERRUPTED, None), OutcomeKind.OUR_FAULT, "interrupted"),
    ],
)
def test_when_the_program_ends_in_another_way_then_the_family_is_right(
    ended: Exit, kind: OutcomeKind, text: str
) -> None:
    class Ended:
        def events(self) -> Any:
            return iter(())

        def wait(self, timeout_s: float | None = None) -> Exit:
            return ended

    outcome = follow(Ended(), lambda _e: None, Control(), start_limit_s=5, step_limit_s=5)
    assert outcome.kind is kind
    assert text in outcome.text


def test_when_the_program_says_only_that_it_is_ready_then_it_counts_as_hung() -> None:
    def program(process: FakeProcess) -> int:
        while not process.killed.wait(0.05):
            process.emit(event="ready")
        return 0

    limits = Limits(memory_bytes=1, cpu_cores=1.0, disk_bytes=1, wall_time_s=9.0)
    spec = SandboxSpec(argv=["python"], limits=limits)
    with FakeProcess(spec, Behaviour(), program) as process:
        outcome = follow(process, lambda _event: None, Control(), start_limit_s=5, step_limit_s=0.5)
    assert outcome.kind is OutcomeKind.HUNG
