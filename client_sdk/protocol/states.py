"""States of orders, leases, jobs, attempts, audits and relayed calls, with total transition tables.

Every state has a row in its table; a state without successors is an end. What time or a balance
decides is not stored as a state: an offer's expiry, whether a segment is payable.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from client_sdk.protocol.errors import IllegalTransition


class OrderState(StrEnum):
    """Where a renter's order is, from publication to a funded lease."""

    #: Published; no worker has it yet.
    PENDING = "pending"
    #: A worker fetches and checks the inputs and probes the step time.
    CLAIMED = "claimed"
    #: The operator has signed terms; the renter may open the lease.
    TERMS_SIGNED = "terms_signed"
    #: The lease is open on chain.
    OPENED = "opened"
    #: The worker refused it, with a reason.
    DECLINED = "declined"
    #: The renter took it back.
    WITHDRAWN = "withdrawn"
    #: Its time, or the time to open the lease, ran out.
    EXPIRED = "expired"


class LeaseState(StrEnum):
    """State of a lease on chain; an index derives it from events."""

    #: Funded; the provider works and is paid.
    ACTIVE = "active"
    #: Frozen by a challenge until it is ruled or times out.
    DISPUTED = "disputed"
    #: Ended; nothing is held any more.
    CLOSED = "closed"


class JobState(StrEnum):
    """What a renter sees of a job."""

    #: No worker prepares it yet.
    QUEUED = "queued"
    #: A worker has it: inputs, terms, opening, acceptance check.
    PREPARING = "preparing"
    #: The program runs.
    RUNNING = "running"
    #: A stop is on its way; the running segment may still finish.
    STOPPING = "stopping"
    #: Ended as the program wanted; all that was owed is paid.
    COMPLETED = "completed"
    #: Ended by a fault; the verdict says whose.
    FAILED = "failed"
    #: Ended by the renter.
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """Stage of one execution of a job by a worker; at most one attempt of a job is active."""

    #: Journaled, nothing done yet.
    CREATED = "created"
    #: Fetches and checks the inputs.
    PREPARING = "preparing"
    #: Runs the acceptance check: our probe, none of the renter's code.
    ACCEPTING = "accepting"
    #: Runs the renter's program in the sandbox.
    EXECUTING = "executing"
    #: Commits and answers audits until the last window closes.
    PROVING = "proving"
    #: Uploads what is left and reports the ending.
    UPLOADING = "uploading"
    #: Over, with a verdict.
    FINISHED = "finished"
    #: Given up, with a verdict; another attempt may follow.
    FAILED = "failed"


class AuditKind(StrEnum):
    """Why a segment is executed again."""

    #: The beacon drew it after a commit.
    AUDIT = "audit"
    #: Somebody challenged it on chain; the arbiter decides.
    ARBITRATION = "arbitration"


class AuditState(StrEnum):
    """Where the exchange between auditor, or arbiter, and worker is."""

    #: Drawn or challenged; the auditor waits for inputs.
    ASSIGNED = "assigned"
    #: The worker has handed over the inputs and the key.
    INPUTS_READY = "inputs_ready"
    #: The auditor has signed its result, blind.
    REPORTED = "reported"
    #: The worker has revealed its salt and proofs.
    OPENED = "opened"
    #: Both ended in the same state.
    AGREED = "agreed"
    #: They did not; a challenge follows.
    MISMATCH = "mismatch"
    #: Somebody did not answer in time, or the dispute timed out.
    EXPIRED = "expired"
    #: The arbiter ruled on chain.
    RULED = "ruled"


class RelayState(StrEnum):
    """Where a call is that a marketplace node carries to the chain for its account."""

    #: Taken; not sent yet.
    QUEUED = "queued"
    #: Sent; in no block, or under too few.
    SENT = "sent"
    #: Executed, under enough blocks.
    CONFIRMED = "confirmed"
    #: The contract, or the node's own rule, does not allow it.
    REFUSED = "refused"
    #: Given up after many tries.
    FAILED = "failed"


S = TypeVar("S", OrderState, LeaseState, JobState, AttemptState, AuditState, RelayState)

#: An order that the market holds for withdrawn or expired may still be opened by the renter with
#: terms signed before: the chain is the truth. A reorganisation takes an opening back.
ORDER_TRANSITIONS: Final[Mapping[OrderState, frozenset[OrderState]]] = {
    OrderState.PENDING: frozenset(
        {OrderState.CLAIMED, OrderState.DECLINED, OrderState.WITHDRAWN, OrderState.EXPIRED}
    ),
    OrderState.CLAIMED: frozenset(
        {
            OrderState.PENDING,
            OrderState.TERMS_SIGNED,
            OrderState.DECLINED,
            OrderState.WITHDRAWN,
            OrderState.EXPIRED,
        }
    ),
    OrderState.TERMS_SIGNED: frozenset(
        {OrderState.OPENED, OrderState.WITHDRAWN, OrderState.EXPIRED}
    ),
    OrderState.OPENED: frozenset({OrderState.TERMS_SIGNED}),
    OrderState.DECLINED: frozenset(),
    OrderState.WITHDRAWN: frozenset({OrderState.OPENED}),
    OrderState.EXPIRED: frozenset({OrderState.OPENED}),
}

LEASE_TRANSITIONS: Final[Mapping[LeaseState, frozenset[LeaseState]]] = {
    LeaseState.ACTIVE: frozenset({LeaseState.DISPUTED, LeaseState.CLOSED}),
    LeaseState.DISPUTED: frozenset({LeaseState.ACTIVE, LeaseState.CLOSED}),
    LeaseState.CLOSED: frozenset(),
}

JOB_TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.PREPARING, JobState.FAILED, JobState.CANCELLED}),
    JobState.PREPARING: frozenset(
        {
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.STOPPING,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.PREPARING,
            JobState.STOPPING,
            JobState.COMPLETED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.STOPPING: frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

#: A stage may be followed by the next one, by the upload of what there is, or by giving up.
ATTEMPT_TRANSITIONS: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    AttemptState.CREATED: frozenset({AttemptState.PREPARING, AttemptState.FAILED}),
    AttemptState.PREPARING: frozenset(
        {AttemptState.ACCEPTING, AttemptState.UPLOADING, AttemptState.FAILED}
    ),
    AttemptState.ACCEPTING: frozenset(
        {AttemptState.EXECUTING, AttemptState.UPLOADING, AttemptState.FAILED}
    ),
    AttemptState.EXECUTING: frozenset(
        {AttemptState.PROVING, AttemptState.UPLOADING, AttemptState.FAILED}
    ),
    AttemptState.PROVING: frozenset({AttemptState.UPLOADING, AttemptState.FAILED}),
    AttemptState.UPLOADING: frozenset({AttemptState.FINISHED, AttemptState.FAILED}),
    AttemptState.FINISHED: frozenset(),
    AttemptState.FAILED: frozenset(),
}

#: A ruling on chain may come at any moment of an arbitration: also after the arbiter told the
#: market what it found, or after the market gave it up.
AUDIT_TRANSITIONS: Final[Mapping[AuditState, frozenset[AuditState]]] = {
    AuditState.ASSIGNED: frozenset({AuditState.INPUTS_READY, AuditState.EXPIRED, AuditState.RULED}),
    AuditState.INPUTS_READY: frozenset({AuditState.REPORTED, AuditState.EXPIRED, AuditState.RULED}),
    AuditState.REPORTED: frozenset({AuditState.OPENED, AuditState.EXPIRED, AuditState.RULED}),
    AuditState.OPENED: frozenset(
        {AuditState.AGREED, AuditState.MISMATCH, AuditState.EXPIRED, AuditState.RULED}
    ),
    AuditState.AGREED: frozenset({AuditState.RULED}),
    AuditState.MISMATCH: frozenset({AuditState.EXPIRED, AuditState.RULED}),
    AuditState.EXPIRED: frozenset({AuditState.RULED}),
    AuditState.RULED: frozenset(),
}

#: Audits in which somebody has still to answer.
LIVE_AUDITS: Final = frozenset(
    {AuditState.ASSIGNED, AuditState.INPUTS_READY, AuditState.REPORTED, AuditState.OPENED}
)

#: A reorganisation takes nothing back here: the node sends again what was lost.
RELAY_TRANSITIONS: Final[Mapping[RelayState, frozenset[RelayState]]] = {
    RelayState.QUEUED: frozenset(
        {RelayState.SENT, RelayState.CONFIRMED, RelayState.REFUSED, RelayState.FAILED}
    ),
    RelayState.SENT: frozenset({RelayState.CONFIRMED, RelayState.REFUSED, RelayState.FAILED}),
    RelayState.CONFIRMED: frozenset(),
    RelayState.REFUSED: frozenset(),
    RelayState.FAILED: frozenset(),
}


_TABLES: Final[Mapping[type[StrEnum], Mapping[Any, Any]]] = {
    OrderState: ORDER_TRANSITIONS,
    LeaseState: LEASE_TRANSITIONS,
    JobState: JOB_TRANSITIONS,
    AttemptState: ATTEMPT_TRANSITIONS,
    AuditState: AUDIT_TRANSITIONS,
    RelayState: RELAY_TRANSITIONS,
}


def successors(state: S) -> frozenset[S]:
    """Return the states that may follow ``state``."""
    found: frozenset[S] = _TABLES[type(state)][state]
    return found


def advance(current: S, target: S) -> S:
    """Return ``target`` when it may follow ``current``.

    Raises
    ------
    IllegalTransition
        When there is no such transition; staying in a state is none.
    """
    if target not in successors(current):
        raise IllegalTransition(current, target)
    return target


def is_final(state: S) -> bool:
    """Tell whether nothing can follow ``state``."""
    return not successors(state)
