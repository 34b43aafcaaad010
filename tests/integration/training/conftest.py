"""Starts the runtime as the worker does, without a sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.runtime import Runtime, starter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    """Starts the runtime on a script given as text; keywords change the task."""
    yield from starter(tmp_path)


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Runtime]]:
    """The same, for executions that several tests look at."""
    yield from starter(tmp_path_factory.mktemp("shared"))
