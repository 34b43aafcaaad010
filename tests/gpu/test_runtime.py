"""On a GPU: the program in the sandbox makes every setting, refuses what has no fixed bits, and
times steps by when the GPU is done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.conftest import ROOT
from tests.support.runtime import Runtime, starter
from worker_agent.runtime.exits import ErrorKind, ExitCode

pytestmark = pytest.mark.gpu

Start = Callable[..., Runtime]

HEAD = """
import json, os, sys
import torch
from torch import nn
from client_sdk import training

device = training.begin().device
model = nn.Linear(4, 4).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
run = training.Run(model=model, optimizer=optimizer)
"""
BODY = """
    optimizer.zero_grad()
    model(torch.randn(3, 4, device=device)).sum().backward()
    optimizer.step()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the runtime on a script given as text; keywords change the task."""
    yield from starter(tmp_path)


def test_when_the_runtime_starts_then_every_setting_for_equal_bits_is_made(start: Start) -> None:
    script = f"""
assert not __import__("torch").cuda.is_initialized()
{HEAD}
for _ in run.steps():
{BODY}
print(json.dumps([
    os.environ["CUBLAS_WORKSPACE_CONFIG"],
    torch.are_deterministic_algorithms_enabled(),
    torch.is_deterministic_algorithms_warn_only_enabled(),
    torch.backends.cudnn.deterministic,
    torch.backends.cudnn.benchmark,
    torch.backends.cudnn.allow_tf32,
    torch.backends.cuda.matmul.allow_tf32,
    next(model.parameters()).device.type,
]))
"""
    run = start(script, max_segments=1)

    assert run.end() == ExitCode.OK, run.output
    assert json.loads(run.output) == [":4096:8", True, False, True, False, False, False, "cuda"]


def test_when_the_gpu_was_used_before_begin_then_it_is_refused() -> None:
    code = "import torch; torch.ones(1).cuda(); from gridlease import training; training.begin()"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert "NotBegunError: the GPU was used before training.begin()" in ended.stderr


def test_when_an_operation_has_no_fixed_bits_then_it_is_named_and_the_renter_told_what_to_do(
    start: Start,
) -> None:
    script = f"""{HEAD}
for _ in run.steps():
    images = torch.randn(2, 3, 7, 7, device=device, requires_grad=True)
    nn.functional.adaptive_avg_pool2d(images, 3).sum().backward()
{BODY}
"""
    run = start(script)

    assert run.end() == ExitCode.NOT_REPLAYABLE, run.output
    (error,) = run.named("error")
    assert error["kind"] == ErrorKind.JOB
    assert "adaptive_avg_pool2d_backward_cuda gives other bits each time it runs" in error["text"]
    assert "Use an operation in its place" in error["text"]


def test_when_a_job_is_probed_then_its_step_lasts_until_the_gpu_is_done(start: Start) -> None:
    script = f"""{HEAD}
left = torch.randn(8192, 8192, device=device)
begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
try:
    for _ in run.steps():
        begin.record()
        for _ in range(4):
            torch.mm(left, left)
        end.record()
{BODY.replace("    ", "        ")}
finally:
    end.synchronize()
    print(json.dumps(begin.elapsed_time(end) / 1000))
"""
    run = start(script, mode="probe", probe_steps=5)

    assert run.end() == ExitCode.OK, run.output
    gpu_s = json.loads(run.output)
    (probe,) = run.named("probe")
    assert probe["step_s"] > 0.8 * gpu_s
    assert probe["mean_step_s"] > 0.8 * gpu_s


def test_when_a_checkpoint_of_this_gpu_is_taken_then_the_next_attempt_goes_on_from_it(
    start: Start,
) -> None:
    script = f"{HEAD}\nfor _ in run.steps():\n{BODY}"
    whole = start(script, name="whole", max_segments=3)
    assert whole.end() == ExitCode.OK, whole.output

    resumed = start(
        name="resumed",
        mode="audit",
        max_segments=3,
        start_segment=1,
        stop_after_segment=1,
        resume_dir=str(whole.out_dir / "segments/0"),
    )

    assert resumed.end() == ExitCode.OK, resumed.output
    work: dict[int, Any] = whole.work()
    assert resumed.work() == {1: work[1]}
