"""Every rule that can be broken by an offer or by terms is found, and only that one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk.policy import (
    Finding,
    ListingFacts,
    MarketFacts,
    Policy,
    Rule,
    TermsFacts,
    check_offer,
    check_terms,
)
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification

NOW = 1_800_000_000
RENTER, PROVIDER, OPERATOR, TOKEN, ARBITER, STRANGER = (f"0x{digit * 40}" for digit in "123456")
LISTING_ID, MACHINE, JOB, CLASS = (bytes([number]) * 32 for number in (1, 2, 3, 4))
POLICY = Policy()
MARKET = MarketFacts(arbiter=ARBITER, tokens=frozenset({TOKEN}))

OFFER = Offer(
    provider=PROVIDER,
    operator=OPERATOR,
    token=TOKEN,
    arbiter=ARBITER,
    listing_id=LISTING_ID,
    machine_hash=MACHINE,
    hardware_class=CLASS,
    encryption_key=bytes(32),
    price_per_hour=600_000,
    fee_bps=200,
    audit_bps=100,
    max_segments=100,
    min_segment_seconds=1,
    verification=Verification.REPLAY.bit,
    issued_at=NOW - 10,
    expires_at=NOW + 600,
    nonce=1,
)
LISTING = ListingFacts(
    provider=PROVIDER,
    operator=OPERATOR,
    token=TOKEN,
    machine_hash=MACHINE,
    hardware_class=CLASS,
    max_price_per_hour=1_200_000,
    active=True,
    stake_total=100_000_000,
    stake_free=100_000_000,
)
ORDER = Order(
    renter=RENTER,
    token=TOKEN,
    arbiter=ARBITER,
    job_hash=JOB,
    listing_id=LISTING_ID,
    offer=bytes([9]) * 32,
    max_price_per_hour=600_000,
    budget=1_000_000,
    max_duration_s=1800,
    segments=30,
    verification=Verification.REPLAY.bit,
    expires_at=NOW + 600,
    nonce=7,
)
TERMS = Terms(
    renter=RENTER,
    provider=PROVIDER,
    operator=OPERATOR,
    token=TOKEN,
    arbiter=ARBITER,
    listing_id=LISTING_ID,
    machine_hash=MACHINE,
    job_hash=JOB,
    price_per_segment=1_000,
    bond=30_000,
    segments=30,
    fee_bps=200,
    audit_bps=100,
    window=20,
    commit_grace=15,
    dispute_timeout=400,
    open_by=NOW + 60,
    first_commit_within=600,
    max_duration=1800,
    min_segment_seconds=1,
    nonce=3,
)
LONG = {"window": 400, "dispute_timeout": 12_000, "min_segment_seconds": 100}
FACTS = TermsFacts(
    order=ORDER,
    offer=OFFER,
    signer=OPERATOR,
    listing=LISTING,
    market=MARKET,
    verification=Verification.REPLAY,
    now=NOW,
)


def rules(findings: list[Finding]) -> set[Rule]:
    return {finding.rule for finding in findings}


def offer_findings(offer: Offer = OFFER, **changes: object) -> set[Rule]:
    facts = {
        "signer": OPERATOR,
        "claimed_id": bytes([9]) * 32,
        "offer_id": bytes([9]) * 32,
        "listing": LISTING,
        "market": MARKET,
        "policy": POLICY,
        "now": NOW,
    }
    return rules(check_offer(offer, **(facts | changes)))  # type: ignore[arg-type]


def test_when_the_offer_keeps_every_rule_then_nothing_is_found():
    assert offer_findings() == set()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"expires_at": NOW}, Rule.EXPIRY),
        ({"issued_at": NOW + 301}, Rule.EXPIRY),
        ({"arbiter": STRANGER}, Rule.ARBITER),
        ({"token": STRANGER}, Rule.TOKEN),
        ({"fee_bps": 501}, Rule.FEE),
        ({"audit_bps": 2001}, Rule.FEE),
        ({"provider": STRANGER}, Rule.LISTING),
        ({"machine_hash": JOB}, Rule.MACHINE),
        ({"hardware_class": JOB}, Rule.MACHINE),
        ({"price_per_hour": 1_200_001}, Rule.PRICE),
    ],
)
def test_when_the_offer_breaks_one_rule_then_it_is_named(changes, rule):
    assert offer_findings(replace(OFFER, **changes)) == {rule}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"signer": None}, Rule.SIGNATURE),
        ({"signer": STRANGER}, Rule.SIGNATURE),
        ({"offer_id": JOB}, Rule.DIGEST),
        ({"listing": None}, Rule.LISTING),
        ({"listing": replace(LISTING, active=False)}, Rule.LISTING),
        ({"listing": replace(LISTING, operator=STRANGER)}, Rule.OPERATOR),
    ],
)
def test_when_a_fact_speaks_against_the_offer_then_the_rule_is_named(changes, rule):
    assert offer_findings(**changes) == {rule}


def test_when_the_terms_keep_every_rule_then_nothing_is_found():
    assert check_terms(TERMS, FACTS, POLICY) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"renter": STRANGER}, {Rule.RENTER}),
        ({"job_hash": MACHINE}, {Rule.JOB}),
        ({"listing_id": MACHINE}, {Rule.LISTING}),
        ({"provider": STRANGER}, {Rule.LISTING}),
        ({"operator": STRANGER}, {Rule.OPERATOR, Rule.SIGNATURE}),
        ({"machine_hash": JOB}, {Rule.MACHINE}),
        ({"token": STRANGER}, {Rule.TOKEN}),
        ({"arbiter": STRANGER}, {Rule.ARBITER}),
        ({"predecessor": JOB}, {Rule.PREDECESSOR}),
        ({"segments": 31, "bond": 31_000}, {Rule.SEGMENTS}),
        ({"segments": 0, "bond": 0}, {Rule.SEGMENTS}),
        ({"price_per_segment": 33_334, "bond": 1_000_020, **LONG}, {Rule.PRICE}),
        ({"price_per_segment": 10_002, "bond": 300_060, **LONG}, {Rule.PRICE}),
        ({"fee_bps": 501}, {Rule.FEE}),
        ({"fee_bps": 201}, {Rule.FEE}),
        ({"audit_bps": 101}, {Rule.FEE}),
        ({"bond": 29_999}, {Rule.BOND}),
        ({"bond": 100_000_001}, {Rule.STAKE}),
        ({"reserve_segments": 1}, {Rule.RESERVE}),
        ({"window": 0}, {Rule.WINDOW}),
        ({"window": 4}, {Rule.WINDOW}),
        ({"window": 604_801}, {Rule.WINDOW}),
        ({"commit_grace": 3_601}, {Rule.DISPUTE}),
        ({"dispute_timeout": 4}, {Rule.DISPUTE}),
        ({"dispute_timeout": 604_801}, {Rule.DISPUTE}),
        ({"max_duration": 1_801}, {Rule.DURATION}),
        ({"first_commit_within": 86_401}, {Rule.DURATION}),
        ({"open_by": NOW + 4}, {Rule.EXPIRY}),
        ({"open_by": NOW - 1}, {Rule.EXPIRY}),
        ({"open_by": NOW + 3_601}, {Rule.EXPIRY}),
    ],
)
def test_when_the_terms_break_a_rule_then_it_is_named(changes, rule):
    assert rules(check_terms(replace(TERMS, **changes), FACTS, POLICY)) == rule


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"signer": None}, Rule.SIGNATURE),
        ({"listing": None}, Rule.LISTING),
        ({"listing": replace(LISTING, active=False)}, Rule.LISTING),
        ({"listing": replace(LISTING, stake_free=29_999)}, Rule.STAKE),
        ({"order": replace(ORDER, min_bond=30_001)}, Rule.BOND),
        ({"order": replace(ORDER, min_bond_bps=10_001)}, Rule.BOND),
        ({"order": replace(ORDER, min_audit_bps=101)}, Rule.FEE),
        ({"order": replace(ORDER, expires_at=NOW)}, Rule.EXPIRY),
        ({"order": replace(ORDER, max_price_per_hour=599_999)}, Rule.PRICE),
        ({"order": replace(ORDER, listing_id=MACHINE)}, Rule.LISTING),
        ({"market": replace(MARKET, arbiter=STRANGER)}, Rule.ARBITER),
        ({"offer": replace(OFFER, verification=8)}, Rule.VERIFICATION),
    ],
)
def test_when_a_fact_speaks_against_the_terms_then_the_rule_is_named(changes, rule):
    assert rules(check_terms(TERMS, replace(FACTS, **changes), POLICY)) == {rule}


def test_when_the_job_is_metered_then_a_window_is_refused_and_no_bond_is_wanted():
    offer = replace(OFFER, verification=Verification.METERED.bit)
    facts = replace(FACTS, offer=offer, verification=Verification.METERED)
    metered = replace(TERMS, window=0, bond=0, dispute_timeout=0)
    assert check_terms(metered, facts, POLICY) == []
    assert rules(check_terms(TERMS, facts, POLICY)) == {Rule.WINDOW}


def test_when_segment_prices_were_rounded_up_then_the_sum_may_exceed_by_one_unit_each():
    # 30 segments of 60 s at 600 000 per hour cost exactly 300 000; each may be one unit dearer.
    terms = replace(TERMS, price_per_segment=10_001, bond=300_030, **LONG)
    assert check_terms(terms, FACTS, POLICY) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        # 1 000 are 6 s at the offered price: an audit and its confirmation do not fit.
        ({"window": 9}, Rule.WINDOW),
        # The arbiter executes up to 30 such segments, in half of its time.
        ({"dispute_timeout": 299}, Rule.DISPUTE),
        # Paid for 6 s, but free to commit a segment every moment.
        ({"min_segment_seconds": 0}, Rule.PRICE),
    ],
)
def test_when_terms_leave_no_time_to_audit_or_price_time_that_need_not_pass_then_refused(
    changes, rule
):
    assert rules(check_terms(replace(TERMS, **changes), FACTS, POLICY)) == {rule}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"market": replace(MARKET, tokens=frozenset())}, f"asks for the unknown token {TOKEN}"),
        ({"listing": replace(LISTING, token=STRANGER)}, f"the listing's token is {STRANGER}"),
    ],
)
def test_when_only_one_of_two_checks_of_an_offers_token_fails_then_it_speaks(changes, message):
    facts = {
        "signer": OPERATOR,
        "claimed_id": JOB,
        "offer_id": JOB,
        "listing": LISTING,
        "market": MARKET,
        "policy": POLICY,
        "now": NOW,
    }
    assert check_offer(OFFER, **(facts | changes)) == [Finding(Rule.TOKEN, message)]


def test_when_an_offer_stands_exactly_at_its_limits_then_nothing_is_found():
    at_limits = replace(
        OFFER, issued_at=NOW + 300, price_per_hour=1_200_000, fee_bps=500, audit_bps=2_000
    )
    assert offer_findings(at_limits) == set()


@pytest.mark.parametrize(
    ("terms", "facts", "finding"),
    [
        (
            {},
            {"offer": replace(OFFER, listing_id=MACHINE)},
            Finding(Rule.LISTING, "made out for another listing than the offer"),
        ),
        (
            {},
            {"offer": replace(OFFER, operator=STRANGER)},
            Finding(Rule.OPERATOR, "signed for another operator than the offer's"),
        ),
        (
            {},
            {"order": replace(ORDER, token=STRANGER)},
            Finding(Rule.TOKEN, f"asks for the token {TOKEN}"),
        ),
        (
            {},
            {"order": replace(ORDER, arbiter=STRANGER)},
            Finding(Rule.ARBITER, f"names the arbiter {ARBITER}"),
        ),
        (
            {},
            {"order": replace(ORDER, budget=29_999)},
            Finding(Rule.PRICE, "costs 30000; the budget is 29999"),
        ),
        # The most that the offered price gives for a segment of the least length, and one unit.
        (
            {"price_per_segment": 1_001, "bond": 30_030},
            {},
            Finding(Rule.PRICE, "1001 for segments of 1 s or more"),
        ),
        (
            {"fee_bps": 501},
            {"offer": replace(OFFER, fee_bps=600)},
            Finding(Rule.FEE, "a fee of 501/10000; at most 500"),
        ),
        (
            {"audit_bps": 2_001},
            {"offer": replace(OFFER, audit_bps=3_000)},
            Finding(Rule.FEE, "an audit share of 2001/10000; at most 2000"),
        ),
        # Segments that take no time leave time to audit in any window.
        (
            {"price_per_segment": 1, "window": 4},
            {},
            Finding(Rule.WINDOW, "a window of 4 s; wanted is 5 to 604800 s"),
        ),
        (
            {"price_per_segment": 1, "dispute_timeout": 4},
            {},
            Finding(Rule.DISPUTE, "disputes may last 4 s"),
        ),
    ],
)
def test_when_only_one_of_several_checks_of_a_rule_fails_then_it_speaks(terms, facts, finding):
    found = check_terms(replace(TERMS, **terms), replace(FACTS, **facts), POLICY)
    assert found == [finding]


@pytest.mark.parametrize(
    ("terms", "facts"),
    [
        ({}, {"order": replace(ORDER, budget=30_000)}),
        ({}, {"listing": replace(LISTING, stake_free=30_000)}),
        ({}, {"order": replace(ORDER, min_bond=30_000)}),
        ({}, {"order": replace(ORDER, min_bond_bps=10_000)}),
        ({}, {"order": replace(ORDER, min_audit_bps=100)}),
        ({"fee_bps": 500}, {"offer": replace(OFFER, fee_bps=500)}),
        ({"audit_bps": 2_000}, {"offer": replace(OFFER, audit_bps=2_000)}),
        # A price of 1 000 was rounded up from less than 6 s.
        ({"window": 10}, {}),
        ({"dispute_timeout": 300}, {}),
        ({"price_per_segment": 1, "window": 5, "dispute_timeout": 5}, {}),
        ({"window": 604_800, "dispute_timeout": 604_800, "commit_grace": 3_600}, {}),
        ({"open_by": NOW + 5}, {}),
        ({"open_by": NOW + 3_600, "first_commit_within": 86_400}, {}),
    ],
)
def test_when_terms_stand_exactly_at_a_limit_then_nothing_is_found(terms, facts):
    assert check_terms(replace(TERMS, **terms), replace(FACTS, **facts), POLICY) == []


WHOLE = {
    "segments": 1,
    "min_segment_seconds": 600,
    "window": 3_600,
    "dispute_timeout": 3_600,
    "bond": 1_000_000,
}


@pytest.mark.parametrize(("price", "found"), [(300_002, set()), (300_003, {Rule.PRICE})])
def test_when_the_whole_time_costs_a_fraction_of_a_unit_then_it_is_rounded_up_once(price, found):
    # 1 800 s at 600 001 an hour are 300 000.5: 300 001, and one unit for the one segment.
    offer = replace(OFFER, price_per_hour=600_001)
    facts = replace(FACTS, offer=offer, order=replace(ORDER, max_price_per_hour=600_001))
    terms = replace(TERMS, price_per_segment=price, **WHOLE)
    assert rules(check_terms(terms, facts, POLICY)) == found


def test_when_a_ruling_needs_longer_than_the_policy_freezes_money_then_the_policy_wins():
    # The arbiter would need 300 s for all 30 segments.
    terms = replace(TERMS, dispute_timeout=200)
    assert check_terms(terms, FACTS, replace(POLICY, max_dispute_s=200)) == []
