"""One market for all acceptance tests of a session: starting it costs most of their time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client_sdk.embedded import procs
from tests.support.stack import Renter, Stack, new_renter


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running market; at the end nothing of it is left.

    Where GRIDLEASE_TEST_HOME names the home folder of a market that runs already, that one is used
    and left running: it saves a developer the start.
    """
    if running_home := os.environ.get("GRIDLEASE_TEST_HOME"):
        yield Stack(Path(running_home))
        return
    market = Stack(tmp_path_factory.mktemp("market"))
    done = market.up()
    assert done.returncode == 0, done.stdout + done.stderr
    yield market
    running = market.processes()
    done = market.down()
    assert done.returncode == 0, done.stdout + done.stderr
    assert procs.wait_gone(running, timeout_s=10)


@pytest.fixture(scope="session")
def make_renter(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Renter]]:
    """Makes renters of the shared market."""
    made: list[Renter] = []
    numbers = itertools.count()

    def make(**options: object) -> Renter:
        home: Path = tmp_path_factory.mktemp(f"renter{next(numbers)}")
        renter = new_renter(stack, home, **options)  # type: ignore[arg-type]
        made.append(renter)
        return renter

    yield make
    for renter in made:
        renter.client.close()


@pytest.fixture(scope="session")
def tester(make_renter: Callable[..., Renter]) -> Renter:
    """A funded renter for tests in which nothing is spent."""
    return make_renter()


@pytest.fixture
def renter(make_renter: Callable[..., Renter]) -> Renter:
    """A new, funded renter."""
    return make_renter()
