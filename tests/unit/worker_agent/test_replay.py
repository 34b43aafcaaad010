"""Re-executions look to the renter's program like the job itself."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from client_sdk.protocol.records import BoundaryOpening, SegmentRecord, open_boundary
from tests.fakes import parties
from tests.fakes import sandbox as sandboxes
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import Behaviour, FakeProcess, FakeSandbox
from worker_agent import replay as replays
from worker_agent.arbiter import judge
from worker_agent.errors import JobFailed, ProviderFault
from worker_agent.execution import Control, Outcome, OutcomeKind
from worker_agent.inputs import JobInputs
from worker_agent.jobs import Jobs
from worker_agent.replay import Replay, ReplayTooSlow, replay, replay_whole

SEGMENTS = 4


@pytest.fixture
def inputs(tmp_path: Path) -> JobInputs:
    market = FakeMarket(FakeChain(parties.ARBITER.address))
    job = parties.make_job(tmp_path, market, max_segments=SEGMENTS)
    for name in ("inputs/code", "inputs/data"):
        (tmp_path / name).mkdir(parents=True)
    return JobInputs(job.manifest, tmp_path / "inputs/code", tmp_path / "inputs/data")


def task_of(inputs: JobInputs, folder: Path, segment: int, **changes: object) -> Replay:
    values = {
        "inputs": inputs,
        "lease_id": b"\7" * 32,
        "seed": 5,
        "clock_s": 1_700_000_000,
        "max_segments": SEGMENTS,
        "start_segment": 0,
        "segment": segment,
        "resume": None,
        "folder": folder,
        "limit_s": 20.0,
        "segment_limit_s": 20.0,
        "max_bytes": 1 << 20,
    }
    return Replay(**{**values, **changes})  # type: ignore[arg-type]  # a bag of fields


def told(machine: FakeSandbox) -> list[dict[str, object]]:
    """What each program was told, less the folder that it resumes from."""
    return [json.loads(spec.work_files["task.json"]) for spec in machine.started]


def test_when_a_segment_is_audited_then_the_program_is_told_what_the_job_was_told(
    inputs: JobInputs, tmp_path: Path
) -> None:
    # A program that knew would compute something else under audit: the provider would be slashed.
    machine = FakeSandbox(Behaviour())
    record = replay(Jobs(machine), task_of(inputs, tmp_path / "audit", 1), Control())
    assert record.segment == 1
    (task,) = told(machine)
    assert (task["mode"], task["stop_after_segment"]) == ("train", None)
    assert task["max_segments"] == SEGMENTS


def run_whole(
    inputs: JobInputs, folder: Path, machine: FakeSandbox, state_before: bytes
) -> tuple[SegmentRecord, SegmentRecord | None]:
    task = task_of(inputs, folder, 2, state_before=state_before)
    return replay_whole(Jobs(machine), task, Control())


def test_when_the_committed_state_before_is_reached_then_one_run_is_enough(
    inputs: JobInputs, tmp_path: Path
) -> None:
    before = replay(Jobs(FakeSandbox()), task_of(inputs, tmp_path / "before", 1), Control())
    machine = FakeSandbox()
    record, again = run_whole(inputs, tmp_path / "whole", machine, before.state_hash)
    assert (record.segment, again, len(machine.started)) == (2, None, 1)


def test_when_the_committed_state_before_is_not_reached_then_the_own_one_is_resumed_from(
    inputs: JobInputs, tmp_path: Path
) -> None:
    machine = FakeSandbox()
    record, again = run_whole(inputs, tmp_path / "whole", machine, b"\1" * 32)
    assert again is not None
    assert record.same_work(again)
    assert [task["start_segment"] for task in told(machine)] == [0, 2]


def test_when_the_job_gives_other_results_each_time_then_the_second_run_shows_it(
    inputs: JobInputs, tmp_path: Path
) -> None:
    machine = FakeSandbox(Behaviour(nondeterministic=True))
    record, again = run_whole(inputs, tmp_path / "whole", machine, b"\1" * 32)
    assert again is not None
    assert not record.same_work(again)


def opening_of(record: SegmentRecord) -> BoundaryOpening:
    salt = b"\2" * 32
    at_start = replace(record, segment=0)
    opened = open_boundary(at_start, salt, [at_start.root(salt)])
    return replace(opened, segment=record.segment)


def test_when_the_states_before_were_made_up_too_then_it_still_is_fraud(
    inputs: JobInputs, tmp_path: Path
) -> None:
    machine = FakeSandbox()
    whole, again = run_whole(inputs, tmp_path / "whole", machine, b"\1" * 32)
    committed = replace(whole, state_hash=b"\3" * 32)
    from_false_checkpoint = replace(whole, state_hash=b"\4" * 32)
    assert judge(opening_of(committed), from_false_checkpoint, whole, again)[0] is True


def test_when_the_second_run_differs_then_nothing_is_proven(
    inputs: JobInputs, tmp_path: Path
) -> None:
    machine = FakeSandbox(Behaviour(nondeterministic=True))
    whole, again = run_whole(inputs, tmp_path / "whole", machine, b"\1" * 32)
    committed = replace(whole, state_hash=b"\3" * 32)
    assert judge(opening_of(committed), whole, whole, again)[0] is False


def test_when_a_job_runs_then_its_environment_is_not_the_workers(
    inputs: JobInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_SECRET", "of the worker")
    machine = FakeSandbox()
    jobs = Jobs(machine, ("/dev/nvidia0",))
    replay(jobs, task_of(inputs, tmp_path / "run", 0), Control())
    (spec,) = machine.started
    assert "WORKER_SECRET" not in spec.env
    # The manifest asks for no GPU.
    assert spec.gpus == ()


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (80, "ValueError: nan", JobFailed),
        (83, "sys.exit(3)", JobFailed),
        (80, "torch.OutOfMemoryError: CUDA out of memory", ProviderFault),
        (80, "RuntimeError: CUDA error: out of memory", ProviderFault),
        (80, "MemoryError", ProviderFault),
        (137, "the program died of signal 9", ProviderFault),
        (73, "the output folder is full", ProviderFault),
        (None, "the program ran into its time limit", ProviderFault),
    ],
)
def test_when_a_replay_ends_early_then_only_what_the_code_did_itself_is_its_failure(
    inputs: JobInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int | None,
    text: str,
    error: type[Exception],
) -> None:
    outcome = Outcome(OutcomeKind.JOB_FAILED, text, code)
    monkeypatch.setattr(replays, "follow", lambda *_args, **_options: outcome)
    with pytest.raises(error):
        replay(Jobs(FakeSandbox()), task_of(inputs, tmp_path / "run", 0), Control())


@pytest.mark.parametrize(
    ("hangs_in", "limits"),
    [
        (0, {"segment_limit_s": 0.2}),
        (2, {"segment_limit_s": 0.4}),
        (2, {"limit_s": 0.4}),
    ],
    ids=["before its first segment", "between two", "of the whole"],
)
def test_when_the_code_sleeps_then_it_has_the_time_of_one_segment_and_no_more(
    inputs: JobInputs, tmp_path: Path, hangs_in: int, limits: dict[str, float]
) -> None:
    machine = FakeSandbox(Behaviour(hang_in_segment=hangs_in))
    begun = time.monotonic()
    with pytest.raises(ReplayTooSlow):
        replay(Jobs(machine), task_of(inputs, tmp_path / "run", 3, **limits), Control())
    assert time.monotonic() - begun < 10  # the other limit is 20 s


@pytest.mark.parametrize(
    ("events", "limits"),
    [([], {"segment_limit_s": 0.3}), ([{"event": "segment", "segment": 0}], {"limit_s": 0.3})],
    ids=["nothing", "the same segment again and again"],
)
def test_when_the_program_itself_says_how_far_it_is_then_it_gains_no_time(
    inputs: JobInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    events: list[dict[str, object]],
    limits: dict[str, float],
) -> None:
    def talk(process: FakeProcess) -> int:
        while not process.killed.wait(0.01):
            for event in events:
                process.emit(**event)
        return 0

    monkeypatch.setattr(sandboxes, "_runtime", talk)
    begun = time.monotonic()
    with pytest.raises(ReplayTooSlow):
        replay(Jobs(FakeSandbox()), task_of(inputs, tmp_path / "run", 3, **limits), Control())
    assert time.monotonic() - begun < 10  # the other limit is 20 s
