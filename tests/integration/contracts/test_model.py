"""A reference model and the contract agree on every field after every step, whatever is called.

Equal seeds give equal sequences of calls. When the two part, hypothesis prints the calls of a
sequence as short as it found, and the note below it says which seed leads there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from contracts.codec import load_artifact
from tests.integration.contracts.model.chain import DevChain
from tests.integration.contracts.model.faulty import faulty_escrow
from tests.integration.contracts.model.machine import Market
from tests.integration.contracts.model.twin import Twin

STEPS = 30
SEQUENCES = 10
"""Of each seed. Later ones would be variations: beginning anew finds more."""

# Calls that are no part of the random market.
NOT_CALLED = {"transferOwnership", "acceptOwnership", "renounceOwnership"}

# A failure is made shorter before it is told.
pytestmark = pytest.mark.timeout(900)


def walk(twin: Twin, seeds: Iterable[int], phases: tuple[Phase, ...]) -> None:
    """Make ten sequences of calls for each seed; each ends with everybody's way out."""
    for seed in seeds:

        class Seeded(Market):
            pass

        Seeded.twin = twin
        options = settings(
            max_examples=SEQUENCES + 2,  # the first two are always the simplest
            stateful_step_count=STEPS,
            phases=phases,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(hypothesis.seed(seed)(Seeded), settings=options)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def check(twin: Twin, seeds: range) -> None:
    walk(twin, seeds, (Phase.generate, Phase.shrink))
    assert twin.num_sequences >= len(seeds) * SEQUENCES
    calls = {item.name for item in load_artifact("LeaseEscrow").functions.values() if item.mutates}
    assert calls - NOT_CALLED - set(twin.tallies) == set(), "calls that never went through"


# A4 #34
def test_when_anything_is_called_then_model_and_contract_agree(twin: Twin) -> None:
    check(twin, range(10))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_when_2000_sequences_are_called_then_model_and_contract_agree(twin: Twin) -> None:
    check(twin, range(100, 300))


def is_noticed(breaks: str, new_anvil: Callable[..., Any], num_seeds: int) -> bool:
    """Whether model and contract part when the contract has this fault."""
    with closing(DevChain(new_anvil(block_time_s=None).port)) as chain:
        try:
            walk(Twin(chain, faulty_escrow(breaks)), range(num_seeds), (Phase.generate,))
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("breaks", ["the reward is at most a tenth"])
def test_when_the_contract_has_a_fault_then_it_is_noticed(
    breaks: str, new_anvil: Callable[..., Any]
) -> None:
    assert is_noticed(breaks, new_anvil, 20)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "breaks",
    [
        "a place is free again",
        "a slash reaches unbonding stake",
        "an honest ruling moves the window",
        "consent names the relay fee",
        "grace after a stop",
        "only what lies below is split",
        "paid segments are final",
        "terms are opened in time",
        "the reserve is held",
        "two challengers, two bonds",
    ],
)
def test_when_the_contract_has_any_fault_then_it_is_noticed(
    breaks: str, new_anvil: Callable[..., Any]
) -> None:
    assert is_noticed(breaks, new_anvil, 200)
