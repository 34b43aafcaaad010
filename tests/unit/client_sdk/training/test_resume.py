"""A resumed run is bit-identical to an uninterrupted one, whatever optimizer and schedule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import optim
from torch.optim import lr_scheduler

OPTIMIZERS = {
    "sgd": partial(optim.SGD, lr=0.05),
    "sgd_momentum": partial(optim.SGD, lr=0.05, momentum=0.9),
    "sgd_nesterov": partial(optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": partial(optim.Adam, lr=1e-2),
    "adam_amsgrad": partial(optim.Adam, lr=1e-2, amsgrad=True),
    "adamw": partial(optim.AdamW, lr=1e-2),
    "rmsprop": partial(optim.RMSprop, lr=1e-3),
    "rmsprop_centered": partial(optim.RMSprop, lr=1e-3, centered=True, momentum=0.5),
    "adagrad": partial(optim.Adagrad, lr=1e-2),
    "adadelta": optim.Adadelta,
    "adamax": optim.Adamax,
    "asgd": optim.ASGD,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
    "rprop": optim.Rprop,
    "adafactor": optim.Adafactor,
    "lbfgs": partial(optim.LBFGS, max_iter=3, history_size=4),
}

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "multi_step": lambda o: lr_scheduler.MultiStepLR(o, [2, 7]),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 12),
    "warm_restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, 0.1, total_iters=4), lr_scheduler.ExponentialLR(o, 0.9)],
        milestones=[4],
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_when_a_run_is_resumed_then_every_bit_is_that_of_the_uninterrupted_run(
    name: str, trainer: Callable[[str], Any]
) -> None:
    whole = trainer("whole").train(OPTIMIZERS[name], max_segments=3)

    parts = trainer("parts")
    parts.train(OPTIMIZERS[name], max_segments=1)
    resumed = parts.train(OPTIMIZERS[name], max_segments=3, resume=True)

    assert resumed == whole
    assert parts.record(1) == trainer("whole").record(1)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_when_the_learning_rate_follows_a_schedule_then_it_is_resumed_too(
    name: str, trainer: Callable[[str], Any]
) -> None:
    make = {"make_scheduler": SCHEDULERS[name]}
    whole = trainer("whole").train(OPTIMIZERS["sgd_momentum"], max_segments=3, **make)

    parts = trainer("parts")
    parts.train(OPTIMIZERS["sgd_momentum"], max_segments=1, **make)
    resumed = parts.train(OPTIMIZERS["sgd_momentum"], max_segments=3, resume=True, **make)

    assert resumed == whole
