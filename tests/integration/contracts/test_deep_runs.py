"""The contracts' walks and fuzzed tests at their longest."""

from __future__ import annotations

import os
import subprocess

import pytest

from contracts import build

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]


def test_when_the_market_is_walked_1000_times_256_calls_then_every_invariant_holds() -> None:
    done = subprocess.run(
        [build.FOLDER / "tools" / "forge", "test"],
        cwd=build.FOLDER,
        env={**os.environ, "FOUNDRY_PROFILE": "soak"},
        check=False,
    )
    assert done.returncode == 0
