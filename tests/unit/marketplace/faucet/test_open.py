"""The faucet mints and pays gas: on the development chain only."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.bindings import Call
from contracts.deployments import DEV_CHAIN_ID
from marketplace.errors import FaucetClosed
from marketplace.faucet.service import check_open
from marketplace.faucet.tasks import handler
from marketplace.outbox.service import Done
from tests.support.market import RENTER, open_world

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


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        ({"coin": True}, ["faucet gas", "TestToken.mint"]),
        ({"coin": False}, ["TestToken.mint"]),
        ({}, ["faucet gas", "TestToken.mint"]),
    ],
    ids=["with coin", "tokens alone", "of an earlier release"],
)
async def test_when_a_wallet_is_funded_then_the_coin_comes_if_it_was_asked_for(
    tmp_path: Path, payload: dict[str, Any], sent: list[str]
) -> None:
    calls: list[str] = []

    class Sends:
        async def send(self, call: Call, key: str) -> Done:
            calls.append(call.name)
            return Done({"transactions": [key]})

    async with open_world(tmp_path, faucet_key_file=KEY) as world:
        fund = handler(world.market, Sends())  # type: ignore[arg-type]
        await fund({"address": RENTER.address, "request_id": "evt_1", **payload})
    assert calls == sent
