"""What events mean: listings, stakes, leases and credits as folds over the events that touch them.

Each ``apply_*`` takes the facts so far (nothing before the first event) and one event, in chain
order, and returns the facts after it. Folding all events of a subject from the start gives its
facts at any block; so the follower builds its tables, and rebuilds them after a reorganisation.

Source: the events of ``ILeaseEscrow``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from client_sdk.protocol.states import LeaseState, advance
from marketplace.clock import from_timestamp
from marketplace.domain.events import CHALLENGES, EventRecord

ZERO_ROOT: Final = "0x" + "00" * 32
CAUSE_FRAUD: Final = 5


class SubjectKind(StrEnum):
    """What an event can change."""

    LISTING = "listing"  # keyed by listing id
    STAKE = "stake"  # keyed by provider and token, "provider:token"
    LEASE = "lease"  # keyed by lease id


@dataclass(frozen=True, slots=True)
class Subject:
    """One row that an event changes."""

    kind: SubjectKind
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingFacts:
    """A machine on the market."""

    listing_id: str
    provider: str
    operator: str
    hardware_class: str
    machine_hash: str
    token: str
    max_price_per_hour: int
    document: str
    active: bool
    listed_block: int
    listed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StakeFacts:
    """A provider's deposit in one token."""

    provider: str
    token: str
    total: int = 0
    locked: int = 0
    unbonding: int = 0
    claimable_at: datetime | None = None
    owed: int = 0
    """What late rulings have still to take; can be more than there is."""

    @property
    def lasting(self) -> int:
        """What is neither on its way out nor owed: the most that the bond of a lease can be."""
        return max(0, self.total - self.unbonding - self.owed)

    @property
    def free(self) -> int:
        """What a new lease can lock."""
        return max(0, self.lasting - self.locked)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseFacts:
    """Progress of one lease.

    ``started_at``, ``committed_at`` and ``stopped_at`` are on the lease's clock, which stands still
    during a dispute.
    """

    lease_id: str
    renter: str
    provider: str
    operator: str
    token: str
    listing_id: str
    terms: Mapping[str, Any]
    state: LeaseState
    opened_block: int
    opened_at: datetime
    opened_tx: str
    started_at: datetime
    paid_segments: int = 0
    pending_segments: int = 0
    root: str = ZERO_ROOT
    is_unretrievable: bool = False
    committed_at: datetime | None = None
    stopped_at: datetime | None = None
    disputed_at: datetime | None = None
    closed_block: int | None = None
    closed_at: datetime | None = None
    closed_tx: str | None = None
    cause: int | None = None
    refund: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One change of an account's credit; negative when money left the contract."""

    token: str
    account: str
    delta: int
    reason: str
    lease_id: str | None = None


def subjects(event: EventRecord, terms: Mapping[str, Any] | None) -> Iterator[Subject]:
    """Name the rows that an event changes.

    Parameters
    ----------
    event
        The event.
    terms
        Terms of the event's lease, if it is about one.
    """
    if "listing_id" in event.args:
        yield Subject(SubjectKind.LISTING, event.text("listing_id"))
    if event.name in ("Staked", "UnbondStarted", "UnbondClaimed"):
        yield Subject(SubjectKind.STAKE, f"{event.args['provider']}:{event.args['token']}")
    if event.lease_id is None or terms is None:
        return
    yield Subject(SubjectKind.LEASE, event.lease_id)
    if event.name in ("Opened", "Closed", "Ruled", "LateFraud", "LatePaid"):
        key = f"{terms['provider']}:{terms['token']}".lower()
        yield Subject(SubjectKind.STAKE, key)


def apply_listing(facts: ListingFacts | None, event: EventRecord) -> ListingFacts:
    """Return the listing after an event."""
    if event.name == "Listed":
        return ListingFacts(
            listing_id=event.text("listing_id"),
            provider=event.text("provider"),
            operator=event.text("operator"),
            hardware_class=event.text("hardware_class"),
            machine_hash=event.text("machine_hash"),
            token=event.text("token"),
            max_price_per_hour=event.amount("max_price_per_hour"),
            document=event.text("document"),
            active=True,
            listed_block=event.block_number,
            listed_at=event.block_at,
        )
    assert facts is not None, f"{event.name} before Listed"
    if event.name == "Repriced":
        return replace(facts, max_price_per_hour=event.amount("max_price_per_hour"))
    if event.name == "OperatorSet":
        return replace(facts, operator=event.text("operator"))
    if event.name == "Delisted":
        return replace(facts, active=False)
    # Limits and cancelled nonces are checked by the contract alone.
    assert event.name in ("CapacitySet", "NoncesCancelled"), event.name
    return facts


def apply_stake(
    facts: StakeFacts, event: EventRecord, terms: Mapping[str, Any] | None
) -> StakeFacts:
    """Return the stake after an event; ``terms`` are those of the event's lease, if any."""
    if event.name == "Staked":
        return replace(facts, total=facts.total + event.amount("amount"))
    if event.name == "UnbondStarted":
        claimable = from_timestamp(int(event.args["claimable_at"]))
        return replace(facts, unbonding=event.amount("unbonding"), claimable_at=claimable)
    if event.name == "UnbondClaimed":
        total = facts.total - event.amount("amount")
        return replace(facts, total=total, unbonding=0, claimable_at=None)
    assert terms is not None, event.name
    bond = int(terms["bond"])
    if event.name == "Opened":
        return replace(facts, locked=facts.locked + bond)
    if event.name == "Ruled" and event.args["fraud"]:
        slash = event.amount("slashed_to_renter") + event.amount("slashed_to_challenger")
        return replace(facts, total=facts.total - slash, locked=facts.locked - slash)
    if event.name == "LateFraud":
        facts = replace(facts, owed=facts.owed + event.amount("owed"))
        return _slashed_late(facts, event.amount("slashed_to_renter"))
    if event.name == "LatePaid":
        slash = event.amount("slashed_to_renter")
        return _slashed_late(replace(facts, owed=facts.owed - slash), slash)
    if event.name == "Closed" and event.args["cause"] != CAUSE_FRAUD:
        return replace(facts, locked=facts.locked - bond)
    return facts


def _slashed_late(facts: StakeFacts, slash: int) -> StakeFacts:
    total = facts.total - slash
    # It reaches what is unbonding as well, and nothing that backs a live lease.
    return replace(facts, total=total, unbonding=min(facts.unbonding, total - facts.locked))


def opened_lease(event: EventRecord) -> LeaseFacts:
    """Return the lease that an ``Opened`` event starts."""
    terms = event.args["terms"]
    return LeaseFacts(
        lease_id=event.text("lease_id"),
        renter=event.text("renter"),
        provider=event.text("provider"),
        operator=str(terms["operator"]).lower(),
        token=str(terms["token"]).lower(),
        listing_id=str(terms["listing_id"]),
        terms=terms,
        state=LeaseState.ACTIVE,
        opened_block=event.block_number,
        opened_at=event.block_at,
        opened_tx=event.tx_hash,
        started_at=event.block_at,
    )


def apply_lease(facts: LeaseFacts | None, event: EventRecord) -> LeaseFacts:
    """Return the lease after an event.

    Raises
    ------
    IllegalTransition
        The contract never says this of a lease in this state.
    """
    if event.name == "Opened":
        return opened_lease(event)
    assert facts is not None, f"{event.name} before Opened"
    if event.name == "Committed":
        # The contract tells the final commit by its time being later than the stop.
        in_block_of_stop = facts.stopped_at == event.block_at
        return replace(
            facts,
            pending_segments=int(event.args["up_to"]),
            root=event.text("root"),
            committed_at=event.block_at + timedelta(seconds=int(in_block_of_stop)),
        )
    if event.name == "Settled":
        paid = int(event.args["paid_segments"])
        # A voucher pays segments that were never committed.
        return replace(
            facts, paid_segments=paid, pending_segments=max(paid, facts.pending_segments)
        )
    if event.name == "Stopped":
        return replace(facts, stopped_at=from_timestamp(int(event.args["stopped_at"])))
    if event.name in CHALLENGES and facts.state is LeaseState.ACTIVE:
        disputed = advance(facts.state, LeaseState.DISPUTED)
        return replace(facts, state=disputed, disputed_at=event.block_at)
    if event.name == "Unretrievable":
        if facts.state is LeaseState.DISPUTED:
            facts = _resumed(facts, event)
        good = int(event.args["good_segments"])
        return replace(facts, pending_segments=good, is_unretrievable=True)
    if event.name == "Ruled" and not event.args["fraud"]:
        return _resumed(facts, event)
    if event.name == "Closed":
        return replace(
            facts,
            state=advance(facts.state, LeaseState.CLOSED),
            closed_block=event.block_number,
            closed_at=event.block_at,
            closed_tx=event.tx_hash,
            cause=int(event.args["cause"]),
            refund=event.amount("refund"),
            disputed_at=None,
        )
    return facts


def _resumed(facts: LeaseFacts, event: EventRecord) -> LeaseFacts:
    active = advance(facts.state, LeaseState.ACTIVE)
    assert facts.disputed_at is not None, "a dispute has a beginning"
    frozen = event.block_at - facts.disputed_at
    return replace(
        facts,
        state=active,
        disputed_at=None,
        started_at=facts.started_at + frozen,
        committed_at=facts.committed_at + frozen if facts.committed_at else None,
        stopped_at=facts.stopped_at + frozen if facts.stopped_at else None,
    )


def postings(event: EventRecord, terms: Mapping[str, Any] | None) -> Iterator[Posting]:
    """Name the changes of credit that an event stands for; changes by nothing are left out."""
    if event.name == "Withdrawn":
        changes = [(event.text("account"), -event.amount("amount"), "withdrawn")]
        token = event.text("token")
    elif event.name == "UnbondClaimed":
        changes = [(event.text("provider"), event.amount("amount"), "unbonded")]
        token = event.text("token")
    elif event.name == "CreditSpent":
        changes = [(event.text("account"), -event.amount("amount"), "spent")]
        token = event.text("token")
    elif event.name == "Collected":
        changes = [
            (event.text("treasury"), event.amount("to_treasury"), "fees"),
            (event.text("audit_pool"), event.amount("to_audit_pool"), "audit_shares"),
        ]
        token = event.text("token")
    elif terms is not None:
        changes = list(_lease_changes(event, terms))
        token = str(terms["token"]).lower()
    else:
        return
    for account, delta, reason in changes:
        if delta:
            yield Posting(
                token=token, account=account, delta=delta, reason=reason, lease_id=event.lease_id
            )


def _lease_changes(event: EventRecord, terms: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    renter, provider = str(terms["renter"]).lower(), str(terms["provider"]).lower()
    if event.name in ("Settled", "DisputeTimedOut"):
        # The shares accrue, and are credited by `Collected`.
        yield provider, event.amount("to_provider"), "payment"
    elif event.name == "Closed":
        yield renter, event.amount("refund"), "refund"
    elif event.name == "RelayerPaid":
        yield event.text("relayer"), event.amount("amount"), "relay_fee"
    elif event.name == "BondReturned":
        yield event.text("challenger"), event.amount("amount"), "bond_returned"
    elif event.name == "Ruled":
        yield renter, event.amount("slashed_to_renter"), "slash"
        # The audit pool's half of a lost bond accrues like a share.
        yield event.text("challenger"), event.amount("slashed_to_challenger"), "reward"
        yield provider, event.amount("bonds_to_provider"), "challenger_bond"
    elif event.name in ("LateFraud", "LatePaid"):
        yield renter, event.amount("slashed_to_renter"), "slash"


def window_ends_at(facts: LeaseFacts) -> datetime | None:
    """Return when nothing committed can be challenged any more.

    Nothing while a dispute stops the lease's clock, or before the first commit.

    Source: ``LeaseBook._maturesAt``.
    """
    if facts.closed_at is not None:
        return facts.closed_at
    if facts.committed_at is None or facts.state is LeaseState.DISPUTED:
        return None
    return facts.committed_at + timedelta(seconds=int(facts.terms["window"]))


def closable_after(facts: LeaseFacts) -> datetime:
    """Return the time after which anybody may close the lease, on the lease's clock.

    Source: ``Leases._closableAfter``.
    """
    if facts.is_unretrievable:
        return facts.started_at
    terms = facts.terms
    metered = int(terms["window"]) == 0
    grace = timedelta(seconds=int(terms["commit_grace"]))
    if facts.stopped_at is not None:
        final = facts.committed_at is not None and facts.committed_at > facts.stopped_at
        return facts.started_at if final and not metered else facts.stopped_at + grace
    period = int(terms["max_duration"])
    if facts.committed_at is None and not metered:
        period = min(period, int(terms["first_commit_within"]))
    deadline = facts.started_at + timedelta(seconds=period)
    return deadline + grace if metered else deadline


def payable_segments(facts: LeaseFacts) -> int:
    """Return up to where the committed segments are paid once they mature: the reserve only with a
    final checkpoint, and one that can be fetched.

    Source: ``LeaseBook._payable``.
    """
    segments, reserve = int(facts.terms["segments"]), int(facts.terms["reserve_segments"])
    final = facts.pending_segments == segments or facts.stopped_at is not None
    if final and not facts.is_unretrievable:
        return facts.pending_segments
    return max(facts.paid_segments, min(facts.pending_segments, segments - reserve))


def matures_at(facts: LeaseFacts) -> datetime | None:
    """Return when the committed, unpaid segments become payable; nothing when there are none."""
    if facts.committed_at is None or payable_segments(facts) <= facts.paid_segments:
        return None
    return facts.committed_at + timedelta(seconds=int(facts.terms["window"]))
