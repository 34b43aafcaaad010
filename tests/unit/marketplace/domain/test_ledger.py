"""What events mean for money and leases, as folds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from client_sdk.protocol.states import LeaseState
from marketplace.domain.events import EventRecord
from marketplace.domain.ledger import (
    LeaseFacts,
    ListingFacts,
    StakeFacts,
    SubjectKind,
    apply_lease,
    apply_listing,
    apply_stake,
    closable_after,
    matures_at,
    opened_lease,
    payable_segments,
    subjects,
)

LEASE, TOKEN = "0x" + "01" * 32, "0x" + "70" * 20
RENTER, PROVIDER, OTHER = "0x" + "0a" * 20, "0x" + "0b" * 20, "0x" + "0c" * 20
START = datetime(2026, 1, 1, tzinfo=UTC)
FROZEN = timedelta(seconds=30)
TERMS = {
    "renter": RENTER,
    "provider": PROVIDER,
    "operator": PROVIDER,
    "token": TOKEN,
    "listing_id": "0x" + "02" * 32,
    "bond": 40,
    "segments": 10,
    "reserve_segments": 3,
    "window": 100,
}


def event(name: str, **args: Any) -> EventRecord:
    return EventRecord(
        name=name,
        args=args,
        block_number=1,
        block_hash="0x00",
        block_at=START,
        tx_hash="0x00",
        log_index=0,
    )


@pytest.fixture
def facts() -> LeaseFacts:
    opened = event("Opened", lease_id=LEASE, renter=RENTER, provider=PROVIDER, terms=TERMS)
    return replace(opened_lease(opened), committed_at=START)


@pytest.mark.parametrize(
    ("pending", "paid", "stopped", "payable"),
    [
        (5, 0, False, True),  # less than what is free of the reserve
        (9, 7, False, False),  # only reserve is left
        (9, 6, False, True),
        (10, 7, False, True),  # the final checkpoint is there
        (9, 7, True, True),  # the renter has stopped: this was the last one
        (5, 5, False, False),
    ],
)
def test_when_a_commit_matures_then_reserve_counts_only_with_a_final_checkpoint(
    facts: LeaseFacts, pending: int, paid: int, stopped: bool, payable: bool
) -> None:
    lease = replace(
        facts,
        pending_segments=pending,
        paid_segments=paid,
        stopped_at=START if stopped else None,
    )

    assert matures_at(lease) == (START + timedelta(seconds=100) if payable else None)


def test_when_checkpoints_cannot_be_fetched_then_their_segments_wait_no_more(
    facts: LeaseFacts,
) -> None:
    lease = replace(facts, pending_segments=5, paid_segments=1)

    after = apply_lease(lease, event("Unretrievable", lease_id=LEASE, good_segments=2))

    assert after == replace(lease, pending_segments=2, is_unretrievable=True)
    assert closable_after(after) == lease.started_at, "anybody may close, once nothing waits"


def test_when_checkpoints_cannot_be_fetched_then_a_stop_releases_no_reserve(
    facts: LeaseFacts,
) -> None:
    lease = replace(facts, pending_segments=9, stopped_at=START)

    assert payable_segments(lease) == 9
    assert payable_segments(replace(lease, is_unretrievable=True)) == 7


def test_when_an_attestation_ends_a_dispute_then_the_clock_goes_on(facts: LeaseFacts) -> None:
    lease = replace(facts, pending_segments=5, stopped_at=START)
    demanded = event("DataDemanded", lease_id=LEASE, demander=OTHER, segment=3, bond="2")
    attested = replace(
        event("Unretrievable", lease_id=LEASE, good_segments=2), block_at=START + FROZEN
    )

    disputed = apply_lease(lease, demanded)
    after = apply_lease(disputed, attested)

    assert (disputed.state, disputed.disputed_at) == (LeaseState.DISPUTED, START)
    assert after == replace(
        lease,
        pending_segments=2,
        is_unretrievable=True,
        started_at=START + FROZEN,
        committed_at=START + FROZEN,
        stopped_at=START + FROZEN,
    )


def test_when_fraud_is_proved_late_then_free_and_unbonding_stake_shrink() -> None:
    held = StakeFacts(provider=PROVIDER, token=TOKEN, total=100, locked=30, unbonding=60)
    late = event("LateFraud", lease_id=LEASE, good_segments=1, slashed_to_renter="50", owed="7")

    after = apply_stake(held, late, TERMS)

    assert after == replace(held, total=50, unbonding=20, owed=7)
    paid = event("LatePaid", lease_id=LEASE, slashed_to_renter="5", owed="2")
    assert apply_stake(after, paid, TERMS) == replace(held, total=45, unbonding=15, owed=2)
    assert {subject.kind for subject in subjects(late, TERMS)} == {
        SubjectKind.LEASE,
        SubjectKind.STAKE,
    }


@pytest.mark.parametrize("name", ["CapacitySet", "NoncesCancelled"])
def test_when_a_listing_is_limited_then_its_facts_stay(name: str) -> None:
    listing = ListingFacts(
        listing_id="0x02",
        provider=PROVIDER,
        operator=PROVIDER,
        hardware_class="0x03",
        machine_hash="0x04",
        token=TOKEN,
        max_price_per_hour=1,
        document="0x05",
        active=True,
        listed_block=1,
        listed_at=START,
    )

    assert apply_listing(listing, event(name, listing_id="0x02")) == listing
