"""The examples are what their job files say: they load, train, and evaluate."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from client_sdk.jobfile import load_job_file
from client_sdk.protocol.verification import Verification
from worker_agent.runtime.exits import ExitCode

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
NAMES = ["digits_cnn", "char_transformer"]


@pytest.mark.parametrize("name", NAMES)
def test_when_a_job_file_is_read_then_it_is_a_replayable_job_of_files_that_are_there(
    name: str, tmp_path: Path
) -> None:
    # A copy, prepared as the README says: a fresh clone has no data/stdlib.txt yet.
    example = Path(shutil.copytree(EXAMPLES / name, tmp_path / name))
    subprocess.run([sys.executable, example / "prepare.py"], check=True)
    spec = load_job_file(example / "job.yaml").spec

    assert spec.verification is Verification.REPLAY
    assert spec.segments.max >= 20
    for script in (spec.entry, spec.evaluate):
        assert (EXAMPLES / name / spec.code / script).is_file()


def test_when_the_digits_are_prepared_again_then_they_are_the_file_of_the_example() -> None:
    prepared = runpy.run_path(str(EXAMPLES / "digits_cnn/prepare.py"))["digits"]()

    stored = load_file(EXAMPLES / "digits_cnn/data/digits.safetensors")
    assert all(torch.equal(stored[name], prepared[name]) for name in prepared)
    assert stored["images"].shape == (1797, 8, 8)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("digits_cnn", "accuracy"), ("char_transformer", "bits_per_character")],
)
def test_when_an_example_runs_then_its_checkpoint_can_be_evaluated(
    name: str, metric: str, start: Callable[..., Any], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    if name == "digits_cnn":
        # As in the sandbox, where a data entry has its name and no suffix.
        (data_dir / "digits").symlink_to(EXAMPLES / name / "data/digits.safetensors")
    else:
        text = runpy.run_path(str(EXAMPLES / name / "prepare.py"))["standard_library_text"](200_000)
        (data_dir / "stdlib").write_text(text)
    code_dir = EXAMPLES / name / "code"

    run = start(code_dir=str(code_dir), data_dir=str(data_dir), segment_steps=2, max_segments=1)

    assert run.end() == ExitCode.OK, run.output
    assert list((run.out_dir / "outputs/model").iterdir())
    checkpoint = run.out_dir / "segments/0/checkpoint.safetensors"
    evaluated = subprocess.run(
        [sys.executable, "evaluate.py", "--data", data_dir, "--checkpoint", checkpoint],
        cwd=code_dir,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert metric in json.loads(evaluated.stdout.splitlines()[-1])
