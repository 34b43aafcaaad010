"""The renter's few lines around an ordinary PyTorch loop.

::

    training.begin()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    run = training.Run(model=model, optimizer=optimizer)
    for indices in run.batches(len(images), batch_size=64):
        loss = F.cross_entropy(model(images[indices]), labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.record(loss=loss)

One pass through the loop's body is one step. A segment ends when the body of its last step ends:
what the body changed by then is in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, default_collate

from client_sdk.protocol.seed import stream_seed
from client_sdk.training import session as sessions
from client_sdk.training.boundary import Boundary
from client_sdk.training.data import DataOrder
from client_sdk.training.errors import OptionError, TrainingError
from client_sdk.training.options import DataOptions
from client_sdk.training.outputs import write_output
from client_sdk.training.probing import StepClock
from client_sdk.training.records import Metric, SegmentTrace, metric_values
from client_sdk.training.state import StateRegistry


class Run:
    """One training run, cut into segments that can each be replayed from a checkpoint.

    The checkpoint to resume from, if any, is put in place when the loop starts, so that whatever
    the script does before the loop happens in a resumed run as in an uninterrupted one.

    Parameters
    ----------
    model
        The module, or several by name. Parameters, buffers, extra state, train/eval flags and
        ``requires_grad`` are kept.
    optimizer
        Any ``torch.optim`` optimizer, or several by name.
    scheduler
        Learning-rate scheduler, or several by name.
    scaler
        ``torch.amp.GradScaler``, or several by name.
    state
        Further state by name, for instance a moving average of the weights, a generator of its
        own, or a dictionary with the best accuracy so far. See `StateRegistry`.
    caches
        Dotted names of module attributes that may change because the code computes them anew when
        they are missing.

    Raises
    ------
    NotBegunError
        When `begin` was not called.
    UnregisteredStateError
        When training state is seen that would not be kept.
    """

    def __init__(
        self,
        *,
        model: nn.Module | Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer],
        scheduler: Any = None,
        scaler: Any = None,
        state: Mapping[str, Any] | None = None,
        caches: Collection[str] = (),
    ) -> None:
        self._session = sessions.current()
        registry = StateRegistry(
            modules=_by_name(model, "model"),
            optimizers=_by_name(optimizer, "optimizer"),
            schedulers=_by_name(scheduler, "scheduler"),
            scalers=_by_name(scaler, "scaler"),
            extra=dict(state or {}),
        )
        self._boundary = Boundary(self._session, registry, caches)
        self._segment = self._session.start_segment
        self._step = self._segment * self._session.segment_steps
        self._epoch = 0
        self._generator = torch.Generator()
        self._trace = SegmentTrace(self._segment, self._step)
        self._metrics: dict[str, Metric] = {}
        self._indices: torch.Tensor | None = None
        self._clock = StepClock(waits=self._session.probe_steps is not None)
        self._started = self._open = False
        self._finish_requested = self._done = False

    @property
    def step(self) -> int:
        """Number of the step that is running, from 0 over the whole run."""
        return self._step

    @property
    def segment(self) -> int:
        """Number of the segment that is running, from 0."""
        return self._segment

    @property
    def epoch(self) -> int:
        """Passes over the data completed before this step, when `batches` or `loader` is used."""
        return self._epoch

    @property
    def num_steps(self) -> int:
        """Steps of the run when it does not finish early."""
        return self._session.max_segments * self._session.segment_steps

    @property
    def ends_segment(self) -> bool:
        """Whether this step is its segment's last: the place for validation in the loop's body."""
        return (self._step + 1) % self._session.segment_steps == 0

    @property
    def finished(self) -> bool:
        """Whether the run is over: all segments done, or `finish` took effect."""
        return self._done

    @property
    def early(self) -> bool:
        """Whether `finish` ended the run."""
        return self._done and self._finish_requested

    @property
    def device(self) -> torch.device:
        """The granted GPU, else the CPU."""
        return self._session.device

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self._session.seed

    @property
    def generator(self) -> torch.Generator:
        """CPU generator that is seeded anew for each step from (seed, step); for augmentation."""
        return self._generator

    def batches(
        self, num_examples: int, *, batch_size: int, shuffle: bool = True, drop_last: bool = True
    ) -> Iterator[torch.Tensor]:
        """Example numbers of each step's batch, over as many epochs as the run lasts.

        The order of an epoch depends on (seed, epoch) only.

        Parameters
        ----------
        num_examples
            Size of the data set.
        batch_size
            Examples per step.
        shuffle
            Draw a new order for every epoch.
        drop_last
            Leave out an epoch's last batch when it is not full.

        Yields
        ------
        torch.Tensor
            Shape (batch_size,), dtype int64, on the CPU. Bound by the step's trace leaf.
        """
        options = DataOptions(batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
        order = DataOrder(self._session.seed, num_examples, options)

        def indices(step: int) -> torch.Tensor:
            self._epoch = order.epoch_of(step)
            return order.indices(step)

        yield from self._drive(indices)

    def loader(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        shuffle: bool = True,
        drop_last: bool = True,
        collate: Callable[[list[Any]], Any] = default_collate,
    ) -> Iterator[Any]:
        """Batches of a map-style data set, over as many epochs as the run lasts.

        Examples are read in this process and in order, since what worker processes of a
        ``DataLoader`` draw at random cannot be replayed. Parameters as in `batches`.
        """
        num_examples = len(dataset)  # type: ignore[arg-type]  # map-style sets have a length
        batches = self.batches(
            num_examples, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last
        )
        for indices in batches:
            yield collate([dataset[index] for index in indices.tolist()])

    def steps(self) -> Iterator[int]:
        """Step numbers, for scripts that make their own batches from `generator` or `step`."""
        for _ in self._drive(lambda step: None):
            yield self._step

    def record(self, **metrics: Metric) -> None:
        """Report this step's metrics: numbers, or tensors with one element.

        They go to the renter live and are bound by the step's trace leaf.
        """
        if not self._open:
            raise TrainingError("run.record() belongs into the loop over the run's batches")
        self._metrics.update(
            {
                k: v.detach().clone() if isinstance(v, torch.Tensor) else v
                for k, v in metrics.items()
            }
        )

    def finish(self) -> None:
        """End the run with this step; segments not run are refunded.

        Decide it from what is replayed, such as metrics of this run. Under a lease the clock is
        replayed too: a second for each step, see :mod:`client_sdk.training.clock`.
        """
        self._finish_requested = True

    def save_output(self, name: str, value: Any) -> None:
        """Write a file that the renter gets back.

        Parameters
        ----------
        name
            Relative path under the outputs folder.
        value
            A dictionary of tensors (written as safetensors), text, bytes, or a JSON value.
        """
        write_output(self._session.outputs_dir, name, value)

    def _drive(self, indices_of: Callable[[int], torch.Tensor | None]) -> Iterator[torch.Tensor]:
        while self._begin_step(indices_of):
            try:
                yield self._indices  # type: ignore[misc]  # None only for steps(), which drops it
            except GeneratorExit:
                # `break` after finish(): close the step now, before the code after the loop.
                if self._finish_requested:
                    self._end_step()
                raise
            self._end_step()

    def _begin_step(self, indices_of: Callable[[int], torch.Tensor | None]) -> bool:
        if self._open:  # the loop was left with `break` and entered again
            self._end_step()
        if not self._started:
            self._started = True
            self._boundary.resume()
            self._clock.start()
        if self._done:
            return False
        if self._session.clock is not None:
            self._session.clock.begin_step(self._step)
        self._generator.manual_seed(stream_seed(self._session.seed, "step", self._step))
        self._indices = indices_of(self._step)
        self._open = True
        return True

    def _end_step(self) -> None:
        self._open = False
        self._trace.add(self._indices, self._metrics)
        observer = self._session.observer
        if observer.wants_step():
            observer.on_step(self._segment, self._step, metric_values(self._metrics))
        self._metrics = {}
        ends_segment = self.ends_segment
        self._step += 1
        self._clock.tick()
        if self._probe_ends():
            self._boundary.probe(self._step, self._segment, self._clock)
            raise sessions.RunStopped
        if ends_segment or self._finish_requested:
            self._end_segment()
        else:
            self._boundary.step_done()

    def _probe_ends(self) -> bool:
        wanted = self._session.probe_steps
        if wanted is None:
            return False
        over = self._finish_requested or self._step == self.num_steps
        return over or self._clock.num_steps >= wanted

    def _end_segment(self) -> None:
        session = self._session
        is_last = self._segment + 1 == session.max_segments
        final = is_last or self._finish_requested
        if session.probe_steps is None:  # a probe proves nothing, so it writes nothing
            record = self._boundary.close(self._trace, self._step, final=final)
            session.observer.on_segment(self._segment, record)
        self._segment += 1
        self._trace = SegmentTrace(self._segment, self._step)
        self._done = final
        stop_here = session.stop_after_segment == self._segment - 1
        if stop_here or (session.observer.stop_requested() and not final):
            raise sessions.RunStopped


def _by_name(value: Any, default: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {default: value}
    for name in value:
        if not isinstance(name, str) or not name.isidentifier():
            raise OptionError(f"{default}: name {name!r} is not an identifier")
    return dict(value)
