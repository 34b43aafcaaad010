"""Which transaction a lease needs next, decided from what the chain says and what is verified.

Pure: the same facts give the same move, so a restarted worker goes on where it was. The rules are
those of ``LeaseEscrow``: a commit pays what has matured and restarts the window of what has not, so
a worker commits at most once per window, and once more at the end; after a stop only one commit is
left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from client_sdk.protocol.terms import Terms

#: Slack, in seconds of block time, before a deadline that must not be missed.
DEADLINE_MARGIN_S: Final = 4
#: How long after an unanswered dispute's deadline the provider itself ends it.
TIMEOUT_SLACK_S: Final = 10


class MoveKind(StrEnum):
    """What to do next."""

    NONE = "none"  # nothing now; look again later
    COMMIT = "commit"  # commit segments up to ``up_to``; pays what has matured
    SETTLE = "settle"  # pay what has matured
    SETTLE_VOUCHER = "settle_voucher"  # claim ``up_to`` segments of a metered lease
    REJECT = "reject"  # end the lease by the signed report on a failed probe; all is refunded
    CLOSE = "close"  # end the lease; pays what has matured, refunds the rest
    TIMEOUT = "timeout"  # end a dispute that nobody ruled


@dataclass(frozen=True, slots=True)
class Move:
    """One decision."""

    kind: MoveKind
    up_to: int = 0


class LeaseState(Protocol):
    """What the contract knows of a lease."""

    @property
    def paid(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def opened_at(self) -> int: ...
    @property
    def committed_at(self) -> int: ...
    @property
    def stopped_at(self) -> int: ...
    @property
    def is_unretrievable(self) -> bool: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the worker knows of a lease.

    Attributes
    ----------
    verified
        Finished segments whose state was verified; metered: whole segments that ran.
    ended
        Whether no more segments will come.
    now
        Time of the latest block.
    voucher
        Segments that the renter's newest voucher covers (metered only).
    gave_up
        Whether waiting for a last voucher has lasted long enough (metered only).
    failed_probe
        Whether a failed probe of the machine is signed: nothing of the renter's ran.
    """

    verified: int
    ended: bool
    now: int
    voucher: int = 0
    gave_up: bool = False
    failed_probe: bool = False


_NOTHING: Final = Move(MoveKind.NONE)


def matures_at(terms: Terms, lease: LeaseState) -> int:
    """Block time from which the committed segments can be paid."""
    return lease.committed_at + terms.window


def commit_deadline(terms: Terms, lease: LeaseState) -> int:
    """Last block time at which a commit is taken; zero when none is left.

    Of a metered lease nothing is committed.
    """
    if lease.stopped_at:
        made = lease.committed_at > lease.stopped_at
        return 0 if made else lease.stopped_at + terms.commit_grace
    first = min(terms.first_commit_within, terms.max_duration)
    return lease.opened_at + (terms.max_duration if lease.committed_at else first)


def committable(terms: Terms, lease: LeaseState, verified: int, now: int) -> int:
    """How many of the verified segments the contract would take now."""
    most = min(verified, terms.segments)
    if not terms.min_segment_seconds:
        return most
    elapsed = now - lease.opened_at
    if lease.stopped_at:
        elapsed = lease.stopped_at - lease.opened_at + terms.min_segment_seconds
    return min(most, max(0, elapsed) // terms.min_segment_seconds)


def next_move(terms: Terms, lease: LeaseState, facts: Facts) -> Move:
    """Decide for a lease that is active (neither disputed nor closed)."""
    # A voucher, too, is work that was taken.
    if facts.failed_probe and not lease.committed_at:
        return Move(MoveKind.REJECT)
    if terms.metered:
        return _next_metered(terms, lease, facts)
    if lease.is_unretrievable:
        # Nothing is taken any more; what stays waits for its window.
        waits = lease.pending > lease.paid and facts.now < matures_at(terms, lease)
        return _NOTHING if waits else Move(MoveKind.CLOSE)
    up_to = committable(terms, lease, facts.verified, facts.now)
    deadline = commit_deadline(terms, lease)
    in_time = facts.now <= deadline
    if up_to > lease.pending and in_time and _commit_due(terms, lease, facts, deadline):
        return Move(MoveKind.COMMIT, up_to)
    waiting = facts.ended and in_time and min(facts.verified, terms.segments) > lease.pending
    if lease.pending > lease.paid:
        # While more can still be committed, the next commit pays and saves this transaction.
        if facts.now < matures_at(terms, lease):
            return _NOTHING
        return Move(MoveKind.SETTLE) if waiting or not facts.ended else Move(MoveKind.CLOSE)
    return Move(MoveKind.CLOSE) if facts.ended and not waiting else _NOTHING


def _commit_due(terms: Terms, lease: LeaseState, facts: Facts, deadline: int) -> bool:
    near_deadline = facts.now >= deadline - DEADLINE_MARGIN_S
    if facts.ended or near_deadline:
        return True
    if lease.stopped_at:
        return False  # the one commit that is left waits for the segment that is running
    return lease.pending == lease.paid or facts.now >= matures_at(terms, lease)


def _next_metered(terms: Terms, lease: LeaseState, facts: Facts) -> Move:
    payable = min(facts.voucher, terms.segments)
    if payable > lease.paid and (facts.ended or payable == terms.segments):
        return Move(MoveKind.SETTLE_VOUCHER, payable)
    if facts.ended and (facts.voucher >= facts.verified or facts.gave_up):
        return Move(MoveKind.CLOSE)
    return _NOTHING
