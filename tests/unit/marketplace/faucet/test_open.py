"""The faucet mints and pays gas: on the development chain only."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.deployments import DEV_CHAIN_ID
from marketplace.errors import FaucetClosed
from marketplace.faucet.service import check_open

KEY = Path("faucet.key")


def node(chain_id: int, key: Path | None) -> Any:
    return SimpleNamespace(settings=SimpleNamespace(chain_id=chain_id, faucet_key_file=key))


def test_when_it_is_the_development_chain_then_the_faucet_is_open() -> None:
    check_open(node(DEV_CHAIN_ID, KEY))


@pytest.mark.parametrize(("chain_id", "key"), [(1, KEY), (DEV_CHAIN_ID, None), (1, None)])
def test_when_it_is_another_chain_or_there_is_no_key_then_it_is_closed(
    chain_id: int, key: Path | None
) -> None:
    with pytest.raises(FaucetClosed):
        check_open(node(chain_id, key))
