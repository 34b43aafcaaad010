"""Collects what each step did, for the segment's record."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from client_sdk.protocol.errors import FieldError
from client_sdk.protocol.records import SegmentRecord, StepDigests
from client_sdk.protocol.trace import indices_digest, metrics_digest
from client_sdk.training.clock import real_monotonic
from client_sdk.training.errors import OptionError

Metric = float | int | torch.Tensor


class SegmentTrace:
    """Steps of one segment, in order.

    Metrics that are tensors stay on their device until the segment ends, so that a GPU is not
    made to wait at every step.

    Parameters
    ----------
    segment
        The segment's number, from 0.
    first_step
        Steps done over the whole run before it.
    """

    def __init__(self, segment: int, first_step: int) -> None:
        self.segment = segment
        self.first_step = first_step
        self._started_at_s = real_monotonic()
        self._indices: list[bytes] = []
        self._metrics: list[dict[str, Metric]] = []

    def add(self, indices: torch.Tensor | None, metrics: dict[str, Metric]) -> None:
        """Add the next step; `indices` is None when the script makes its own batches."""
        self._indices.append(indices_digest([] if indices is None else indices.tolist()))
        self._metrics.append(metrics)

    def record(self, lease_id: bytes, state_hash: bytes, *, final: bool) -> SegmentRecord:
        """The finished segment's record.

        Raises
        ------
        OptionError
            When there are more metrics than a step's leaf can bind.
        """
        values = [metric_values(metrics) for metrics in self._metrics]
        try:
            digests = [metrics_digest(metrics) for metrics in values]
        except FieldError as error:
            raise OptionError(f"run.record(): {error}") from error
        return SegmentRecord(
            lease_id=lease_id,
            segment=self.segment,
            first_step=self.first_step,
            steps=tuple(
                StepDigests(indices, metrics)
                for indices, metrics in zip(self._indices, digests, strict=True)
            ),
            final=final,
            state_hash=state_hash,
            metrics=_last_values(values),
            seconds=round(real_monotonic() - self._started_at_s, 3),
        )


def metric_values(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Metrics as floats; waits for the device that computes them.

    Raises
    ------
    OptionError
        When a metric is not one number.
    """
    try:
        return {name: float(value) for name, value in metrics.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"run.record() takes numbers and one-element tensors: {error}") from error


def _last_values(steps: list[dict[str, float]]) -> dict[str, float]:
    """Last value of each metric, also of metrics that not every step reports."""
    last: dict[str, float] = {}
    for metrics in steps:
        last.update(metrics)
    return last
