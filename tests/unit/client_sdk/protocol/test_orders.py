"""Caps of an order, as the contract looks at them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from client_sdk.protocol.orders import Order, OrderRule
from client_sdk.protocol.terms import Terms

CLASS: Final = bytes([6]) * 32
LISTING: Final = bytes([4]) * 32
TERMS: Final = Terms(
    renter="0x" + "11" * 20,
    provider="0x" + "22" * 20,
    operator="0x" + "33" * 20,
    token="0x" + "44" * 20,
    arbiter="0x" + "55" * 20,
    listing_id=LISTING,
    machine_hash=bytes([5]) * 32,
    job_hash=bytes([7]) * 32,
    price_per_segment=1_000,
    bond=12_000,
    segments=10,
    fee_bps=200,
    audit_bps=100,
    window=60,
    commit_grace=30,
    dispute_timeout=120,
    open_by=2_000,
    first_commit_within=90,
    max_duration=600,
    min_segment_seconds=5,
    nonce=1,
)
#: Every cap is met exactly.
ORDER: Final = Order(
    renter=TERMS.renter,
    token=TERMS.token,
    arbiter=TERMS.arbiter,
    job_hash=TERMS.job_hash,
    listing_id=LISTING,
    hardware_class=CLASS,
    max_price_per_hour=1,
    max_price_per_segment=1_000,
    budget=10_000,
    min_bond=12_000,
    min_bond_bps=12_000,
    min_audit_bps=100,
    segments=10,
    max_duration_s=600,
    min_window=60,
    max_window=60,
    max_dispute_timeout=120,
    max_first_commit=90,
    min_segment_seconds=5,
    verification=1,
    expires_at=3_000,
    nonce=1,
)
OTHER: Final = "0x" + "99" * 20

CASES: Final[list[tuple[OrderRule, dict[str, Any]]]] = [
    (OrderRule.RENTER, {"renter": OTHER}),
    (OrderRule.TOKEN, {"token": OTHER}),
    (OrderRule.ARBITER, {"arbiter": OTHER}),
    (OrderRule.JOB_HASH, {"job_hash": bytes(32)}),
    (OrderRule.LISTING_ID, {"listing_id": bytes([1]) * 32}),
    (OrderRule.HARDWARE_CLASS, {"hardware_class": bytes([1]) * 32}),
    (OrderRule.PRICE_PER_SEGMENT, {"max_price_per_segment": 999}),
    (OrderRule.MIN_BOND, {"min_bond": 12_001}),
    (OrderRule.MIN_BOND_BPS, {"min_bond_bps": 12_001}),
    (OrderRule.MIN_AUDIT_BPS, {"min_audit_bps": 101}),
    (OrderRule.MAX_DURATION, {"max_duration_s": 599}),
    (OrderRule.MIN_WINDOW, {"min_window": 61}),
    (OrderRule.MAX_WINDOW, {"max_window": 59}),
    (OrderRule.MAX_DISPUTE_TIMEOUT, {"max_dispute_timeout": 119}),
    (OrderRule.MAX_FIRST_COMMIT, {"max_first_commit": 89}),
    (OrderRule.MIN_SEGMENT_SECONDS, {"min_segment_seconds": 6}),
]


def test_when_every_cap_is_met_then_no_rule_is_broken() -> None:
    assert ORDER.openable
    assert ORDER.broken_rule(TERMS, CLASS) is None
    assert (
        replace(ORDER, listing_id=bytes(32), hardware_class=bytes(32)).broken_rule(TERMS, bytes(32))
        is None
    )


def test_when_periods_equal_the_least_window_then_no_rule_is_broken() -> None:
    assert ORDER.broken_rule(replace(TERMS, dispute_timeout=120, commit_grace=60), CLASS) is None


def test_when_an_order_reaches_its_moment_then_it_has_lapsed() -> None:
    assert [ORDER.expired(now) for now in (2_999, 3_000)] == [False, True]


@pytest.mark.parametrize(("rule", "change"), CASES)
def test_when_a_cap_is_missed_by_one_then_its_rule_is_broken(
    rule: OrderRule, change: dict[str, Any]
) -> None:
    assert replace(ORDER, **change).broken_rule(TERMS, CLASS) is rule


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (OrderRule.MIN_DISPUTE_TIMEOUT, {"dispute_timeout": 119}),
        (OrderRule.COMMIT_GRACE, {"commit_grace": 61}),
    ],
)
def test_when_a_period_does_not_fit_the_least_window_then_its_rule_is_broken(
    rule: OrderRule, change: dict[str, int]
) -> None:
    assert ORDER.broken_rule(replace(TERMS, **change), CLASS) is rule


@pytest.mark.parametrize("change", [{"min_window": 0}, {"max_price_per_segment": 0}])
def test_when_a_least_window_or_a_price_is_missing_then_nobody_else_opens(
    change: dict[str, int],
) -> None:
    assert not replace(ORDER, **change).openable


def test_when_rules_are_listed_then_they_are_the_contracts_in_its_order() -> None:
    tried = {rule for rule, _ in CASES} | {OrderRule.MIN_DISPUTE_TIMEOUT, OrderRule.COMMIT_GRACE}
    assert tried == set(OrderRule)
