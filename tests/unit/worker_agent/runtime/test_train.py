"""How a script ends is told apart: its own failure, ours, a stop, a refusal."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from client_sdk.training import session
from worker_agent.runtime.control import Control
from worker_agent.runtime.exits import KIND_OF, ErrorKind, ExitCode
from worker_agent.runtime.task import parse_task
from worker_agent.runtime.train import run_training

SCRIPT = """
import sys
import torch
from torch import nn
from client_sdk import training

training.begin()
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
run = training.Run(model=model, optimizer=optimizer)
for step in run.steps():
    optimizer.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    run.record(step=step)
"""

Run = Callable[..., tuple[ExitCode, list[dict[str, Any]]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a script in this process; returns the exit code and the events."""
    deterministic, num_threads = (
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    )
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.chdir(tmp_path)

    def run(script: str, **changes: Any) -> tuple[ExitCode, list[dict[str, Any]]]:
        code_dir = tmp_path / "code"
        code_dir.mkdir(exist_ok=True)
        (code_dir / "train.py").write_text(script)
        task = {
            "schema": "gridlease/task/1",
            "mode": "train",
            "lease_id": "0x" + "22" * 32,
            "seed": 1,
            "clock_s": 1_700_000_000,
            "threads": 1,
            "entry": "train.py",
            "args": [],
            "code_dir": str(code_dir),
            "data_dir": str(tmp_path),
            "out_dir": str(tmp_path / "out"),
            "segment_steps": 2,
            "max_segments": 2,
            **changes,
        }
        read, write = os.pipe()
        code = run_training(parse_task(task), Control(events_fd=write, commands_fd=-1))
        os.close(write)
        with os.fdopen(read) as lines:
            return code, [json.loads(line) for line in lines]

    yield run
    session.uninstall()
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(num_threads)
    signal.signal(signal.SIGTERM, handler)


def test_when_the_script_runs_to_its_end_then_the_last_event_says_so(run: Run) -> None:
    code, events = run(SCRIPT)

    assert code is ExitCode.OK
    assert events[0] == {"event": "ready"}
    assert events[-1] == {"event": "finished", "final_segment": 1, "early": False}


def test_when_the_job_brings_packages_then_the_script_finds_them_after_its_own(
    run: Run, tmp_path: Path
) -> None:
    for folder, name in (("image", "brought"), ("image", "both"), ("code", "both")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}_module.py").write_text(f"PLACE = {folder!r}\n")
    script = "import both_module as b, brought_module as i\nraise ValueError(b.PLACE + i.PLACE)"

    _, events = run(script, image_dir=str(tmp_path / "image"))

    assert "codeimage" in events[-1]["text"]


def test_when_the_script_ends_with_exit_zero_after_its_run_then_that_is_an_end(run: Run) -> None:
    code, events = run(SCRIPT + "sys.exit(0)\n")

    assert code is ExitCode.OK
    assert events[-1]["event"] == "finished"


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("def f():\n    raise ValueError('mine')\nf()", ExitCode.SCRIPT_RAISED, "mine"),
        ("import sys; sys.exit(3)", ExitCode.SCRIPT_EXITED, "SystemExit: 3"),
        ("import sys; sys.exit()", ExitCode.SCRIPT_UNFINISHED, "run.finish()"),
        ("pass", ExitCode.SCRIPT_UNFINISHED, "ended before its run"),
        ("import no_such_module", ExitCode.SCRIPT_RAISED, "no_such_module"),
        ("while", ExitCode.SCRIPT_RAISED, "SyntaxError"),
        ("raise KeyboardInterrupt", ExitCode.SCRIPT_RAISED, "KeyboardInterrupt"),
        (SCRIPT + "1 / 0\n", ExitCode.SCRIPT_RAISED, "ZeroDivisionError"),
        (
            SCRIPT.replace("    run.rec", "    break\n    run.rec"),
            ExitCode.SCRIPT_UNFINISHED,
            "break",
        ),
    ],
)
def test_when_the_script_fails_then_its_own_traceback_is_reported(
    script: str, code: ExitCode, text: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    found, events = run(script)

    assert found is code
    error = events[-1]
    assert (error["event"], error["kind"], error["code"]) == ("error", "job", code)
    assert text in error["text"]
    assert capsys.readouterr().err == error["text"]
    assert "runpy" not in error["text"] or "SyntaxError" in text


def test_when_the_script_keeps_state_out_of_reach_then_it_is_told_how_to_register_it(
    run: Run,
) -> None:
    script = SCRIPT.replace("run = ", "model.total = 0\nrun = ").replace(
        "run.record(step=step)", "model.total += 1"
    )

    code, events = run(script)

    assert code is ExitCode.NOT_REPLAYABLE
    assert "model.total changed in segment 0" in events[-1]["text"]


def test_when_the_checkpoint_to_resume_from_is_missing_then_it_is_our_fault(run: Run) -> None:
    code, events = run(SCRIPT, start_segment=1, resume_dir="/nonexistent")

    assert code is ExitCode.BAD_CHECKPOINT
    assert events[-1]["kind"] == "checkpoint"


def test_when_the_script_reads_a_broken_checkpoint_itself_then_it_is_its_own_fault(
    run: Run,
) -> None:
    script = SCRIPT + "training.load_model(model, __import__('pathlib').Path('/nonexistent'))\n"

    code, events = run(script)

    assert code is ExitCode.SCRIPT_RAISED
    assert events[-1]["kind"] == "job"


def test_when_the_output_folder_cannot_be_written_then_it_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "segments").write_text("in the way")

    code, events = run(SCRIPT)

    assert code is ExitCode.CANNOT_WRITE
    assert events[-1]["kind"] == "disk"


def test_when_a_probe_is_over_then_nothing_but_its_figures_is_reported(run: Run) -> None:
    code, events = run(SCRIPT, mode="probe", probe_steps=3)

    assert code is ExitCode.OK
    assert [e["event"] for e in events if e["event"] != "step"] == ["ready", "probe"]
    assert events[-1]["steps"] == 3
    assert all(events[-1][k] > 0 for k in ("setup_s", "step_s", "mean_step_s", "boundary_s"))


@pytest.mark.parametrize("finish", [True, False])
def test_when_the_run_is_shorter_than_the_probe_then_its_end_is_the_probes(
    finish: bool, run: Run
) -> None:
    script = SCRIPT.replace("run.record(step=step)", "run.finish()") if finish else SCRIPT

    code, events = run(script, mode="probe", probe_steps=100)

    assert code is ExitCode.OK
    assert events[-1]["event"] == "probe"
    assert events[-1]["steps"] == (1 if finish else 4)


@pytest.mark.parametrize(("mode", "final_segment"), [("train", 0), ("probe", -1)])
def test_when_the_process_is_terminated_then_the_run_stops_after_its_segment(
    mode: str, final_segment: int, run: Run
) -> None:
    script = SCRIPT.replace(
        "    run.rec", "    __import__('os').kill(__import__('os').getpid(), 15)\n    run.rec"
    )
    probe = {"probe_steps": 100} if mode == "probe" else {}

    code, events = run(script, mode=mode, **probe)

    assert code is ExitCode.OK
    assert events[-1] == {"event": "stopped", "final_segment": final_segment}


def test_when_a_metric_is_not_finite_then_the_event_is_still_json(run: Run) -> None:
    code, events = run(SCRIPT.replace("step=step", "loss=float('nan')"))

    assert code is ExitCode.OK
    assert next(e for e in events if e["event"] == "step")["metrics"] == {"loss": "nan"}


def test_when_an_exit_code_means_an_error_then_somebody_has_to_act_on_it() -> None:
    assert set(KIND_OF) == set(ExitCode) - {ExitCode.OK}
    assert set(KIND_OF.values()) == set(ErrorKind)


def test_when_an_operation_has_no_fixed_bits_then_the_renter_is_told_what_to_do(run: Run) -> None:
    script = SCRIPT.replace(
        "    run.record",
        "    torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))\n    run.record",
    )
    code, events = run(script)

    assert code is ExitCode.NOT_REPLAYABLE
    assert events[-1]["kind"] == ErrorKind.JOB
    assert "put_ gives other bits each time it runs" in events[-1]["text"]
