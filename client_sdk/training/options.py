"""Options of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from client_sdk.training.errors import OptionError


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """How a script runs outside a lease (``python train.py``), for debugging.

    Under a lease the worker's task decides all of this and these values are not looked at: the
    seed comes from the lease and its beacon, the segments from the terms.
    """

    seed: int = 0
    """Seed of weights, data order, dropout and augmentation."""

    segment_steps: int = 50
    """Steps per segment."""

    max_segments: int = 4
    """Segments after which the run ends."""

    num_threads: int = 1
    """Threads of torch's CPU kernels. Another number gives other bits."""

    output_dir: Path = Path("gridlease-run")
    """Folder for checkpoints, outputs and records; made when missing."""

    data_dir: Path = Path("data")
    """Folder under which the job's data lie by name."""

    resume: bool = False
    """Go on from the newest checkpoint in `output_dir` instead of starting again."""

    def __post_init__(self) -> None:
        for name in ("segment_steps", "max_segments", "num_threads"):
            if getattr(self, name) < 1:
                raise OptionError(f"LocalOptions.{name} must be at least 1")
        if not 0 <= self.seed < 2**53:
            raise OptionError("LocalOptions.seed must be from 0 to 2**53 - 1, as a lease's seed is")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """How examples are put in order and cut into batches."""

    batch_size: int
    """Examples per step."""

    shuffle: bool = True
    """Draw a new order for every epoch from (seed, epoch)."""

    drop_last: bool = True
    """Leave out an epoch's last batch when it is not full."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise OptionError("batch_size must be at least 1")
