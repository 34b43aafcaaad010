"""State that no checkpoint holds is found where it can be seen, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from client_sdk import training


class Recurrent(nn.Module):
    """Keeps a hidden state where no checkpoint finds it, unless told otherwise."""

    def __init__(self, *, as_buffer: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.calls = 0
        self.counts = False
        if as_buffer:
            self.register_buffer("hidden", torch.zeros(4), persistent=False)
        else:
            self.hidden = torch.zeros(4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.counts:
            self.calls += 1
        else:
            self.hidden = (self.hidden + 0.1 * inputs.mean(0)).detach()
        outputs: torch.Tensor = self.linear(inputs) + self.hidden
        return outputs


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., Any]:
    def begin(**options: Any) -> Any:
        values = {"segment_steps": 2, "max_segments": 2, "output_dir": tmp_path, **options}
        return training.begin(training.LocalOptions(**values))

    return begin


def train(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, **options: Any) -> None:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    run = training.Run(model=model, optimizer=optimizer, **options)
    for _ in run.steps():
        optimizer.zero_grad()
        model(torch.randn(3, 4)).sum().backward()
        optimizer.step()


def test_when_a_plain_attribute_holds_changing_tensors_then_it_is_named(
    begin: Callable[..., Any],
) -> None:
    begin()

    with pytest.raises(
        training.UnregisteredStateError, match=r"model\.hidden changed in segment 0"
    ):
        train(Recurrent())


def test_when_a_plain_attribute_counts_then_it_is_named(begin: Callable[..., Any]) -> None:
    begin()
    model = Recurrent()
    model.counts = True

    with pytest.raises(training.UnregisteredStateError, match=r"model\.calls changed"):
        train(model)


def test_when_the_attribute_is_a_buffer_then_it_is_kept(begin: Callable[..., Any]) -> None:
    begin()

    train(Recurrent(as_buffer=True))


def test_when_the_attribute_is_declared_a_cache_then_it_is_left_alone(
    begin: Callable[..., Any],
) -> None:
    begin()

    train(Recurrent(), caches=["model.hidden"])


def test_when_a_tensor_attribute_is_changed_in_place_then_it_is_named(
    begin: Callable[..., Any],
) -> None:
    class InPlace(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.total.add_(1)
            return super().forward(inputs)

    begin()
    model = InPlace(4, 4)
    model.total = torch.zeros(1)

    with pytest.raises(training.UnregisteredStateError, match=r"model\.total changed"):
        train(model)


def test_when_an_own_optimizer_keeps_state_beside_its_state_dict_then_it_is_named(
    begin: Callable[..., Any],
) -> None:
    class Counting(torch.optim.SGD):
        num_calls = 0

        def step(self, closure: Any = None) -> Any:
            self.num_calls += 1
            return super().step(closure)

    begin()
    model = nn.Linear(4, 4)

    with pytest.raises(training.UnregisteredStateError, match=r"optimizer\.optimizer\.num_calls"):
        train(model, Counting(model.parameters(), lr=0.1))


def test_when_an_optimizer_moves_a_foreign_tensor_then_it_is_refused_at_once(
    begin: Callable[..., Any],
) -> None:
    begin()
    model, other = nn.Linear(4, 4), nn.Parameter(torch.zeros(7))
    optimizer = torch.optim.SGD([*model.parameters(), other], lr=0.1)

    with pytest.raises(training.UnregisteredStateError, match=r"shape \(7,\)"):
        training.Run(model=model, optimizer=optimizer)

    training.Run(model=model, optimizer=optimizer, state={"other": other})


def test_when_a_lazy_layer_has_no_weights_yet_then_it_is_refused_at_once(
    begin: Callable[..., Any],
) -> None:
    begin()
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(2))
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)

    with pytest.raises(training.UnregisteredStateError, match="is not initialised yet"):
        training.Run(model=model, optimizer=optimizer)


def test_when_gradients_would_cross_a_boundary_then_it_is_refused(
    begin: Callable[..., Any],
) -> None:
    begin(segment_steps=3)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = training.Run(model=model, optimizer=optimizer)

    def accumulate() -> None:
        for step in run.steps():
            model(torch.randn(3, 4)).sum().backward()
            if step % 2 == 1:
                optimizer.step()
                optimizer.zero_grad()

    with pytest.raises(training.GradientsCrossBoundaryError):
        accumulate()


def test_when_accumulation_fits_into_segments_then_it_is_accepted(
    begin: Callable[..., Any],
) -> None:
    begin(segment_steps=4)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = training.Run(model=model, optimizer=optimizer)

    for step in run.steps():
        model(torch.randn(3, 4)).sum().backward()
        if step % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()

    assert run.finished


def test_when_a_scheduler_holds_a_function_then_it_is_named(begin: Callable[..., Any]) -> None:
    class Odd(torch.optim.lr_scheduler.StepLR):
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.rule = lambda: 1
            super().__init__(optimizer, 3)

    begin()
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with pytest.raises(training.UnsupportedValueError, match=r"scheduler\.scheduler\.rule"):
        train(model, optimizer, scheduler=Odd(optimizer))


def test_when_a_parameter_is_sparse_then_it_is_named(begin: Callable[..., Any]) -> None:
    class Sparse(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.register_buffer("mask", torch.eye(4).to_sparse())

    begin()

    with pytest.raises(training.UnsupportedValueError, match=r"model\.buffer\.mask"):
        train(Sparse())
