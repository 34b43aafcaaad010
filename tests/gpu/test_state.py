"""On a GPU: states hash alike wherever they lie, and come back to where they were."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from client_sdk import training
from client_sdk.training import determinism, session
from client_sdk.training.checkpoint import DTYPE_NAMES, hash_state, to_cpu
from client_sdk.training.state import CapturedState, StateRegistry

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
POSITION = {"segment": 0, "step": 3}


@pytest.fixture(autouse=True)
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Other tests used the GPU of this process already, which `begin` would refuse.
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", determinism.CUBLAS_WORKSPACE_CONFIG)
    session.uninstall()
    training.begin(training.LocalOptions(segment_steps=2, max_segments=1, output_dir=tmp_path))
    yield
    session.uninstall()


def registry(model: nn.Module, optimizer: torch.optim.Optimizer, **extra: Any) -> StateRegistry:
    return StateRegistry(
        modules={"model": model},
        optimizers={"optimizer": optimizer},
        schedulers={},
        scalers={},
        extra=extra,
    )


def trained(**options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A small network after three steps on the GPU."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 4))
    model.to(GPU)
    optimizer = torch.optim.AdamW(model.parameters(), **{"lr": 1e-3, **options})
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3, 8, 8, device=GPU)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def test_when_the_same_state_lies_on_cpu_and_gpu_then_its_hash_is_the_same() -> None:
    model, optimizer = trained()
    on_cpu = copy.deepcopy(model).cpu()
    optimizer_on_cpu = torch.optim.AdamW(on_cpu.parameters(), lr=1e-3)
    optimizer_on_cpu.load_state_dict(optimizer.state_dict())
    assert next(iter(optimizer_on_cpu.state.values()))["exp_avg"].device.type == "cpu"

    hashes = [
        hash_state(to_cpu(registry(m, o).capture(POSITION)))
        for m, o in ((model, optimizer), (on_cpu, optimizer_on_cpu))
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("dtype", DTYPE_NAMES, ids=DTYPE_NAMES.values())
def test_when_tensors_of_every_type_and_layout_lie_on_the_gpu_then_they_hash_as_on_the_cpu(
    dtype: torch.dtype,
) -> None:
    raw = torch.randint(0, 2 if dtype is torch.bool else 256, (6, 16), dtype=torch.uint8)
    matrix = raw.view(dtype)
    tensors = {
        "matrix": matrix,
        "transposed": matrix.t(),
        "strided": matrix[::2, 1:],
        "scalar": matrix[0, 0],
        "empty": matrix[:0],
    }
    on_gpu = {name: tensor.to(GPU) for name, tensor in tensors.items()}
    on_gpu["transposed"] = on_gpu["matrix"].t()
    on_gpu["strided"] = on_gpu["matrix"][::2, 1:]

    assert hash_state(to_cpu(CapturedState(on_gpu, {}))) == hash_state(
        to_cpu(CapturedState(tensors, {}))
    )


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"capturable": True}, {"foreach": False}])
def test_when_a_state_is_restored_then_tensors_are_on_the_devices_they_were_on(
    options: dict[str, Any],
) -> None:
    model, optimizer = trained(**options)
    before = devices(optimizer)
    captured = to_cpu(registry(model, optimizer).capture(POSITION))

    other, other_optimizer = trained(**options)
    registry(other, other_optimizer).restore(captured)

    assert devices(other_optimizer) == before
    restored = to_cpu(registry(other, other_optimizer).capture(POSITION))
    assert hash_state(restored) == hash_state(captured)


def devices(optimizer: torch.optim.Optimizer) -> list[str]:
    return [
        f"{key} {value.device}"
        for state in optimizer.state.values()
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    ]


def test_when_the_learning_rate_is_a_tensor_on_the_gpu_then_it_comes_back_there() -> None:
    def options() -> dict[str, Any]:
        return {"lr": torch.tensor(1e-3, device=GPU), "capturable": True}

    model, optimizer = trained(**options())
    captured = to_cpu(registry(model, optimizer).capture(POSITION))
    other, other_optimizer = trained(**options())
    registry(other, other_optimizer).restore(captured)

    assert other_optimizer.param_groups[0]["lr"].device.type == "cuda"


def test_when_a_container_holds_gpu_tensors_then_they_come_back_on_the_gpu() -> None:
    model, optimizer = trained()
    best = {"loss": torch.tensor(0.5, device=GPU), "seen": torch.arange(3)}
    captured = to_cpu(registry(model, optimizer, best=best).capture(POSITION))
    empty: dict[str, Any] = {}
    registry(model, optimizer, best=empty).restore(captured)

    assert {name: tensor.device.type for name, tensor in empty.items()} == {
        "loss": "cuda",
        "seen": "cpu",
    }
    assert empty["loss"].item() == 0.5


def test_when_the_random_state_is_restored_then_the_gpu_draws_the_same_again() -> None:
    own = torch.Generator(GPU).manual_seed(3)
    model, optimizer = trained()
    state = to_cpu(registry(model, optimizer, own=own).capture(POSITION))
    drawn = torch.rand(8, device=GPU), torch.rand(8, device=GPU, generator=own)
    registry(model, optimizer, own=own).restore(state)

    assert torch.equal(torch.rand(8, device=GPU), drawn[0])
    assert torch.equal(torch.rand(8, device=GPU, generator=own), drawn[1])
    assert len(determinism.capture_random_state()["cuda"]) == torch.cuda.device_count()
