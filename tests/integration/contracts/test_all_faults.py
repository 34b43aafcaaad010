"""Every seeded fault of the contracts, each tried alone."""

from __future__ import annotations

import pytest

from contracts.mutation.__main__ import main as seed_faults

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]


def test_when_any_single_fault_is_seeded_then_the_suite_notices() -> None:
    assert seed_faults(["--all"]) == 0
