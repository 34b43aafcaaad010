"""Reputation is what the events say, lease by lease."""

from __future__ import annotations

from typing import Any

import pytest

from client_sdk.protocol.terms import Terms
from contracts.bindings import Reputation
from contracts.events import CloseCause, Closed, LateFraud, Opened, Settled
from contracts.reputation import _one_more, reputations

PROVIDER, TOKEN, OTHER = ("0x" + digit * 40 for digit in "234")
WHERE: dict[str, Any] = {
    "block_number": 1,
    "block_hash": bytes(32),
    "tx_hash": bytes(32),
    "log_index": 0,
}


def opened(lease: int, **changes: Any) -> Opened:
    fields: dict[str, Any] = {
        "renter": OTHER,
        "provider": PROVIDER,
        "operator": OTHER,
        "token": TOKEN,
        "arbiter": OTHER,
        "listing_id": bytes(32),
        "machine_hash": bytes(32),
        "job_hash": bytes(32),
        "price_per_segment": 100,
        "bond": 50,
        "segments": 3,
        "fee_bps": 0,
        "audit_bps": 0,
        "window": 60,
        "commit_grace": 60,
        "dispute_timeout": 60,
        "open_by": 1,
        "first_commit_within": 1,
        "max_duration": 1,
        "min_segment_seconds": 1,
        "nonce": lease,
    }
    terms = Terms(**(fields | changes))
    return Opened(
        lease_id=lease.to_bytes(32, "big"),
        renter=terms.renter,
        provider=terms.provider,
        terms=terms.abi_tuple(),
        **WHERE,
    )


def settled(lease: int, *parts: int) -> Settled:
    to_provider, to_treasury, to_audit_pool = parts
    return Settled(
        lease_id=lease.to_bytes(32, "big"),
        paid_segments=1,
        to_provider=to_provider,
        to_treasury=to_treasury,
        to_audit_pool=to_audit_pool,
        **WHERE,
    )


def closed(lease: int, cause: CloseCause) -> Closed:
    return Closed(
        lease_id=lease.to_bytes(32, "big"), cause=cause, paid_segments=0, refund=0, **WHERE
    )


def test_when_segments_are_paid_then_shares_count_as_proved_too() -> None:
    found = reputations([opened(1), settled(1, 90, 7, 3), settled(1, 90, 7, 3)])
    assert found == {(PROVIDER, TOKEN): Reputation(proved=200)}


def test_when_vouchers_pay_then_nothing_is_proved() -> None:
    found = reputations([opened(1, window=0), settled(1, 90, 7, 3)])
    assert found == {(PROVIDER, TOKEN): Reputation()}


@pytest.mark.parametrize(
    ("cause", "counted"),
    [
        (CloseCause.COMPLETED, Reputation(completed=1)),
        (CloseCause.PROVIDER_CLOSED, Reputation()),
        (CloseCause.RENTER_STOPPED, Reputation()),
        (CloseCause.NEVER_COMMITTED, Reputation(lost=1)),
        (CloseCause.EXPIRED, Reputation()),
        (CloseCause.FRAUD, Reputation(slashed=1)),
        (CloseCause.DISPUTE_TIMED_OUT, Reputation()),
        (CloseCause.UNRETRIEVABLE, Reputation(lost=1)),
        (CloseCause.ACCEPTANCE_FAILED, Reputation(lost=1)),
    ],
)
def test_when_a_lease_ends_then_its_cause_counts_if_it_had_a_bond(
    cause: CloseCause, counted: Reputation
) -> None:
    assert reputations([opened(1), closed(1, cause)]) == {(PROVIDER, TOKEN): counted}
    assert reputations([opened(1, bond=0), closed(1, cause)]) == {(PROVIDER, TOKEN): Reputation()}


def test_when_fraud_is_ruled_late_then_it_counts_beside_the_ending() -> None:
    late = LateFraud(
        lease_id=(1).to_bytes(32, "big"), good_segments=1, slashed_to_renter=0, owed=50, **WHERE
    )
    done = closed(1, CloseCause.COMPLETED)
    assert reputations([opened(1), done, late]) == {
        (PROVIDER, TOKEN): Reputation(completed=1, slashed=1)
    }
    assert reputations([opened(1, bond=0), late]) == {(PROVIDER, TOKEN): Reputation()}


def test_when_a_counter_is_full_then_it_stays_as_the_contracts_does() -> None:
    assert [_one_more(count) for count in (2**24 - 2, 2**24 - 1)] == [2**24 - 1] * 2


def test_when_providers_and_tokens_differ_then_each_has_its_own() -> None:
    found = reputations(
        [
            opened(1),
            opened(2, provider=OTHER),
            opened(3, token=OTHER),
            settled(1, 1, 0, 0),
            settled(2, 2, 0, 0),
            settled(3, 3, 0, 0),
        ]
    )
    assert {key: value.proved for key, value in found.items()} == {
        (PROVIDER, TOKEN): 1,
        (OTHER, TOKEN): 2,
        (PROVIDER, OTHER): 3,
    }


def test_when_a_leases_opening_is_missing_then_it_is_an_error() -> None:
    with pytest.raises(KeyError):
        reputations([settled(1, 1, 0, 0)])
