"""Data order is a function of (seed, epoch): it needs no state to be resumed."""

from __future__ import annotations

import pytest
import torch

from client_sdk.training.data import DataOrder
from client_sdk.training.errors import OptionError
from client_sdk.training.options import DataOptions


def order(seed: int = 1, num_examples: int = 10, **options: bool | int) -> DataOrder:
    return DataOrder(seed, num_examples, DataOptions(**{"batch_size": 3, **options}))


def test_when_an_epoch_ends_then_each_example_was_used_at_most_once_and_a_new_order_starts() -> (
    None
):
    batches = [order().indices(step) for step in range(6)]

    first, second = torch.cat(batches[:3]).tolist(), torch.cat(batches[3:]).tolist()
    assert len(set(first)) == len(set(second)) == 9
    assert first != second


def test_when_steps_are_asked_for_in_any_order_then_their_batches_are_the_same() -> None:
    forward = order()
    backward = order()
    wanted = {step: forward.indices(step).tolist() for step in range(9)}

    assert {step: backward.indices(step).tolist() for step in reversed(range(9))} == wanted


def test_when_a_batch_is_changed_by_the_script_then_the_order_is_not() -> None:
    data = order()
    data.indices(0).zero_()

    assert data.indices(0).tolist() == order().indices(0).tolist()


def test_when_the_seed_differs_then_the_order_differs() -> None:
    assert order(seed=1).indices(0).tolist() != order(seed=2).indices(0).tolist()


def test_when_short_batches_are_kept_then_every_example_is_used() -> None:
    data = order(drop_last=False)

    assert data.batches_per_epoch == 4
    assert sorted(torch.cat([data.indices(step) for step in range(4)]).tolist()) == list(range(10))
    assert data.epoch_of(3) == 0
    assert data.epoch_of(4) == 1


def test_when_shuffling_is_off_then_examples_come_in_order() -> None:
    assert order(shuffle=False).indices(1).tolist() == [3, 4, 5]


def test_when_the_data_do_not_fill_one_batch_then_it_is_refused() -> None:
    with pytest.raises(OptionError, match="do not fill one batch"):
        order(num_examples=2)


def test_when_no_examples_a_step_are_asked_for_then_it_is_refused() -> None:
    with pytest.raises(OptionError, match="batch_size"):
        DataOptions(batch_size=0)


def test_when_an_order_is_drawn_then_it_is_the_same_in_every_release() -> None:
    # Changing this breaks the replay of every running lease.
    assert torch.cat([order().indices(step) for step in range(3)]).tolist() == GOLDEN_ORDER


GOLDEN_ORDER = [3, 7, 9, 8, 1, 2, 4, 6, 5]
