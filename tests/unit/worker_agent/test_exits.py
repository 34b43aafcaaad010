"""What a provider cannot take out yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.bindings import StakeView
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from worker_agent.context import Context
from worker_agent.errors import NotPossible, SettingsError
from worker_agent.exits import claim_unbond, delist, unbond

UNIT = 10**parties.TOKEN.decimals


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    chain = FakeChain(parties.ARBITER.address)
    settings = parties.make_settings(tmp_path)
    made = parties.make_context(tmp_path, chain, FakeMarket(chain), parties.OPERATOR, settings)
    yield made
    made.journal.close()


def staked(context: Context, stake: StakeView) -> None:
    chain = context.chain
    assert isinstance(chain, FakeChain)
    chain.state.stakes[parties.OWNER.address.lower()] = stake


@pytest.mark.parametrize(
    ("stake", "message"),
    [
        (StakeView(10 * UNIT, 4 * UNIT, 0, 0), "nothing is unbonding"),
        (StakeView(10 * UNIT, 0, 7 * UNIT, 4_000_000_000), "from 2096-10-02T07:06:40"),
    ],
)
def test_when_stake_cannot_be_claimed_yet_then_it_says_why(
    context: Context, stake: StakeView, message: str
) -> None:
    staked(context, stake)
    with pytest.raises(NotPossible, match=message):
        claim_unbond(context)


@pytest.mark.parametrize("text", ["all", "0.01"])
def test_when_live_leases_hold_the_stake_then_it_is_not_unbonded(
    context: Context, text: str
) -> None:
    staked(context, StakeView(10 * UNIT, 4 * UNIT, 6 * UNIT, 0))
    with pytest.raises(NotPossible, match=r"at most 0.00 .* now; live leases hold 4.00"):
        unbond(context, text)


def test_when_the_owners_key_is_elsewhere_then_only_it_can_do_this(context: Context) -> None:
    there = replace(context, owner_sender=None)
    staked(context, StakeView(10 * UNIT, 0, 7 * UNIT, 0))
    for action in (delist, claim_unbond, lambda found: unbond(found, "all")):
        with pytest.raises(SettingsError, match="set owner_key_file"):
            action(there)
