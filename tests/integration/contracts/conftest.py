"""A chain of its own for the model: no time passes there but what a test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.contracts.model.chain import DevChain
from tests.integration.contracts.model.twin import Twin


@pytest.fixture(scope="module")
def twin(new_anvil: Callable[..., Any]) -> Iterator[Twin]:
    with closing(DevChain(new_anvil(block_time_s=None).port)) as chain:
        yield Twin(chain)
