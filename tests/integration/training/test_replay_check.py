"""Scripts that could not be replayed are found before anything is rented."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk import training
from client_sdk.training import replay_check

SCRIPT = """
import sys
import torch
from torch import nn
from client_sdk import training

training.begin()
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
run = training.Run(model=model, optimizer=optimizer)
average = 0.0
for indices in run.batches(30, batch_size=5):
    loss = (model(torch.randn(5, 4)) + average).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if "forgets" in sys.argv:
        average = 0.5 * average + loss.item()
    run.record(loss=loss)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    # The script's processes run in the present folder and import our packages from here.
    monkeypatch.setenv("PYTHONPATH", str(Path(training.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    return path


def test_when_a_script_keeps_nothing_to_itself_then_its_replay_is_the_same(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay_check.main(["--segment-steps", "2", str(script)]) == 0
    assert capsys.readouterr().out.startswith("replay: ok")


def test_when_a_script_keeps_state_in_a_variable_then_what_differs_is_named(script: Path) -> None:
    options = training.LocalOptions(segment_steps=2)

    report = training.check_replay(script, ["forgets"], options=options)

    assert not report.same
    assert "step 2" in report.differences
    assert "model.param.weight" in report.differences


def test_when_a_script_fails_then_its_output_is_shown(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text("raise SystemError('of its own')")

    assert replay_check.main([str(script)]) == 2
    assert "of its own" in capsys.readouterr().err
