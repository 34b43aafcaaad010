"""What the chain's events say about the money of one lease.

Pure: events in, amounts out. Amounts are in the smallest unit of the lease's token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from client_sdk.protocol.terms import Terms
from contracts.events import (
    BondReturned,
    Challenged,
    CloseCause,
    Closed,
    Committed,
    DataDemanded,
    DisputeTimedOut,
    Event,
    LateFraud,
    LatePaid,
    Opened,
    RelayerPaid,
    Ruled,
    Settled,
    Stopped,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """One movement of money, for people."""

    what: str
    to: str
    """Account that was credited; empty for shares, which accrue until somebody collects them."""
    amount: int
    tx_hash: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Everything that happened to the money of one lease so far."""

    funded: int
    """What the renter put in."""
    relay_fee: int
    """What it paid besides, to whoever sent the opening for it."""
    paid: int
    """What was taken from it for segments: to provider, treasury and audit pool together."""
    refunded: int
    """What the renter got back of it."""
    slashed: int
    """Part of the provider's bond that went to the renter."""
    paid_segments: int
    committed_segments: int
    num_commits: int
    cause: CloseCause | None
    """Why the lease was closed; None while it is open."""
    closed_block: int | None
    """Block of the closing."""
    stopped_at: int | None
    """Block time of the renter's stop."""
    challenged: bool
    movements: tuple[Movement, ...]

    @property
    def held(self) -> int:
        """What the escrow still holds of the renter's money."""
        return self.funded - self.paid - self.refunded


def account_of(terms: Terms, events: Iterable[Event]) -> Account:
    """Add up the events of one lease, given in the order of the chain."""
    moved: list[Movement] = []
    funded = relay_fee = paid = refunded = slashed = paid_segments = committed = commits = 0
    cause: CloseCause | None = None
    closed_block: int | None = None
    stopped_at: int | None = None
    challenged = False
    for event in events:
        if isinstance(event, Opened):
            funded = terms.cost
            moved.append(_move("funded by the renter", terms.renter, funded, event))
        elif isinstance(event, RelayerPaid):
            relay_fee += event.amount
            moved.append(_move("relay fee", event.relayer, event.amount, event))
        elif isinstance(event, Committed):
            committed, commits = event.up_to, commits + 1
        elif isinstance(event, Settled | DisputeTimedOut):
            paid += event.to_provider + event.to_treasury + event.to_audit_pool
            moved += _shares(terms, event)
            if isinstance(event, Settled):
                paid_segments = event.paid_segments  # the new total, not an addition
        elif isinstance(event, Closed):
            cause, closed_block = event.cause, event.block_number
            refunded += event.refund
            paid_segments = event.paid_segments
            if event.refund:
                moved.append(_move("refund", terms.renter, event.refund, event))
        elif isinstance(event, Stopped):
            stopped_at = event.stopped_at
        elif isinstance(event, Challenged | DataDemanded):
            challenged = True
        elif isinstance(event, BondReturned):
            moved.append(_move("challenge bond back", event.challenger, event.amount, event))
        elif isinstance(event, Ruled) and event.fraud:
            slashed += event.slashed_to_renter
            moved.append(_move("slashed stake", terms.renter, event.slashed_to_renter, event))
            reward = event.slashed_to_challenger
            moved.append(_move("challenger's reward", event.challenger, reward, event))
        elif isinstance(event, LateFraud | LatePaid):
            slashed += event.slashed_to_renter
            moved.append(_move("slashed stake", terms.renter, event.slashed_to_renter, event))
    return Account(
        funded=funded,
        relay_fee=relay_fee,
        paid=paid,
        refunded=refunded,
        slashed=slashed,
        paid_segments=paid_segments,
        committed_segments=committed,
        num_commits=commits,
        cause=cause,
        closed_block=closed_block,
        stopped_at=stopped_at,
        challenged=challenged,
        movements=tuple(moved),
    )


def _shares(terms: Terms, event: Settled | DisputeTimedOut) -> list[Movement]:
    shares = (
        ("paid to the provider", terms.provider, event.to_provider),
        ("market fee", "", event.to_treasury),
        ("auditors' share", "", event.to_audit_pool),
    )
    return [_move(what, to, amount, event) for what, to, amount in shares if amount]


def _move(what: str, to: str, amount: int, event: Event) -> Movement:
    return Movement(what=what, to=to, amount=amount, tx_hash=event.tx_hash)
