"""A node that carries calls in tUSD, for a fee of 500; some accounts have credit to withdraw."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.deployments import TokenInfo
from marketplace.context import Market
from marketplace.models import Credit
from marketplace.settings import RelayRates
from tests.support.market import OTHER, RENTER, TOKEN, World, open_world

FEE = 500
LEAST = 10
"""Least credit that is sent to its account."""
OTHER_TOKEN = "0x" + "77" * 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    rates = {"open_fee": FEE, "min_withdrawal": LEAST, "min_collect": 100}
    async with open_world(
        tmp_path,
        relay={"tUSD": rates},
        relayer_key_file=tmp_path / "relayer.key",
        relays_per_hour=5,
        all_relays_per_hour=3,
    ) as opened:
        async with opened.market.database.writing() as session:
            for account in (RENTER, OTHER):
                names = {"token": TOKEN.lower(), "account": account.address.lower()}
                session.add(Credit(**opened.market.scope.key, **names, amount=LEAST))
        yield opened


@pytest.fixture
def with_another_token(world: World) -> Callable[[RelayRates | None], Market]:
    """The node, had it another token, too, that it carries calls in for these rates."""

    def make(rates: RelayRates | None) -> Market:
        market, deployment = world.market, world.market.deployment
        other = TokenInfo(symbol="EURX", address=OTHER_TOKEN, decimals=6)
        relay = market.settings.relay | ({"EURX": rates} if rates is not None else {})
        return replace(
            market,
            deployment=replace(deployment, tokens=(*deployment.tokens, other)),
            settings=market.settings.model_copy(update={"relay": relay}),
        )

    return make
