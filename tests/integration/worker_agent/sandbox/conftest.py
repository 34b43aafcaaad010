"""The sandbox that this machine really gives: strong as root, weak otherwise.

Tests of what only root can do are listed as NOT RUN at the end of a session without root. A
machine that gives no sandbox at all fails these tests, with the mend in the message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker_agent.sandbox.base import GIB, MIB, Limits, SandboxSpec
from worker_agent.sandbox.bubblewrap import BubblewrapSandbox
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.mounts import runtime_mounts
from worker_agent.sandbox.settings import SandboxSettings

NOT_RUN = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    needs_root = [item for item in items if item.path.name.endswith("_as_root.py")]
    config.stash[NOT_RUN] = [item.nodeid for item in needs_root]
    config.hook.pytest_deselected(items=needs_root)
    items[:] = [item for item in items if item not in needs_root]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    not_run = config.stash.get(NOT_RUN, [])
    if not_run:
        terminalreporter.section("NOT RUN: these tests need root", sep="!", red=True)
        for name in not_run:
            terminalreporter.line(name)


Spec = Callable[..., SandboxSpec]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BubblewrapSandbox]:
    settings = SandboxSettings(state_dir=tmp_path_factory.mktemp("sandbox"), allow_weak=True)
    sandbox = detect(settings)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def python_job() -> Spec:
    """Build the spec of a job that runs Python code."""
    runtime = runtime_mounts()

    def make(code: str, **changes: Any) -> SandboxSpec:
        limits: dict[str, Any] = {
            "memory_bytes": GIB,
            "cpu_cores": 2.0,
            "disk_bytes": 16 * MIB,
            "num_files": 1000,
            "wall_time_s": 60.0,
        }
        limits.update(changes.pop("limits", {}))
        env = {**runtime.env, **changes.pop("env", {})}
        mounts = (*runtime.mounts, *changes.pop("mounts", ()))
        argv = [*runtime.python, "-c", code]
        return SandboxSpec(argv=argv, env=env, mounts=mounts, limits=Limits(**limits), **changes)

    return make


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state folder of its own, for tests that end workers."""
    return tmp_path / "state"
