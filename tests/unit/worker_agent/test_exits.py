"""A provider's way out: what it gets, what it cannot have yet, and what a refusal means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.chain.errors import CallReverted, TransactionReverted
from contracts.bindings import StakeView
from tests.fakes import parties
from tests.fakes.chain import UNBONDING_S, FakeChain, FakeSender
from tests.fakes.market import FakeMarket
from worker_agent.context import Context
from worker_agent.draining import set_draining
from worker_agent.errors import NotPossible, SettingsError
from worker_agent.exits import ALL, Unbonding, claim_unbond, delist, unbond, withdraw

UNIT = 10**parties.TOKEN.decimals
OWNER = parties.OWNER.address
STAKE = 10 * UNIT


@pytest.fixture
def chain() -> FakeChain:
    return FakeChain(parties.ARBITER.address)


@pytest.fixture
def context(tmp_path: Path, chain: FakeChain) -> Iterator[Context]:
    settings = parties.make_settings(tmp_path, stake="4")
    made = parties.make_context(tmp_path, chain, FakeMarket(chain), parties.OPERATOR, settings)
    yield made
    made.journal.close()


def staked(context: Context, stake: StakeView) -> None:
    chain = context.chain
    assert isinstance(chain, FakeChain)
    chain.state.stakes[OWNER.lower()] = stake


def keys(sender: Any) -> list[str]:
    """What an account has sent, by its keys."""
    return list(sender.sent)


def listed(chain: FakeChain, document: bytes, owner: str = OWNER, operator: Any = None) -> bytes:
    """A listing, made by its owner."""
    operator = operator or parties.OPERATOR
    call = chain.escrow.list_machine(
        bytes(32), parties.TOKEN.address, 1, operator.address, document
    )
    (event,) = chain.execute(call, owner).events
    return event.listing_id  # type: ignore[attr-defined]  # it is `Listed`


def test_when_a_drained_worker_delists_then_its_own_active_listings_end_and_no_others(
    context: Context, chain: FakeChain
) -> None:
    ended = listed(chain, b"ended before")
    chain.execute(chain.escrow.delist(ended), OWNER)
    own = [listed(chain, b"first"), listed(chain, b"second")]
    others = [
        listed(chain, b"a stranger's", parties.account("stranger").address),
        listed(chain, b"of another worker", operator=parties.account("another")),
    ]
    with pytest.raises(NotPossible, match="would list this machine again: run `gridlease worker"):
        delist(context)
    set_draining(context.journal, True)
    assert delist(context) == own
    assert [chain.state.listings[listing].active for listing in (*own, *others)] == [
        False,
        False,
        True,
        True,
    ]
    assert delist(context) == []
    assert keys(context.owner_sender) == [f"delist:{listing.hex()}" for listing in own]


@pytest.mark.parametrize(
    ("text", "amount"), [(ALL, 6 * UNIT), ("6", 6 * UNIT), ("0.000001", 1), ("2.5", 5 * UNIT // 2)]
)
def test_when_stake_is_free_then_it_unbonds(
    context: Context, chain: FakeChain, text: str, amount: int
) -> None:
    set_draining(context.journal, True)
    staked(context, StakeView(STAKE, 3 * UNIT, UNIT, 0))
    started = unbond(context, text)
    assert started == Unbonding(amount, UNIT + amount, UNIT, chain.now() + UNBONDING_S)
    now = chain.state.stakes[OWNER.lower()]
    assert now == StakeView(STAKE, 3 * UNIT, UNIT + amount, started.claimable_at)


def test_when_the_same_amount_is_unbonded_again_then_it_is_another_one(
    context: Context, chain: FakeChain
) -> None:
    chain.execute(chain.escrow.stake(parties.TOKEN.address, STAKE), OWNER)
    assert [unbond(context, "1").unbonding for _ in range(2)] == [UNIT, 2 * UNIT]
    token = parties.TOKEN.address
    assert keys(context.owner_sender) == [f"unbond:{token}:{n}:{UNIT}" for n in range(2)]


@pytest.mark.parametrize(("text", "drained"), [("5", False), ("5.000001", True), (ALL, True)])
def test_when_the_worker_would_stake_it_again_then_it_wants_to_be_drained(
    context: Context, text: str, drained: bool
) -> None:
    # `stake` asks for 4 of the 10, and one is on its way out.
    staked(context, StakeView(STAKE, 0, UNIT, 0))
    if drained:
        with pytest.raises(NotPossible, match=r"keeps a stake of 4.00 .* or lower `stake`"):
            unbond(context, text)
        set_draining(context.journal, True)
    assert unbond(context, text).amount > 0


def test_when_the_amount_is_none_that_is_free_then_it_is_not_sent(context: Context) -> None:
    set_draining(context.journal, True)
    staked(context, StakeView(STAKE, 0, 0, 0))
    with pytest.raises(NotPossible, match=r"at most 10.00 tUSD .* hold 0.00 tUSD$"):
        unbond(context, "10.000001")
    with pytest.raises(SettingsError):
        unbond(context, "much")
    for nothing in ("0", "0.00"):
        with pytest.raises(SettingsError, match="must be above zero"):
            unbond(context, nothing)
    assert keys(context.owner_sender) == []


def test_when_the_period_is_over_then_the_stake_is_credit_and_then_the_owners(
    context: Context, chain: FakeChain
) -> None:
    staked(context, StakeView(STAKE, 0, 0, 0))
    for _ in range(2):  # each key is used once
        claimable_at = unbond(context, "2").claimable_at
        chain.mine(seconds=claimable_at - chain.now() - 1)
        with pytest.raises(NotPossible, match="it can be claimed from"):
            claim_unbond(context)
        chain.mine()
        assert claim_unbond(context) == 2 * UNIT
        assert chain.state.credits == {OWNER.lower(): 2 * UNIT}
        assert withdraw(context) == 2 * UNIT
        assert withdraw(context) == 0
    assert chain.state.stakes[OWNER.lower()] == StakeView(6 * UNIT, 0, 0, 0)
    assert [key.rsplit(":", 1)[0].split(":")[0] for key in keys(context.owner_sender)] == [
        "unbond",
        "claim-unbond",
        "withdraw",
    ] * 2


def test_when_the_owners_key_is_elsewhere_then_the_operators_is_enough_to_withdraw(
    context: Context, chain: FakeChain
) -> None:
    other = parties.account("other").address
    chain.state.credits |= {OWNER.lower(): 7, other.lower(): 9}
    chain.execute(chain.escrow.withdraw_to(parties.TOKEN.address, other), other)
    assert withdraw(replace(context, owner_sender=None)) == 7
    # Others' withdrawals do not change the key: else a crash before its receipt would not be known.
    assert keys(context.sender) == [f"withdraw:{parties.TOKEN.address}:0"]


@pytest.mark.parametrize(
    ("stake", "message"),
    [
        (StakeView(10 * UNIT, 4 * UNIT, 0, 0), "nothing is unbonding"),
        (StakeView(10 * UNIT, 0, 7 * UNIT, 4_000_000_000), "from 2096-10-02T07:06:40"),
        (StakeView(10 * UNIT, 4 * UNIT, UNIT, 0, 1), r"still 0.000001 tUSD .* send `payLate`"),
    ],
)
def test_when_stake_cannot_be_claimed_yet_then_it_says_why(
    context: Context, stake: StakeView, message: str
) -> None:
    staked(context, stake)
    with pytest.raises(NotPossible, match=message):
        claim_unbond(context)
    assert not context.owner_sender.refused  # type: ignore[union-attr]  # a fake sender


@pytest.mark.parametrize("text", ["all", "0.01"])
def test_when_live_leases_hold_the_stake_then_it_is_not_unbonded(
    context: Context, text: str
) -> None:
    staked(context, StakeView(10 * UNIT, 4 * UNIT, 4 * UNIT, 0, 2 * UNIT))
    told = r"at most 0.00 .* now; live leases hold 4.00 .*, late rulings wait for 2.00 "
    with pytest.raises(NotPossible, match=told):
        unbond(context, text)


def test_when_the_owners_key_is_elsewhere_then_only_it_can_do_this(context: Context) -> None:
    there = replace(context, owner_sender=None)
    staked(context, StakeView(10 * UNIT, 0, 7 * UNIT, 0))
    for action in (delist, claim_unbond, lambda found: unbond(found, "all")):
        with pytest.raises(SettingsError, match="set owner_key_file"):
            action(there)


ACTIONS: dict[str, Callable[[Context], object]] = {
    "delist": delist,
    "unbond": lambda context: unbond(context, "1"),
    "claimUnbond": claim_unbond,
    "withdrawTo": withdraw,
}
ELSEWHERE = "`withdraw` of the contract sends it to another account"


@pytest.mark.parametrize(
    ("action", "name", "values", "told"),
    [
        ("delist", "ListingInactive", {"listingId": bytes(32)}, "nothing left to do"),
        (
            "unbond",
            "UnbondTooHigh",
            {"amount": UNIT, "available": UNIT // 2},
            r"at most 0.50 tUSD .* `all` of it",
        ),
        ("claimUnbond", "NothingUnbonding", {"token": "0x"}, "claimed or slashed meanwhile"),
        (
            "claimUnbond",
            "UnbondingNotOver",
            {"timestamp": 1, "claimableAt": 4_000_000_000},
            "can be claimed from 2096-10-02T07:06:40",
        ),
        (
            "claimUnbond",
            "LateDebt",
            {"provider": OWNER, "token": "0x", "owed": 3 * UNIT},
            r"still 3.00 tUSD .* send `payLate`, .* and claim again",
        ),
        ("withdrawTo", "AmountMissing", {}, "no credit left"),
        ("withdrawTo", "SafeERC20FailedOperation", {"token": "0x"}, ELSEWHERE),
        ("withdrawTo", "FailedCall", {}, ELSEWHERE),
        ("withdrawTo", "AccountFrozen", {"account": OWNER}, f"AccountFrozen.*{ELSEWHERE}"),
        ("unbond", "Unexplained", {}, r"Unexplained\(\): docs/escrow explains it"),
    ],
)
@pytest.mark.parametrize("is_mined", [False, True])
def test_when_the_contract_refuses_then_it_says_what_that_means_and_what_to_do(
    context: Context,
    chain: FakeChain,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    name: str,
    values: dict[str, Any],
    told: str,
    is_mined: bool,
) -> None:
    set_draining(context.journal, True)
    listed(chain, b"machine")
    staked(context, StakeView(STAKE, 0, UNIT, 0))
    chain.state.credits[OWNER.lower()] = 7

    def refuse(_sender: FakeSender, call: Any, *_: Any, **__: Any) -> None:
        assert call.name == f"LeaseEscrow.{action}"
        if is_mined:
            raise TransactionReverted(call.name, name, values, bytes(32))
        raise CallReverted(call.name, name, values)

    monkeypatch.setattr(FakeSender, "send", refuse)
    sent = "only gas was spent" if is_mined else "nothing was sent"
    with pytest.raises(NotPossible, match=f"{told}.*; {sent}$"):
        ACTIONS[action](context)
