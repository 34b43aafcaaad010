"""What each event changes, field by field, and from when on a lease may be closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from client_sdk.protocol.states import IllegalTransition, LeaseState
from marketplace.domain.events import EventRecord
from marketplace.domain.ledger import (
    ZERO_ROOT,
    LeaseFacts,
    ListingFacts,
    Posting,
    StakeFacts,
    Subject,
    SubjectKind,
    apply_lease,
    apply_listing,
    apply_stake,
    closable_after,
    matures_at,
    payable_segments,
    postings,
    subjects,
    window_ends_at,
)

LEASE, LISTING, TOKEN = "0x" + "01" * 32, "0x" + "02" * 32, "0x" + "7a" * 20
RENTER, PROVIDER, OPERATOR, OTHER = (f"0x{n}" + "ab" * 19 for n in ("0a", "0b", "0c", "0d"))
START = datetime(2026, 1, 1, tzinfo=UTC)
NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())


def checksummed(address: str) -> str:
    """The same account in the letters of signed terms."""
    return "0x" + address[2:].upper()


TERMS = {
    "renter": checksummed(RENTER),
    "provider": checksummed(PROVIDER),
    "operator": checksummed(OPERATOR),
    "token": checksummed(TOKEN),
    "listing_id": LISTING,
    "bond": 40,
    "segments": 10,
    "reserve_segments": 3,
    "window": 100,
    "commit_grace": 15,
    "first_commit_within": 300,
    "max_duration": 3_000,
}


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def event(name: str, *, after_s: float = 7, **args: Any) -> EventRecord:
    return EventRecord(
        name=name,
        args=args,
        block_number=9,
        block_hash="0x00",
        block_at=later(after_s),
        tx_hash="0x99",
        log_index=0,
    )


def of_lease(name: str, *, after_s: float = 7, **args: Any) -> EventRecord:
    return event(name, after_s=after_s, lease_id=LEASE, **args)


OPENED = of_lease("Opened", after_s=0, renter=RENTER, provider=PROVIDER, terms=TERMS)
ACTIVE = apply_lease(None, OPENED)
DISPUTED = replace(ACTIVE, state=LeaseState.DISPUTED, disputed_at=START, pending_segments=5)
LISTED = ListingFacts(
    listing_id=LISTING,
    provider=PROVIDER,
    operator=OPERATOR,
    hardware_class="0x03",
    machine_hash="0x04",
    token=TOKEN,
    max_price_per_hour=500,
    document="0x05",
    active=True,
    listed_block=9,
    listed_at=later(7),
)
STAKE = StakeFacts(provider=PROVIDER, token=TOKEN, total=100, locked=50, unbonding=30)
RULED = {"challenger": OTHER, "good_segments": 2, "bonds_to_provider": "0"}


# Listings


def test_when_a_machine_is_listed_then_its_facts_are_the_events() -> None:
    listed = event(
        "Listed",
        listing_id=LISTING,
        provider=PROVIDER,
        operator=OPERATOR,
        hardware_class="0x03",
        machine_hash="0x04",
        token=TOKEN,
        max_price_per_hour="500",
        document="0x05",
    )
    assert apply_listing(None, listed) == LISTED


@pytest.mark.parametrize(
    ("happened", "changed"),
    [
        (event("Repriced", listing_id=LISTING, max_price_per_hour="600"),
         {"max_price_per_hour": 600}),
        (event("OperatorSet", listing_id=LISTING, operator=OTHER), {"operator": OTHER}),
        (event("Delisted", listing_id=LISTING), {"active": False}),
    ],
)  # fmt: skip
def test_when_a_listing_changes_then_only_this_does(
    happened: EventRecord, changed: dict[str, Any]
) -> None:
    assert apply_listing(LISTED, happened) == replace(LISTED, **changed)


# Stakes


def test_when_nothing_was_staked_then_a_stake_is_empty() -> None:
    empty = StakeFacts(provider=PROVIDER, token=TOKEN)
    assert (empty.total, empty.locked, empty.unbonding, empty.owed) == (0, 0, 0, 0)
    assert empty.claimable_at is None


@pytest.mark.parametrize(
    ("owed", "lasting", "free"), [(0, 70, 20), (20, 50, 0), (21, 49, 0), (70, 0, 0), (71, 0, 0)]
)
def test_when_stake_is_locked_unbonding_or_owed_then_the_rest_can_back_a_lease(
    owed: int, lasting: int, free: int
) -> None:
    held = replace(STAKE, owed=owed)
    assert (held.lasting, held.free) == (lasting, free)


@pytest.mark.parametrize(
    ("happened", "changed"),
    [
        (event("Staked", provider=PROVIDER, token=TOKEN, amount="5"), {"total": 105}),
        (event("UnbondStarted", provider=PROVIDER, token=TOKEN, unbonding="35",
               claimable_at=NOON),
         {"unbonding": 35, "claimable_at": datetime.fromtimestamp(NOON, UTC)}),
        (event("UnbondClaimed", provider=PROVIDER, token=TOKEN, amount="30"),
         {"total": 70, "unbonding": 0, "claimable_at": None}),
        (OPENED, {"locked": 90}),
        (of_lease("Ruled", fraud=True, slashed_to_renter="20", slashed_to_challenger="10", **RULED),
         {"total": 70, "locked": 20}),
        (of_lease("Ruled", fraud=False, slashed_to_renter="0", slashed_to_challenger="0", **RULED),
         {}),
        (of_lease("LateFraud", good_segments=2, slashed_to_renter="20", owed="6"),
         {"total": 80, "owed": 9}),
        (of_lease("LateFraud", good_segments=2, slashed_to_renter="25", owed="0"),
         {"total": 75, "unbonding": 25}),
        (of_lease("LatePaid", slashed_to_renter="2"), {"total": 98, "owed": 1}),
        (of_lease("LatePaid", slashed_to_renter="3"), {"total": 97, "owed": 0}),
        (of_lease("Closed", cause=1, refund="3"), {"locked": 10}),
        (of_lease("Closed", cause=5, refund="3"), {}),
    ],
)  # fmt: skip
def test_when_a_stake_changes_then_only_this_does(
    happened: EventRecord, changed: dict[str, Any]
) -> None:
    held = replace(STAKE, claimable_at=START, owed=3)
    assert apply_stake(held, happened, TERMS) == replace(held, **changed)


# Leases


def test_when_a_lease_opens_then_its_facts_are_the_events_in_small_letters() -> None:
    opened = apply_lease(None, OPENED)
    assert opened == LeaseFacts(
        lease_id=LEASE,
        renter=RENTER,
        provider=PROVIDER,
        operator=OPERATOR,
        token=TOKEN,
        listing_id=LISTING,
        terms=TERMS,
        state=LeaseState.ACTIVE,
        opened_block=9,
        opened_at=START,
        opened_tx="0x99",
        started_at=START,
        paid_segments=0,
        pending_segments=0,
        root="0x" + "0" * 64,
        is_unretrievable=False,
        refund=0,
    )
    assert opened.root == ZERO_ROOT


@pytest.mark.parametrize(
    ("before", "happened", "changed"),
    [
        ({}, of_lease("Committed", up_to=4, root="0xaa"),
         {"pending_segments": 4, "root": "0xaa", "committed_at": later(7)}),
        ({"stopped_at": later(6)}, of_lease("Committed", up_to=4, root="0xaa"),
         {"pending_segments": 4, "root": "0xaa", "committed_at": later(7)}),
        ({"stopped_at": later(7)}, of_lease("Committed", up_to=4, root="0xaa"),
         {"pending_segments": 4, "root": "0xaa", "committed_at": later(8)}),
        ({"pending_segments": 5}, of_lease("Settled", paid_segments=3), {"paid_segments": 3}),
        ({}, of_lease("Settled", paid_segments=3), {"paid_segments": 3, "pending_segments": 3}),
        ({}, of_lease("Stopped", stopped_at=NOON),
         {"stopped_at": datetime.fromtimestamp(NOON, UTC)}),
        ({}, of_lease("Challenged", challenger=OTHER, segment=1, bond="2"),
         {"state": LeaseState.DISPUTED, "disputed_at": later(7)}),
        ({"pending_segments": 5}, of_lease("Ruled", fraud=True, **RULED), {}),
        ({}, of_lease("RelayerPaid", relayer=OTHER, amount="2"), {}),
        ({}, of_lease("Closed", cause=3, refund="8"),
         {"state": LeaseState.CLOSED, "closed_block": 9, "closed_at": later(7),
          "closed_tx": "0x99", "cause": 3, "refund": 8}),
    ],
)  # fmt: skip
def test_when_an_active_lease_changes_then_only_this_does(
    before: dict[str, Any], happened: EventRecord, changed: dict[str, Any]
) -> None:
    lease = replace(ACTIVE, **before)
    assert apply_lease(lease, happened) == replace(lease, **changed)


def test_when_a_disputed_lease_is_challenged_again_then_the_first_one_counts() -> None:
    again = of_lease("Challenged", challenger=OTHER, segment=0, bond="2")
    assert apply_lease(DISPUTED, again) == DISPUTED


@pytest.mark.parametrize("at", [None, later(-20)])
def test_when_a_ruling_is_honest_then_the_clock_of_the_lease_goes_on(at: datetime | None) -> None:
    lease = replace(DISPUTED, started_at=later(-60), committed_at=at, stopped_at=at)
    moved = at + timedelta(seconds=7) if at else None
    assert apply_lease(lease, of_lease("Ruled", fraud=False, **RULED)) == replace(
        lease,
        state=LeaseState.ACTIVE,
        disputed_at=None,
        started_at=later(-53),
        committed_at=moved,
        stopped_at=moved,
    )


def test_when_a_disputed_lease_is_closed_then_its_dispute_is_over() -> None:
    fraud = of_lease("Ruled", fraud=True, **RULED)
    assert apply_lease(DISPUTED, fraud) == DISPUTED, "its close follows"
    closed = apply_lease(DISPUTED, of_lease("Closed", cause=5, refund="8"))
    assert (closed.state, closed.disputed_at) == (LeaseState.CLOSED, None)
    with pytest.raises(IllegalTransition):
        apply_lease(closed, of_lease("Closed", cause=5, refund="8"))


# Who is touched


@pytest.mark.parametrize(
    ("happened", "touched"),
    [
        (event("Repriced", listing_id=LISTING, max_price_per_hour="6"),
         [Subject(SubjectKind.LISTING, LISTING)]),
        *((event(name, provider=PROVIDER, token=TOKEN, amount="1"),
           [Subject(SubjectKind.STAKE, f"{PROVIDER}:{TOKEN}")])
          for name in ("Staked", "UnbondStarted", "UnbondClaimed")),
        (event("Withdrawn", account=OTHER, token=TOKEN, amount="1"), []),
        (of_lease("Stopped", stopped_at=NOON), [Subject(SubjectKind.LEASE, LEASE)]),
        *((of_lease(name), [Subject(SubjectKind.LEASE, LEASE),
                            Subject(SubjectKind.STAKE, f"{PROVIDER}:{TOKEN}")])
          for name in ("Opened", "Closed", "Ruled", "LateFraud", "LatePaid")),
    ],
)  # fmt: skip
def test_when_something_happens_then_these_rows_are_touched(
    happened: EventRecord, touched: list[Subject]
) -> None:
    assert list(subjects(happened, TERMS)) == touched


def test_when_a_lease_is_not_known_then_only_the_listing_is_touched() -> None:
    assert list(subjects(of_lease("Closed"), None)) == []
    assert [str(kind) for kind in SubjectKind] == ["listing", "stake", "lease"], "stored so"


# Credits


@pytest.mark.parametrize(
    ("happened", "changes"),
    [
        (event("Withdrawn", account=OTHER, token=TOKEN, amount="5"), [(OTHER, -5, "withdrawn")]),
        (event("UnbondClaimed", provider=PROVIDER, token=TOKEN, amount="5"),
         [(PROVIDER, 5, "unbonded")]),
        (event("CreditSpent", account=OTHER, token=TOKEN, amount="5"), [(OTHER, -5, "spent")]),
        (event("Collected", token=TOKEN, treasury=RENTER, to_treasury="6", audit_pool=OTHER,
               to_audit_pool="4"),
         [(RENTER, 6, "fees"), (OTHER, 4, "audit_shares")]),
        (event("Collected", token=TOKEN, treasury=RENTER, to_treasury="6", audit_pool=OTHER,
               to_audit_pool="0"),
         [(RENTER, 6, "fees")]),
        (of_lease("Settled", to_provider="90"), [(PROVIDER, 90, "payment")]),
        (of_lease("DisputeTimedOut", to_provider="90"), [(PROVIDER, 90, "payment")]),
        (of_lease("Closed", refund="8"), [(RENTER, 8, "refund")]),
        (of_lease("Closed", refund="0"), []),
        (of_lease("RelayerPaid", relayer=OTHER, amount="3"), [(OTHER, 3, "relay_fee")]),
        (of_lease("BondReturned", challenger=OTHER, amount="6"), [(OTHER, 6, "bond_returned")]),
        (of_lease("Ruled", challenger=OTHER, slashed_to_renter="9", slashed_to_challenger="3",
                  bonds_to_provider="2"),
         [(RENTER, 9, "slash"), (OTHER, 3, "reward"), (PROVIDER, 2, "challenger_bond")]),
        (of_lease("Ruled", challenger=OTHER, slashed_to_renter="0", slashed_to_challenger="0",
                  bonds_to_provider="2"),
         [(PROVIDER, 2, "challenger_bond")]),
        *((of_lease(name, slashed_to_renter="9"), [(RENTER, 9, "slash")])
          for name in ("LateFraud", "LatePaid")),
        (of_lease("Stopped", stopped_at=NOON), []),
        (event("Delisted", listing_id=LISTING), []),
    ],
)  # fmt: skip
def test_when_credit_moves_then_these_accounts_have_it(
    happened: EventRecord, changes: list[tuple[str, int, str]]
) -> None:
    lease_id = happened.lease_id
    assert list(postings(happened, TERMS if lease_id else None)) == [
        Posting(token=TOKEN, account=account, delta=delta, reason=reason, lease_id=lease_id)
        for account, delta, reason in changes
    ]


# Times


@pytest.mark.parametrize(
    ("facts", "terms", "after_s"),
    [
        ({}, {}, 300),  # no first commit
        ({}, {"first_commit_within": 9_000}, 3_000),
        ({"committed_at": later(20)}, {}, 3_000),
        ({}, {"window": 0}, 3_015),  # metered: vouchers only, and the grace after the end, too
        ({}, {"window": 1}, 300),
        ({"committed_at": later(20)}, {"window": 0}, 3_015),
        ({"stopped_at": later(50)}, {}, 65),
        ({"stopped_at": later(50), "committed_at": later(49)}, {}, 65),
        ({"stopped_at": later(50), "committed_at": later(50)}, {}, 65),
        ({"stopped_at": later(50), "committed_at": later(51)}, {}, 0),  # the final commit is there
        ({"stopped_at": later(50), "committed_at": later(51)}, {"window": 0}, 65),
        ({"stopped_at": later(50), "is_unretrievable": True}, {}, 0),
    ],
)
def test_when_a_lease_is_so_far_then_anybody_may_close_it_after_this_time(
    facts: dict[str, Any], terms: dict[str, Any], after_s: int
) -> None:
    lease = replace(ACTIVE, terms={**TERMS, **terms}, **facts)
    assert closable_after(lease) == later(after_s)


@pytest.mark.parametrize(
    ("facts", "payable"),
    [
        ({"pending_segments": 5}, 5),
        ({"pending_segments": 7}, 7),
        ({"pending_segments": 9}, 7),  # the last three only with the last checkpoint
        ({"pending_segments": 10}, 10),
        ({"pending_segments": 9, "stopped_at": START}, 9),
        ({"pending_segments": 10, "is_unretrievable": True}, 7),
        ({"pending_segments": 9, "paid_segments": 8}, 8),
    ],
)
def test_when_segments_are_committed_then_so_many_are_payable(
    facts: dict[str, Any], payable: int
) -> None:
    assert payable_segments(replace(ACTIVE, **facts)) == payable


def test_when_nothing_is_committed_or_left_then_nothing_matures() -> None:
    assert matures_at(replace(ACTIVE, pending_segments=5)) is None
    committed = replace(ACTIVE, pending_segments=5, committed_at=later(3))
    assert matures_at(committed) == later(103)
    assert matures_at(replace(committed, paid_segments=4)) == later(103)
    assert matures_at(replace(committed, paid_segments=5)) is None


@pytest.mark.parametrize(
    ("facts", "after_s"),
    [
        ({}, None),
        ({"committed_at": later(3)}, 103),
        ({"committed_at": later(3), "state": LeaseState.DISPUTED}, None),
        ({"committed_at": later(3), "closed_at": later(50), "state": LeaseState.CLOSED}, 50),
        ({"closed_at": later(50), "state": LeaseState.CLOSED}, 50),
    ],
)
def test_when_a_commit_was_made_then_it_can_be_challenged_until_its_window_ends(
    facts: dict[str, Any], after_s: int | None
) -> None:
    ends = window_ends_at(replace(ACTIVE, **facts))
    assert ends == (None if after_s is None else later(after_s))
