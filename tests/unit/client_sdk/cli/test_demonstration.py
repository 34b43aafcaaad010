"""What the demo says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk.cli.demonstration import by_hand


@pytest.mark.parametrize("name", ["wallet", "wallet-0a1b2c3d"])
def test_when_the_demo_has_ended_then_the_wallet_it_used_and_the_way_back_are_said(name):
    home = Path("/h")
    assert by_hand(home, home / f"{name}.password") == (
        f"by hand: export GRIDLEASE_HOME=/h GRIDLEASE_WALLET=/h/{name}.json "
        f"GRIDLEASE_PASSWORD_FILE=/h/{name}.password; gridlease up --detach"
    )
