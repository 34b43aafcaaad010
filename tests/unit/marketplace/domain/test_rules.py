"""What must agree between listing, offer, order and terms: each rule, at its bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification, verification_mask
from marketplace.domain.ledger import ListingFacts, StakeFacts
from marketplace.domain.rules import RuleBroken, check_offer, check_order, check_terms

NOW = 1_800_000_000
DAY = 86_400
RENTER, PROVIDER, OPERATOR, TOKEN, ARBITER, OTHER = (f"0x{n:02x}" + "ab" * 19 for n in range(1, 7))
LISTING, MACHINE, CLASS, JOB, OFFER_ID = (bytes([n]) * 32 for n in range(0xC1, 0xC6))
ELSE = bytes([9]) * 32
REPLAY, RERUN, METERED = Verification.REPLAY, Verification.RERUN, Verification.METERED

FACTS = ListingFacts(
    listing_id=to_hex(LISTING),
    provider=PROVIDER,
    operator=OPERATOR,
    hardware_class=to_hex(CLASS),
    machine_hash=to_hex(MACHINE),
    token=TOKEN,
    max_price_per_hour=500,
    document="0x",
    active=True,
    listed_block=1,
    listed_at=datetime(2026, 1, 1, tzinfo=UTC),
)
STAKE = StakeFacts(provider=PROVIDER, token=TOKEN, total=110, unbonding=40, owed=10)
OFFER = Offer(
    provider=PROVIDER,
    operator=OPERATOR,
    token=TOKEN,
    arbiter=ARBITER,
    listing_id=LISTING,
    machine_hash=MACHINE,
    hardware_class=CLASS,
    encryption_key=ELSE,
    price_per_hour=400,
    fee_bps=200,
    audit_bps=300,
    max_segments=30,
    min_segment_seconds=1,
    verification=verification_mask([REPLAY, METERED]),
    issued_at=NOW - 10,
    expires_at=NOW + 10,
    nonce=1,
)
ORDER = Order(
    renter=RENTER,
    token=TOKEN,
    arbiter=ARBITER,
    job_hash=JOB,
    listing_id=LISTING,
    offer=OFFER_ID,
    max_price_per_hour=450,
    budget=200,
    max_duration_s=3_600,
    segments=20,
    verification=REPLAY.bit,
    expires_at=NOW + 10,
    nonce=1,
)
TERMS = Terms(
    renter=RENTER,
    provider=PROVIDER,
    operator=OPERATOR,
    token=TOKEN,
    arbiter=ARBITER,
    listing_id=LISTING,
    machine_hash=MACHINE,
    job_hash=JOB,
    price_per_segment=10,
    bond=50,
    segments=20,
    fee_bps=200,
    audit_bps=300,
    window=60,
    commit_grace=15,
    dispute_timeout=120,
    open_by=NOW + 1,
    first_commit_within=300,
    max_duration=3_600,
    min_segment_seconds=1,
    nonce=1,
)
OPENABLE = {
    "max_price_per_segment": 10,
    "min_window": 60,
    "max_window": 60,
    "max_dispute_timeout": 120,
    "max_first_commit": 300,
    "min_segment_seconds": 1,
}


def offered(offer: Any, listing: Any) -> None:
    check_offer(replace(OFFER, **offer), replace(FACTS, **listing), NOW)


def ordered(order: Any, offer: Any, listing: Any) -> None:
    check_order(
        replace(ORDER, **order),
        replace(OFFER, **offer),
        OFFER_ID,
        replace(FACTS, **listing),
        STAKE,
        NOW,
    )


def agreed(terms: Any, order: Any, listing: Any) -> None:
    check_terms(
        replace(TERMS, **terms),
        replace(ORDER, **order),
        OFFER,
        replace(FACTS, **listing),
        NOW,
    )


@pytest.mark.parametrize(
    ("offer", "listing"),
    [
        ({}, {}),
        ({"price_per_hour": 1}, {}),
        ({"price_per_hour": 500}, {}),
        ({"max_segments": 1}, {}),
        ({"verification": METERED.bit | RERUN.bit}, {}),
        ({"issued_at": NOW + 120, "expires_at": NOW + 121}, {}),
        ({"issued_at": NOW, "expires_at": NOW + 14 * DAY}, {}),
        ({}, {"provider": PROVIDER.upper().replace("X", "x")}),
        ({}, {"machine_hash": to_hex(MACHINE).upper().replace("X", "x")}),
    ],
)
def test_when_an_offer_keeps_its_listing_then_it_stands(offer: Any, listing: Any) -> None:
    offered(offer, listing)


@pytest.mark.parametrize(
    ("field", "offer", "listing"),
    [
        ("listing_id", {}, {"active": False}),
        ("provider", {"provider": OTHER}, {}),
        ("operator", {"operator": OTHER}, {}),
        ("token", {"token": OTHER}, {}),
        ("machine_hash", {"machine_hash": ELSE}, {}),
        ("hardware_class", {"hardware_class": ELSE}, {}),
        ("price_per_hour", {"price_per_hour": 0}, {}),
        ("price_per_hour", {"price_per_hour": 501}, {}),
        ("verification", {"max_segments": 0}, {}),
        ("verification", {"verification": RERUN.bit}, {}),
        ("expires_at", {"expires_at": NOW}, {}),
        ("expires_at", {"issued_at": NOW + 121, "expires_at": NOW + 122}, {}),
        ("expires_at", {"issued_at": NOW, "expires_at": NOW + 14 * DAY + 1}, {}),
    ],
)
def test_when_an_offer_breaks_a_rule_then_it_is_refused_by_that_name(
    field: str, offer: Any, listing: Any
) -> None:
    with pytest.raises(RuleBroken, match=f"^{field}: ") as refused:
        offered(offer, listing)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("order", "offer"),
    [
        ({}, {}),
        ({"offer": bytes(32), "listing_id": bytes(32)}, {}),
        ({"max_price_per_hour": 400}, {}),
        ({"segments": 1}, {}),
        ({"segments": 30}, {}),
        ({"budget": 1, "max_duration_s": 1}, {}),
        ({}, {"verification": REPLAY.bit}),
        ({"min_bond": 60}, {}),
    ],
)
def test_when_an_order_fits_its_offer_then_it_stands(order: Any, offer: Any) -> None:
    ordered(order, offer, {})


@pytest.mark.parametrize(
    ("field", "order", "offer", "listing"),
    [
        ("offer", {}, {}, {"active": False}),
        ("offer", {}, {"expires_at": NOW}, {}),
        ("expires_at", {"expires_at": NOW}, {}, {}),
        ("offer", {"offer": ELSE}, {}, {}),
        ("listing_id", {"listing_id": ELSE}, {}, {}),
        ("token", {"token": OTHER}, {}, {}),
        ("arbiter", {"arbiter": OTHER}, {}, {}),
        ("max_price_per_hour", {"max_price_per_hour": 399}, {}, {}),
        ("segments", {"segments": 0}, {}, {}),
        ("segments", {"segments": 31}, {}, {}),
        ("budget", {"budget": 0}, {}, {}),
        ("budget", {"max_duration_s": 0}, {}, {}),
        ("verification", {"verification": 0}, {}, {}),
        ("verification", {"verification": REPLAY.bit | METERED.bit}, {}, {}),
        ("verification", {"verification": RERUN.bit}, {}, {}),
        ("min_bond", {"min_bond": 61}, {}, {}),
    ],
)
def test_when_an_order_breaks_a_rule_then_it_is_refused_by_that_name(
    field: str, order: Any, offer: Any, listing: Any
) -> None:
    with pytest.raises(RuleBroken, match=f"^{field}: ") as refused:
        ordered(order, offer, listing)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("terms", "order"),
    [
        ({}, {}),
        ({"segments": 1}, {}),
        ({"max_duration": 1}, {}),
        ({"window": 0}, {"verification": METERED.bit}),
        ({}, OPENABLE),
        ({}, {"min_bond": 51}),  # nobody else may open a lease under this order
    ],
)
def test_when_terms_carry_out_an_order_then_they_stand(terms: Any, order: Any) -> None:
    agreed(terms, order, {})


@pytest.mark.parametrize(
    ("field", "terms", "order", "listing"),
    [
        ("listing_id", {}, {}, {"active": False}),
        ("renter", {"renter": OTHER}, {}, {}),
        ("provider", {"provider": OTHER}, {}, {}),
        ("operator", {"operator": OTHER}, {}, {}),
        ("token", {"token": OTHER}, {}, {}),
        ("arbiter", {"arbiter": OTHER}, {}, {}),
        ("listing_id", {"listing_id": ELSE}, {}, {}),
        ("machine_hash", {"machine_hash": ELSE}, {}, {}),
        ("job_hash", {"job_hash": ELSE}, {}, {}),
        ("segments", {"segments": 0}, {}, {}),
        ("segments", {"segments": 21, "price_per_segment": 1}, {}, {}),
        ("price_per_segment", {"price_per_segment": 0}, {}, {}),
        ("price_per_segment", {}, {"budget": 199}, {}),
        ("fee_bps", {"fee_bps": 201}, {}, {}),
        ("fee_bps", {"audit_bps": 301}, {}, {}),
        ("window", {"window": 0}, {}, {}),
        ("window", {}, {"verification": METERED.bit}, {}),
        ("max_duration", {"max_duration": 0}, {}, {}),
        ("max_duration", {"max_duration": 3_601}, {}, {}),
        ("open_by", {"open_by": NOW}, {}, {}),
        ("terms", {}, OPENABLE | {"min_bond": 51}, {}),
        ("terms", {}, OPENABLE | {"hardware_class": ELSE}, {}),
    ],
)
def test_when_terms_break_a_rule_then_they_are_refused_by_that_name(
    field: str, terms: Any, order: Any, listing: Any
) -> None:
    with pytest.raises(RuleBroken, match=f"^{field}: ") as refused:
        agreed(terms, order, listing)
    assert refused.value.field == field
