"""What state a job is in, computed from what is known; nothing is remembered that can be derived.

A reorganisation of the chain may take an opening or a closing back, so a job's state follows the
present facts instead of moving step by step. What such a change may be is stated all the same:
``JOB_MOVES`` and ``JOB_REVISIONS`` are the tables that writing a job's state goes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from client_sdk.protocol.states import (
    JOB_TRANSITIONS,
    JobState,
    LeaseState,
    OrderState,
)
from client_sdk.protocol.verdicts import Verdict, close_cause, final_verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """All that decides the state of a job."""

    order: OrderState
    lease: LeaseState | None = None
    stopped: bool = False
    cause: int | None = None
    """The contract's cause of closing."""
    started: bool = False
    """Whether the operator reported progress or output."""
    reported: Verdict | None = None


_BEFORE_LEASE: Final = {
    OrderState.PENDING: JobState.QUEUED,
    OrderState.CLAIMED: JobState.PREPARING,
    OrderState.TERMS_SIGNED: JobState.PREPARING,
    OrderState.OPENED: JobState.PREPARING,
    OrderState.DECLINED: JobState.FAILED,
    OrderState.WITHDRAWN: JobState.CANCELLED,
    OrderState.EXPIRED: JobState.FAILED,
}
_OF_VERDICT: Final = {
    Verdict.COMPLETED: JobState.COMPLETED,
    Verdict.RENTER_STOPPED: JobState.CANCELLED,
    Verdict.BUDGET_EXHAUSTED: JobState.FAILED,
    Verdict.JOB_FAILED: JobState.FAILED,
    Verdict.PROVIDER_LOST: JobState.FAILED,
    Verdict.PROVIDER_FAULT: JobState.FAILED,
    Verdict.NETWORK_FAULT: JobState.FAILED,
    Verdict.ACCEPTANCE_FAILED: JobState.FAILED,
    Verdict.PROOF_REJECTED: JobState.FAILED,
    Verdict.EXPIRED: JobState.FAILED,
}


def _closure(
    table: Mapping[JobState, frozenset[JobState]],
) -> dict[JobState, frozenset[JobState]]:
    """Return what each state leads to in one move or more."""
    reached = {state: set(after) for state, after in table.items()}
    for middle in table:
        for state in table:
            if middle in reached[state]:
                reached[state] |= reached[middle]
    return {state: frozenset(after - {state}) for state, after in reached.items()}


_UNDER_LEASE: Final = frozenset(JobState) - {JobState.QUEUED}
#: Several moves of the protocol's table at once: a node may see them together, for it reads the
#: chain in batches, and not everything that a worker reports goes to every node.
JOB_MOVES: Final = _closure(JOB_TRANSITIONS)
#: What the chain and the operator's report of the ending may also do: a reorganisation takes a stop
#: or a closing back, a renter opens terms whose order was given up, and a report that comes after
#: the closing may change its verdict. Nothing of this makes a job wait for a worker again.
JOB_REVISIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    state: after
    if state in (JobState.QUEUED, JobState.PREPARING, JobState.RUNNING)
    else after | (_UNDER_LEASE - {state})
    for state, after in JOB_MOVES.items()
}


def job_state(facts: JobFacts) -> tuple[JobState, Verdict | None]:
    """Return the state of a job and, once its lease is closed, the verdict."""
    if facts.lease is None:
        return _BEFORE_LEASE[facts.order], None
    if facts.lease is LeaseState.CLOSED:
        assert facts.cause is not None, "a closed lease has a cause"
        verdict = final_verdict(close_cause(facts.cause), facts.reported)
        return _OF_VERDICT[verdict], verdict
    if facts.stopped:
        return JobState.STOPPING, None
    return (JobState.RUNNING if facts.started else JobState.PREPARING), None
