"""Each test starts and ends without a session, and leaves torch's settings as they were."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client_sdk import training
from client_sdk.training import session


@pytest.fixture(autouse=True)
def no_session() -> Iterator[None]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    num_threads = torch.get_num_threads()
    yield
    session.uninstall()
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(num_threads)


class Trainer:
    """A small training script: convolution, batch norm, dropout, augmentation, schedule.

    Draws from every global generator, so that each has to be restored.
    """

    def __init__(self, out_dir: Path) -> None:
        self.out_dir = out_dir

    def train(
        self,
        make_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        *,
        max_segments: int,
        make_scheduler: Callable[[Any], Any] | None = None,
        resume: bool = False,
    ) -> dict[str, Any]:
        """Run the script to its end; returns the last segment's record without its seconds."""
        session.uninstall()
        training.begin(
            training.LocalOptions(
                seed=5,
                segment_steps=3,
                max_segments=max_segments,
                output_dir=self.out_dir,
                resume=resume,
            )
        )
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(4 * 16, 3),
        )
        images, labels = torch.randn(40, 1, 6, 6), torch.randint(3, (40,))
        optimizer = make_optimizer(model.parameters())
        scheduler = make_scheduler(optimizer) if make_scheduler else None
        run = training.Run(model=model, optimizer=optimizer, scheduler=scheduler)
        for indices in run.batches(40, batch_size=8):
            noise = torch.randn(8, 1, 6, 6, generator=run.generator)
            batch = images[indices] + 0.1 * noise + np.random.rand() * 0.01 + random.random() * 0.01

            def loss_of(batch: torch.Tensor = batch, wanted: torch.Tensor = labels[indices]) -> Any:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(batch), wanted)
                loss.backward()
                return loss

            loss = optimizer.step(loss_of)
            if scheduler is not None:
                scheduler.step()
            run.record(loss=loss)
        return self.record(max_segments - 1)

    def record(self, segment: int) -> dict[str, Any]:
        """A segment's record without its seconds."""
        path = self.out_dir / "segments" / str(segment) / "record.json"
        record: dict[str, Any] = json.loads(path.read_text())
        del record["seconds"]
        return record


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[[str], Trainer]:
    """Makes trainers, each with an output folder of its own."""
    return lambda name: Trainer(tmp_path / name)
