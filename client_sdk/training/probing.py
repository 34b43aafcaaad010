"""Times the steps of a run."""

from __future__ import annotations

import statistics

import torch

from client_sdk.training import determinism
from client_sdk.training.clock import real_monotonic, real_perf_counter


def wait_for_gpu() -> None:
    """Wait until the GPU has done what it was told; returns at once when none is in use."""
    if determinism.gpu_in_use():
        torch.cuda.synchronize()


class StepClock:
    """Counts steps and keeps their seconds.

    Parameters
    ----------
    waits
        Whether a step ends when its GPU work does. Without it a step is only as long as telling
        the GPU what to do takes; with it GPU and script no longer overlap, which a run that is
        paid for should.
    """

    def __init__(self, *, waits: bool = False) -> None:
        self._waits = waits
        self._last_s = 0.0
        self._seconds: list[float] = []
        self.started_at_s = 0.0

    def start(self) -> None:
        """The loop starts now."""
        if self._waits:
            wait_for_gpu()
        self.started_at_s = real_monotonic()
        self._last_s = real_perf_counter()

    def tick(self) -> None:
        """A step ends now."""
        if self._waits:
            wait_for_gpu()
        now_s = real_perf_counter()
        self._seconds.append(now_s - self._last_s)
        self._last_s = now_s

    @property
    def num_steps(self) -> int:
        """Steps counted."""
        return len(self._seconds)

    def median_s(self) -> float:
        """Median seconds per step."""
        return statistics.median(self._seconds)

    def mean_s(self) -> float:
        """Mean seconds per step, without the first, which warms up, when there are others."""
        return statistics.fmean(self._seconds[1:] or self._seconds)
