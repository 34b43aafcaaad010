"""Tests that need a CUDA device; `make gpu` runs them, and refuses where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.checkpoint import RECORD_NAME
from tests.gpu import trainings

ROOT = Path(__file__).parents[2]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without a GPU nothing here may look as if it had passed, so the whole run ends with 3."""
    if not any(item.get_closest_marker("gpu") for item in session.items):
        return
    import torch

    if not torch.cuda.is_available():
        pytest.exit(
            f"NOT RUN: these tests need a CUDA device, and torch {torch.__version__} sees none "
            "(compare `nvidia-smi`; the CPU build of torch never sees one)",
            returncode=3,
        )


class Executions:
    """Trainings of one process, by case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def out_dir(self, name: str) -> Path:
        return self.folder / name

    def work(self, name: str, segment: int) -> dict[str, Any]:
        """A segment's record without its seconds."""
        error = self.out_dir(name) / "error.txt"
        assert not error.exists(), error.read_text()
        path = self.out_dir(name) / "segments" / str(segment) / RECORD_NAME
        record: dict[str, Any] = json.loads(path.read_text())
        del record["seconds"]
        return record


def start(folder: Path, plan: list[dict[str, Any]]) -> subprocess.Popen[str]:
    """Execute a plan in a new process."""
    folder.mkdir()
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gpu.trainings", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> None:
    """Wait for processes; they all have to end well."""
    for process in processes:
        output = process.communicate(timeout=240)[0]
        assert process.returncode == 0, output[-4000:]


@pytest.fixture(scope="session")
def executions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Executions]:
    """Every case, executed by four processes.

    ``first`` and ``second`` train from the start, in opposite order, so that what one training
    leaves in a process shows in the next; ``resumed`` goes on from the checkpoints of ``first``;
    ``cheats`` does segment 1 again, wrongly.
    """
    root = tmp_path_factory.mktemp("trainings")
    found = {name: Executions(root / name) for name in ("first", "second", "resumed", "cheats")}

    def plan(name: str, cases: Any, **more: Any) -> list[dict[str, Any]]:
        return [{"case": c, "out_dir": str(found[name].out_dir(c)), **more} for c in cases]

    def resume(case: str) -> str:
        return str(found["first"].out_dir(case) / "segments" / "0")

    finish(
        start(root / "first", plan("first", trainings.CASES)),
        start(root / "second", plan("second", reversed(trainings.CASES))),
    )
    resumed = [
        {**entry, "resume_from": resume(entry["case"])}
        for entry in plan("resumed", trainings.CASES)
    ]
    cheats = [
        {
            "case": case,
            "out_dir": str(found["cheats"].out_dir(f"{case}-{cheat}")),
            "resume_from": resume(case),
            "stop_after": 1,
            "cheat": cheat,
        }
        for case in CHEATED
        for cheat in trainings.CHEATS
    ]
    finish(start(root / "resumed", resumed), start(root / "cheats", cheats))
    return found


#: Where cheats are tried; TF32 is a way to compute fp32, so it needs that precision.
CHEATED = ("cnn-sgd_momentum-fp32", "transformer-adam-fp32")
