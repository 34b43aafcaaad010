"""A node that carries calls in tUSD, for a fee of 500."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.market import World, open_world

FEE = 500


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    rates = {"open_fee": FEE, "min_withdrawal": 10, "min_collect": 100}
    async with open_world(
        tmp_path,
        relay={"tUSD": rates},
        relayer_key_file=tmp_path / "relayer.key",
        relays_per_hour=5,
        all_relays_per_hour=7,
    ) as opened:
        yield opened
