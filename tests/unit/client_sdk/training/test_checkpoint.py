"""Checkpoints are complete or absent, and only come back as what they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from client_sdk import training
from client_sdk.training import checkpoint
from client_sdk.training import session as sessions
from client_sdk.training.state import CapturedState

Train = Callable[..., nn.Module]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trains one segment into `tmp_path`, or goes on from there."""

    def train(
        *, resume: bool = False, model: nn.Module | None = None, lr: float = 0.1, **options: Any
    ) -> nn.Module:
        sessions.uninstall()
        values = {
            "segment_steps": 2,
            "max_segments": 2 if resume else 1,
            "output_dir": tmp_path,
            "resume": resume,
            **options,
        }
        training.begin(training.LocalOptions(**values))
        model = model or nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        run = training.Run(model=model, optimizer=optimizer)
        for _ in run.steps():
            optimizer.zero_grad()
            model(torch.randn(6, 4)).square().mean().backward()
            optimizer.step()
        return model

    return train


def test_when_a_segment_ends_then_nothing_but_safetensors_and_json_is_written(
    train: Train, tmp_path: Path
) -> None:
    train()

    assert sorted(p.name for p in (tmp_path / "segments").rglob("*")) == [
        "0",
        "checkpoint.safetensors",
        "record.json",
        "state.json",
    ]


def test_when_an_unfinished_folder_was_left_by_a_kill_then_it_is_no_checkpoint(
    train: Train, tmp_path: Path
) -> None:
    train()
    unfinished = tmp_path / "segments" / ".1.unfinished"
    unfinished.mkdir()
    (unfinished / "checkpoint.safetensors").write_bytes(b"half")

    train(resume=True)

    assert not unfinished.exists()
    assert (tmp_path / "segments" / "1" / "record.json").exists()


def test_when_a_segment_is_run_again_then_its_checkpoint_is_replaced(
    train: Train, tmp_path: Path
) -> None:
    train()
    first = (tmp_path / "segments/0/checkpoint.safetensors").read_bytes()
    (tmp_path / "segments/0/checkpoint.safetensors").write_bytes(b"")

    train()

    assert (tmp_path / "segments/0/checkpoint.safetensors").read_bytes() == first


def test_when_the_folder_cannot_be_written_then_the_run_says_so(
    train: Train, tmp_path: Path
) -> None:
    (tmp_path / "segments").write_text("a file where the folder should be")

    with pytest.raises(training.OutputWriteError, match="cannot be written"):
        train()


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "state.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[" * 100])
def test_when_a_file_is_missing_or_broken_then_it_is_not_resumed(
    name: str, content: bytes | None, train: Train, tmp_path: Path
) -> None:
    train()
    path = tmp_path / "segments" / "0" / name
    # state.json also marks the newest checkpoint: it has to stay for the run to try.
    path.write_bytes(content or b"")

    with pytest.raises(training.CheckpointBrokenError):
        train(resume=True)


def test_when_one_bit_of_a_tensor_is_changed_then_it_is_not_resumed(
    train: Train, tmp_path: Path
) -> None:
    train()
    path = tmp_path / "segments/0/checkpoint.safetensors"
    tensors = load_file(path)
    tensors["model.param.0.bias"].view(torch.int32)[0] ^= 1
    save_file(tensors, path)

    with pytest.raises(training.CheckpointBrokenError):
        train(resume=True)


def test_when_a_plain_value_is_changed_then_it_is_not_resumed(train: Train, tmp_path: Path) -> None:
    train()
    path = tmp_path / "segments/0/state.json"
    document = json.loads(path.read_text())
    document["state"]["stateful"]["optimizer.optimizer"]["param_groups"][0]["lr"]["v"] = "0x1p-3"
    path.write_text(json.dumps(document))

    with pytest.raises(training.CheckpointBrokenError):
        train(resume=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4)), "only there"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), "the checkpoint has"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), "only here"),
    ],
)
def test_when_the_script_builds_another_model_then_it_is_told_what_differs(
    model: Callable[[], nn.Module], message: str, train: Train
) -> None:
    train()

    with pytest.raises(training.CheckpointMismatchError, match=message):
        train(resume=True, model=model())


def test_when_the_checkpoint_is_of_another_segment_then_it_is_not_resumed(
    train: Train, tmp_path: Path
) -> None:
    train()
    (tmp_path / "segments/0").rename(tmp_path / "segments/3")

    with pytest.raises(training.CheckpointMismatchError, match="segment 4 starts from"):
        train(resume=True, max_segments=6)


def test_when_a_module_changes_its_state_on_loading_then_the_difference_is_named(
    train: Train,
) -> None:
    class Forgetful(torch.optim.Adam):
        def load_state_dict(self, state_dict: Any) -> None:
            super().load_state_dict(state_dict)
            self.state[self.param_groups[0]["params"][0]]["exp_avg"].zero_()

    sgd, torch.optim.Adam = torch.optim.Adam, Forgetful  # type: ignore[misc]
    try:
        train()
        with pytest.raises(training.CheckpointMismatchError, match=r"state\.0\.exp_avg"):
            train(resume=True)
    finally:
        torch.optim.Adam = sgd  # type: ignore[misc]


def test_when_a_trained_model_is_loaded_for_evaluation_then_its_weights_are_those(
    train: Train, tmp_path: Path
) -> None:
    trained = train()
    fresh = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    training.load_model(fresh, tmp_path / "segments" / "0")

    assert all(
        torch.equal(a, b)
        for a, b in zip(trained.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    with pytest.raises(training.CheckpointMismatchError, match="no module 'other'"):
        training.load_model(fresh, tmp_path / "segments" / "0", name="other")


def test_when_tensors_share_memory_then_each_is_written_by_itself(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    captured = checkpoint.to_cpu(CapturedState({"a": base[:3], "b": base[3:], "c": base}, {}))

    checkpoint.write_folder(tmp_path / "0", captured, bytes(32), None)

    saved, digest = checkpoint.read_folder(tmp_path / "0")
    assert digest == bytes(32)
    assert torch.equal(saved.tensors["c"], base)
    assert torch.equal(saved.tensors["b"], base[3:])


@pytest.mark.parametrize("dtype", list(checkpoint.DTYPE_NAMES))
def test_when_a_tensor_has_any_supported_type_then_its_bytes_come_back(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    tensor = torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8).to(dtype)
    captured = checkpoint.to_cpu(CapturedState({"t": tensor.t(), "empty": tensor[:0]}, {}))

    checkpoint.write_folder(tmp_path / "0", captured, checkpoint.hash_state(captured), None)

    saved, digest = checkpoint.read_folder(tmp_path / "0")
    assert saved.tensors["t"].dtype == dtype
    assert checkpoint.hash_state(saved) == digest


def test_when_any_bit_name_type_or_shape_differs_then_the_state_hash_differs() -> None:
    zeros = torch.zeros(4)
    states = [
        ({"a": zeros}, {}),
        ({"b": zeros}, {}),
        ({"a": zeros.view(2, 2)}, {}),
        ({"a": zeros.view(torch.int32)}, {}),
        ({"a": -zeros}, {}),
        ({"a": zeros}, {"step": 1}),
        ({"a": zeros, "b": zeros.clone()}, {}),
    ]

    assert len({checkpoint.hash_state(CapturedState(*state)) for state in states}) == 7
