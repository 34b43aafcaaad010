"""Data order as a pure function of (seed, epoch): the cursor of a run is its step number."""

from __future__ import annotations

import torch

from client_sdk.protocol.seed import stream_seed
from client_sdk.training.errors import OptionError
from client_sdk.training.options import DataOptions


class DataOrder:
    """The batches of a data set, by step.

    Parameters
    ----------
    seed
        The run's seed.
    num_examples
        Size of the data set.
    options
        Batch size, shuffling, and whether short batches are left out.
    """

    def __init__(self, seed: int, num_examples: int, options: DataOptions) -> None:
        full, rest = divmod(num_examples, options.batch_size)
        self.batches_per_epoch = full + (1 if rest and not options.drop_last else 0)
        if self.batches_per_epoch == 0:
            raise OptionError(
                f"{num_examples} examples do not fill one batch of {options.batch_size}: use a "
                "smaller batch_size or drop_last=False"
            )
        self._seed = seed
        self._num_examples = num_examples
        self._options = options
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def epoch_of(self, step: int) -> int:
        """Epoch that `step` belongs to, from 0."""
        return step // self.batches_per_epoch

    def indices(self, step: int) -> torch.Tensor:
        """Example numbers of the batch of `step`: shape (batch_size,), dtype int64, on the CPU."""
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            self._order = self._order_of(epoch)
            self._epoch = epoch
        start = position * self._options.batch_size
        # A copy: the renter's code may change what it gets.
        return self._order[start : start + self._options.batch_size].clone()

    def _order_of(self, epoch: int) -> torch.Tensor:
        if not self._options.shuffle:
            return torch.arange(self._num_examples)
        generator = torch.Generator().manual_seed(stream_seed(self._seed, "order", epoch))
        return torch.randperm(self._num_examples, generator=generator)
