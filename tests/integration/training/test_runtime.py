"""The program in the sandbox: events, replay, stops, kills, failures of the script."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from worker_agent.runtime.exits import ExitCode

Start = Callable[..., Any]

OPTIMIZER_NAMES = ("sgd_momentum", "adam", "rmsprop", "adagrad")

# Four models, each with an optimizer of its own; dropout, augmentation, batch norm, schedules;
# every generator is drawn from.
SCRIPT = """
import random, sys, time
import numpy as np
import torch
from torch import nn
from client_sdk import training

OPTIMIZERS = {
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
}

def network():
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )

training.begin()
models = {name: network() for name in OPTIMIZERS}
images, labels = torch.randn(50, 6), torch.randint(3, (50,))
optimizers = {name: make(models[name].parameters()) for name, make in OPTIMIZERS.items()}
schedulers = {n: torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for n, o in optimizers.items()}
run = training.Run(model=models, optimizer=optimizers, scheduler=schedulers)
for indices in run.batches(50, batch_size=10):
    batch = images[indices] + 0.1 * torch.randn(10, 6, generator=run.generator)
    batch = batch + np.random.rand() * 0.01 + random.random() * 0.01
    for name, model in models.items():
        loss = nn.functional.cross_entropy(model(batch), labels[indices])
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()
        schedulers[name].step()
        run.record(**{name: loss})
    if "finish" in sys.argv and run.step == 9:
        run.finish()
    if "wait" in sys.argv and run.step == 5:
        time.sleep(0.5)
run.save_output("model/weights.safetensors", models["adam"].state_dict())
print("done")
"""


@pytest.fixture(scope="module")
def whole(start_once: Start) -> Any:
    """An uninterrupted execution of SCRIPT, ended."""
    run = start_once(SCRIPT)
    assert run.end() == ExitCode.OK
    return run


def test_when_a_task_is_run_then_segments_are_reported_and_written(whole: Any) -> None:
    run = whole

    assert run.output == "done\n"
    assert run.events[0] == {"event": "ready"}
    assert run.events[-1] == {"event": "finished", "final_segment": 3, "early": False}
    assert [e["segment"] for e in run.named("segment")] == [0, 1, 2, 3]
    assert [e["record"]["final"] for e in run.named("segment")] == [False, False, False, True]
    for event in run.named("segment"):
        folder = run.out_dir / "segments" / str(event["segment"])
        assert json.loads((folder / "record.json").read_text()) == event["record"]
    assert run.named("step")[0]["metrics"].keys() == set(OPTIMIZER_NAMES)
    assert (run.out_dir / "outputs/model/weights.safetensors").exists()
    assert not (run.job_dir / "task.json").exists()


def test_when_segments_are_run_in_new_processes_then_every_bit_is_the_same(
    whole: Any, start: Start
) -> None:
    audit = start(
        SCRIPT,
        name="audit",
        mode="audit",
        start_segment=2,
        stop_after_segment=2,
        resume_dir=str(whole.out_dir / "segments/1"),
    )
    resumed = start(name="resumed", start_segment=1, resume_dir=str(whole.out_dir / "segments/0"))

    assert audit.end() == ExitCode.OK
    assert resumed.end() == ExitCode.OK
    assert audit.work() == {2: whole.work()[2]}
    assert audit.events[-1] == {"event": "stopped", "final_segment": 2}
    assert resumed.work() == {i: whole.work()[i] for i in (1, 2, 3)}


def test_when_the_process_is_killed_then_it_goes_on_from_its_last_checkpoint(
    whole: Any, start: Start
) -> None:
    killed = start(SCRIPT, name="killed", args=["wait"])
    killed.wait_for("segment", segment=0)
    killed.process.kill()
    killed.end()
    done = max(killed.hashes())

    again = start(
        name="killed",
        start_segment=done + 1,
        resume_dir=str(killed.out_dir / "segments" / str(done)),
    )

    assert again.end() == ExitCode.OK
    assert killed.hashes() | again.hashes() == whole.hashes()


def stopped_early(run: Any) -> bool:
    """Whether it stopped after segment 0 or 1, whichever was running when the word came."""
    last = max(run.hashes())
    written = (run.out_dir / "segments" / str(last) / "record.json").exists()
    return last < 2 and written and run.events[-1] == {"event": "stopped", "final_segment": last}


def test_when_a_stop_is_sent_then_the_running_segment_is_finished(start: Start) -> None:
    run = start(SCRIPT, args=["wait"])
    run.wait_for("segment", segment=0)
    run.send("stop")

    assert run.end() == ExitCode.OK
    assert stopped_early(run)


def test_when_the_process_is_terminated_then_the_running_segment_is_finished(start: Start) -> None:
    run = start(SCRIPT, args=["wait"])
    run.wait_for("segment", segment=0)
    run.process.send_signal(signal.SIGTERM)

    assert run.end() == ExitCode.OK
    assert stopped_early(run)


def test_when_a_checkpoint_was_taken_then_its_copy_here_is_deleted(start: Start) -> None:
    run = start(SCRIPT, args=["wait"])
    run.wait_for("segment", segment=0)
    run.send("taken", segment=0)
    run.send("something newer")

    assert run.end() == ExitCode.OK
    assert not (run.out_dir / "segments/0").exists()
    assert (run.out_dir / "segments/3").exists()


def test_when_the_script_finishes_early_then_the_end_is_the_same_in_an_audit(start: Start) -> None:
    run = start(SCRIPT, name="whole", args=["finish"])
    assert run.end() == ExitCode.OK
    assert run.events[-1] == {"event": "finished", "final_segment": 2, "early": True}
    assert run.work()[2]["final"]

    audit = start(
        name="audit",
        mode="audit",
        args=["finish"],
        start_segment=2,
        stop_after_segment=2,
        resume_dir=str(run.out_dir / "segments/1"),
    )

    assert audit.end() == ExitCode.OK
    assert audit.work()[2] == run.work()[2]


def test_when_a_job_is_probed_then_its_costs_are_reported_and_nothing_is_kept(start: Start) -> None:
    begun_s = time.monotonic()
    run = start(SCRIPT, mode="probe", probe_steps=6)

    assert run.end() == ExitCode.OK
    took_s = time.monotonic() - begun_s
    probe = run.events[-1]
    assert probe["event"] == "probe"
    assert probe["steps"] == 6
    assert all(probe[key] > 0 for key in ("setup_s", "step_s", "mean_step_s", "boundary_s"))
    # By the machine's clock, not by the script's, on which each step takes a second.
    assert probe["setup_s"] + 6 * probe["mean_step_s"] + probe["boundary_s"] < took_s
    assert probe["step_s"] < 0.9
    assert probe["state_bytes"] > 5000


METERED = """
import os, signal, sys, time
try:
    # Python drops an interrupt that comes while a file is closed: show it only when it is closed.
    open("writing.txt", "w").write(open("config.txt").read())
    os.rename("writing.txt", "written.txt")
    time.sleep(float(sys.argv[1]))
except KeyboardInterrupt:
    open("interrupted.txt", "w").close()
sys.exit(int(sys.argv[2]))
"""


def metered(start: Start, seconds: str, code: str = "0", **task: Any) -> Any:
    values = {"segment_steps": 0, "segment_seconds": 0.2, "args": [seconds, code], **task}
    return start(METERED, mode="metered", **values)


@pytest.fixture
def config(tmp_path: Any) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "config.txt").write_text("from the code folder")


@pytest.mark.usefixtures("config")
def test_when_an_unmodified_script_runs_then_wall_clock_segments_are_counted(start: Start) -> None:
    run = metered(start, "0.7", max_segments=60_000)

    assert run.end() == ExitCode.OK
    segments = [e["segment"] for e in run.named("segment")]
    assert segments == list(range(len(segments)))
    assert len(segments) >= 3
    last = run.events[-1]
    assert last == {"event": "finished", "final_segment": len(segments) - 1, "early": True}
    assert (run.out_dir / "outputs/written.txt").read_text() == "from the code folder"


@pytest.mark.usefixtures("config")
def test_when_a_metered_script_is_stopped_then_it_is_interrupted_first(start: Start) -> None:
    # As in a daemon that a shell started in the background: children inherit what is ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = metered(start, "60", max_segments=60_000)
    finally:
        signal.signal(signal.SIGINT, before)
    run.wait_for_file("outputs/written.txt")
    run.send("stop")

    assert run.end() == ExitCode.OK
    assert run.events[-1]["event"] == "stopped"
    assert (run.out_dir / "outputs/interrupted.txt").exists()


@pytest.mark.usefixtures("config")
def test_when_all_metered_segments_are_used_then_the_script_is_stopped(start: Start) -> None:
    run = metered(start, "60", max_segments=3)

    assert run.end() == ExitCode.OK
    assert run.events[-1] == {"event": "stopped", "final_segment": 2}


@pytest.mark.usefixtures("config")
def test_when_a_metered_script_ignores_the_interrupt_then_it_is_killed(start: Start) -> None:
    script = METERED.replace("try:", "signal.signal(signal.SIGINT, signal.SIG_IGN)\ntry:")
    values = {"segment_steps": 0, "segment_seconds": 0.2, "args": ["60", "0"], "grace_s": 0.2}
    run = start(script, mode="metered", max_segments=2, **values)

    assert run.end() == ExitCode.OK
    assert run.events[-1]["event"] == "stopped"


@pytest.mark.usefixtures("config")
def test_when_a_metered_script_fails_then_its_code_is_reported(start: Start) -> None:
    run = metered(start, "0", "7", segment_seconds=60)

    assert run.end() == ExitCode.SCRIPT_EXITED
    assert run.events[-1]["text"] == "the script exited with 7"


@pytest.mark.usefixtures("config")
def test_when_sets_are_iterated_then_their_order_is_the_same_in_every_process(start: Start) -> None:
    script = "print(sorted([str(i) for i in range(20)], key=hash))"
    task = {"mode": "metered", "segment_steps": 0, "segment_seconds": 60}
    first, second = start(script, name="a", **task), start(name="b", **task)
    first.end()
    second.end()

    assert first.output == second.output
