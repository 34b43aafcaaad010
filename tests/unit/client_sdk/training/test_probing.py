"""Step times: with a GPU a step is over when its work is, not when it was asked for."""

from __future__ import annotations

import pytest
import torch

from client_sdk.training.probing import StepClock


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with each wait for a GPU that is in use."""
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append("gpu"))
    return waited


@pytest.mark.parametrize(("wanted", "times"), [(True, 3), (False, 0)])
def test_when_steps_are_timed_then_only_a_probe_waits_for_the_gpu(
    wanted: bool, times: int, waits: list[str]
) -> None:
    clock = StepClock(waits=wanted)
    clock.start()
    clock.tick()
    clock.tick()

    assert waits == ["gpu"] * times
    assert clock.num_steps == 2
    assert clock.mean_s() >= 0


def test_when_no_gpu_is_in_use_then_a_probe_does_not_start_one(
    waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    StepClock(waits=True).start()

    assert waits == []
