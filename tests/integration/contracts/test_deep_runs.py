"""The contracts' longest runs: deep invariants, and every seeded fault."""

from __future__ import annotations

import os
import subprocess

import pytest

from contracts import build
from contracts.mutation.__main__ import main as seed_faults

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]


def test_when_the_market_is_walked_1000_times_256_calls_then_every_invariant_holds() -> None:
    done = subprocess.run(
        [build.FOLDER / "tools" / "forge", "test"],
        cwd=build.FOLDER,
        env={**os.environ, "FOUNDRY_PROFILE": "soak"},
        check=False,
    )
    assert done.returncode == 0


def test_when_any_single_fault_is_seeded_then_the_suite_notices() -> None:
    assert seed_faults(["--all"]) == 0
