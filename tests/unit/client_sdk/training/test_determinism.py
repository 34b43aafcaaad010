"""Settings that need a GPU to matter: what of them can be seen without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from client_sdk import training
from client_sdk.training import determinism
from client_sdk.training.checkpoint import to_cpu
from client_sdk.training.state import CapturedState, StateRegistry


def test_when_the_gpu_was_used_before_begin_then_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    with pytest.raises(training.NotBegunError, match="GPU was used before"):
        training.begin(training.LocalOptions(output_dir=tmp_path))


def test_when_cublas_was_set_up_before_the_gpu_was_used_then_begin_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", determinism.CUBLAS_WORKSPACE_CONFIG)

    assert training.begin(training.LocalOptions(output_dir=tmp_path)).seed == 0


def test_when_training_begins_then_every_setting_for_equal_bits_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    training.begin(training.LocalOptions(output_dir=tmp_path))

    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_when_an_operation_has_no_fixed_bits_then_it_is_named_with_the_ways_out() -> None:
    torch.use_deterministic_algorithms(True)

    with pytest.raises(RuntimeError) as caught:
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))

    advice = determinism.explain(caught.value)
    assert advice is not None
    assert advice.startswith("put_ gives other bits")
    assert "verification: metered" in advice


def test_when_an_error_is_about_something_else_then_there_is_no_advice() -> None:
    assert determinism.explain(RuntimeError("shapes do not match")) is None
    assert determinism.explain(ValueError("x does not have a deterministic implementation")) is None


def test_when_a_checkpoint_knows_another_number_of_gpus_then_it_is_refused() -> None:
    here = torch.cuda.device_count()
    state = determinism.capture_random_state()
    state["cuda"] = [torch.zeros(16, dtype=torch.uint8)] * (here + 1)

    with pytest.raises(training.CheckpointMismatchError, match=rf"{here + 1} GPUs in sight"):
        determinism.restore_random_state(state)


def test_when_a_container_held_a_tensor_of_a_gpu_that_is_not_there_then_it_is_refused() -> None:
    def registry() -> StateRegistry:
        extra = {"best": {"weight": torch.ones(2)}}
        return StateRegistry(modules={}, optimizers={}, schedulers={}, scalers={}, extra=extra)

    captured = to_cpu(registry().capture({"segment": 0, "step": 1}))
    assert captured.tree["devices"] == {}
    tree = {**captured.tree, "devices": {"extra.best.weight": "cuda:99"}}

    with pytest.raises(training.CheckpointMismatchError, match="needs cuda:99"):
        registry().restore(CapturedState(captured.tensors, tree))
