"""Why a lease ended, what shows it, and who gets what: the total table verdict -> money.

A verdict is about work; the contract only knows causes of closing. :data:`CAUSE_VERDICTS` says
which verdicts each cause allows, so that nobody can dress a fraud up as a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """The classified cause of an ending; the first one given for a lease wins."""

    #: The program ended by its own will, or all segments were done.
    COMPLETED = "completed"
    #: The renter stopped the lease.
    RENTER_STOPPED = "renter_stopped"
    #: The renter's money or vouchers ran out before the program ended.
    BUDGET_EXHAUSTED = "budget_exhausted"
    #: The renter's code failed.
    JOB_FAILED = "job_failed"
    #: The provider went silent.
    PROVIDER_LOST = "provider_lost"
    #: The provider's machine failed, and the provider says so.
    PROVIDER_FAULT = "provider_fault"
    #: The network between the parties, a store, or the arbiter failed.
    NETWORK_FAULT = "network_fault"
    #: The machine is not what its listing says; found before any of the renter's code ran.
    ACCEPTANCE_FAILED = "acceptance_failed"
    #: The arbiter ruled that committed work was not done as agreed.
    PROOF_REJECTED = "proof_rejected"
    #: The longest duration was over.
    EXPIRED = "expired"


class Evidence(StrEnum):
    """What shows that a verdict is right."""

    #: A commit whose last segment is marked final, or that covers all segments.
    FINAL_COMMIT = "final_commit"
    #: The renter's stop on chain.
    STOP_EVENT = "stop_event"
    #: The renter's newest voucher, and that the segments it covers are used up.
    LAST_VOUCHER = "last_voucher"
    #: Exit code of the renter's code, as its worker reports it; its last output goes to the renter.
    EXIT_RECORD = "exit_record"
    #: No commit and no progress signed by the operator until a deadline of the terms.
    SILENCE = "silence"
    #: A statement of the fault signed by the operator.
    OPERATOR_STATEMENT = "operator_statement"
    #: Probe digests of the machine that differ from its hardware class: signed by its operator as a
    #: failed probe, or found by an auditor's repeat.
    PROBE_DIGESTS = "probe_digests"
    #: The arbiter's word on chain that checkpoints cannot be fetched.
    ATTESTATION = "attestation"
    #: The arbiter's ruling on chain.
    RULING = "ruling"
    #: A deadline of the terms, in block time.
    DEADLINE = "deadline"


class Function(StrEnum):
    """Function of the contract that ends the lease."""

    #: Pays matured segments; closes when that was all.
    SETTLE = "settle"
    #: Pays a metered lease up to the renter's voucher.
    SETTLE_VOUCHER = "settleVoucher"
    #: Ends the lease.
    CLOSE = "close"
    #: Ends a lease whose machine failed its probe before any commit.
    REJECT_MACHINE = "rejectMachine"
    #: Rules a dispute.
    RULE = "rule"
    #: Ends a dispute that was not ruled.
    TIMEOUT_DISPUTE = "timeoutDispute"


class Caller(StrEnum):
    """Who may call it."""

    #: Any account.
    ANYONE = "anyone"
    #: The provider or its operator at any time; any account once nothing can be committed any more.
    PROVIDER_FIRST = "provider_first"
    #: The arbiter named in the terms.
    ARBITER = "arbiter"
    #: The arbiter; any account that has the operator's signature.
    ARBITER_OR_SIGNED = "arbiter_or_signed"


class Pay(StrEnum):
    """What the provider is paid."""

    #: Committed segments whose window is over.
    COMMITTED = "committed"
    #: Committed segments, among them at most one that was running at the stop.
    COMMITTED_AND_RUNNING = "committed_and_running"
    #: Segments of the renter's newest voucher.
    VOUCHERED = "vouchered"
    #: Committed segments below the first wrong one.
    GOOD_ONLY = "good_only"
    #: Nothing.
    NOTHING = "nothing"


class Refund(StrEnum):
    """What the renter gets back."""

    #: The price of every segment that was not paid.
    UNPAID = "unpaid"
    #: All of it.
    ALL = "all"
    #: The price of every segment that was not paid, and the bond less the challenger's part.
    UNPAID_AND_BOND = "unpaid_and_bond"


class Bond(StrEnum):
    """What becomes of the provider's bond."""

    #: Free again.
    FREED = "freed"
    #: Lost.
    SLASHED = "slashed"


class Retry(StrEnum):
    """Whether to run the job again, from its last checkpoint."""

    #: No: it ended as it should, or would end the same way.
    NO = "no"
    #: Yes, and the same provider may take it.
    ANY_PROVIDER = "any_provider"
    #: Yes, with another provider.
    OTHER_PROVIDER = "other_provider"


class Family(StrEnum):
    """Whose the ending is; errors of these families are never mixed."""

    #: As planned or as the renter wished.
    ENDED = "ended"
    #: The renter's code or order failed.
    JOB = "job"
    #: The network failed: ours, or the provider's.
    NETWORK = "network"


@dataclass(frozen=True, kw_only=True, slots=True)
class Consequence:
    """One row of the table."""

    family: Family
    #: Any one of these is enough.
    evidence: tuple[Evidence, ...]
    #: Functions that end the lease, and who may call each.
    calls: Mapping[Function, Caller]
    provider: Pay
    renter: Refund
    bond: Bond
    retry: Retry
    #: One sentence for people.
    text: str


_CLOSE: Final[Mapping[Function, Caller]] = {Function.CLOSE: Caller.PROVIDER_FIRST}

CONSEQUENCES: Final[Mapping[Verdict, Consequence]] = {
    Verdict.COMPLETED: Consequence(
        family=Family.ENDED,
        evidence=(Evidence.FINAL_COMMIT, Evidence.LAST_VOUCHER),
        calls={
            Function.SETTLE: Caller.ANYONE,
            Function.SETTLE_VOUCHER: Caller.ANYONE,
            Function.CLOSE: Caller.PROVIDER_FIRST,
        },
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.NO,
        text="The job is done; its segments are paid and the rest is refunded.",
    ),
    Verdict.RENTER_STOPPED: Consequence(
        family=Family.ENDED,
        evidence=(Evidence.STOP_EVENT, Evidence.LAST_VOUCHER),
        calls={Function.SETTLE_VOUCHER: Caller.ANYONE, **_CLOSE},
        provider=Pay.COMMITTED_AND_RUNNING,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.NO,
        text="You stopped the job; finished segments and at most the running one are paid.",
    ),
    Verdict.BUDGET_EXHAUSTED: Consequence(
        family=Family.JOB,
        evidence=(Evidence.LAST_VOUCHER, Evidence.FINAL_COMMIT),
        calls={
            Function.SETTLE: Caller.ANYONE,
            Function.SETTLE_VOUCHER: Caller.ANYONE,
            **_CLOSE,
        },
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.NO,
        text="The money or the vouchers ran out before the program ended; run it again from its "
        "last checkpoint with a larger budget.",
    ),
    Verdict.JOB_FAILED: Consequence(
        family=Family.JOB,
        evidence=(Evidence.EXIT_RECORD,),
        calls={Function.SETTLE_VOUCHER: Caller.ANYONE, **_CLOSE},
        # The failed segment has no state to commit to, and a failure is no proof: a program can end
        # itself in any way, and once at the provider's and never at an auditor's. Its provider
        # bears it, and bounds it: `worker_agent.losses`.
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.NO,
        text="Your code failed; finished segments are paid, the failing one and the rest are "
        "refunded. The last lines of its output say why.",
    ),
    Verdict.PROVIDER_LOST: Consequence(
        family=Family.NETWORK,
        evidence=(Evidence.SILENCE,),
        calls={Function.SETTLE_VOUCHER: Caller.ANYONE, **_CLOSE},
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.OTHER_PROVIDER,
        text="The provider went silent; it is paid for what it committed, loses the segment it was "
        "working on, and the rest is refunded.",
    ),
    Verdict.PROVIDER_FAULT: Consequence(
        family=Family.NETWORK,
        # With an attestation anybody may close, and none of the reserve is paid.
        evidence=(Evidence.OPERATOR_STATEMENT, Evidence.ATTESTATION),
        calls={Function.SETTLE_VOUCHER: Caller.ANYONE, **_CLOSE},
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.OTHER_PROVIDER,
        text="The provider's machine failed; committed segments whose checkpoints can be fetched "
        "are paid, the one it was working on is not, and the rest is refunded.",
    ),
    Verdict.NETWORK_FAULT: Consequence(
        family=Family.NETWORK,
        evidence=(Evidence.OPERATOR_STATEMENT, Evidence.DEADLINE),
        calls={
            Function.SETTLE_VOUCHER: Caller.ANYONE,
            Function.TIMEOUT_DISPUTE: Caller.ANYONE,
            **_CLOSE,
        },
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.ANY_PROVIDER,
        text="A store, the chain or the arbiter could not be reached; committed segments are paid "
        "(half of those that an unruled dispute left open) and the rest is refunded.",
    ),
    Verdict.ACCEPTANCE_FAILED: Consequence(
        family=Family.NETWORK,
        evidence=(Evidence.PROBE_DIGESTS,),
        calls={Function.REJECT_MACHINE: Caller.ARBITER_OR_SIGNED, **_CLOSE},
        provider=Pay.NOTHING,
        renter=Refund.ALL,
        bond=Bond.FREED,
        retry=Retry.OTHER_PROVIDER,
        text="The machine is not what its listing says; nothing of yours ran, and all is refunded.",
    ),
    Verdict.PROOF_REJECTED: Consequence(
        family=Family.NETWORK,
        evidence=(Evidence.RULING,),
        calls={Function.RULE: Caller.ARBITER},
        provider=Pay.GOOD_ONLY,
        renter=Refund.UNPAID_AND_BOND,
        bond=Bond.SLASHED,
        retry=Retry.OTHER_PROVIDER,
        text="The provider's work was found wrong; what was not yet paid is refunded, and the "
        "provider's bond is yours, less the challenger's part.",
    ),
    Verdict.EXPIRED: Consequence(
        family=Family.JOB,
        evidence=(Evidence.DEADLINE,),
        calls={
            Function.SETTLE_VOUCHER: Caller.ANYONE,
            Function.CLOSE: Caller.ANYONE,
        },
        provider=Pay.COMMITTED,
        renter=Refund.UNPAID,
        bond=Bond.FREED,
        retry=Retry.NO,
        text="The longest duration was over; committed segments are paid and the rest is refunded. "
        "Run it again from its last checkpoint with a longer one.",
    ),
}


class CloseCause(StrEnum):
    """Why the contract closed a lease, in the order of its own enumeration."""

    #: All segments were paid.
    COMPLETED = "completed"
    #: The provider gave up the rest: what it had not committed or, metered, been paid for.
    PROVIDER_CLOSED = "provider_closed"
    #: The renter had stopped the lease.
    RENTER_STOPPED = "renter_stopped"
    #: Nothing was committed: not in time, or the provider gave up before. Never when metered.
    NEVER_COMMITTED = "never_committed"
    #: The longest duration was over.
    EXPIRED = "expired"
    #: The arbiter ruled fraud.
    FRAUD = "fraud"
    #: The arbiter did not rule in time.
    DISPUTE_TIMED_OUT = "dispute_timed_out"
    #: Checkpoints of committed segments could not be fetched.
    UNRETRIEVABLE = "unretrievable"
    #: The machine failed its probe before anything was committed.
    ACCEPTANCE_FAILED = "acceptance_failed"


CAUSE_VERDICTS: Final[Mapping[CloseCause, frozenset[Verdict]]] = {
    CloseCause.COMPLETED: frozenset(
        {Verdict.COMPLETED, Verdict.BUDGET_EXHAUSTED, Verdict.JOB_FAILED, Verdict.RENTER_STOPPED}
    ),
    CloseCause.PROVIDER_CLOSED: frozenset(
        {
            Verdict.COMPLETED,
            Verdict.BUDGET_EXHAUSTED,
            Verdict.JOB_FAILED,
            Verdict.PROVIDER_FAULT,
            Verdict.NETWORK_FAULT,
        }
    ),
    # A stop races with every other ending: whichever was reported first is the verdict.
    CloseCause.RENTER_STOPPED: frozenset(set(Verdict) - {Verdict.PROOF_REJECTED}),
    CloseCause.NEVER_COMMITTED: frozenset(
        {
            Verdict.PROVIDER_LOST,
            Verdict.PROVIDER_FAULT,
            Verdict.NETWORK_FAULT,
            Verdict.ACCEPTANCE_FAILED,
            Verdict.JOB_FAILED,
        }
    ),
    CloseCause.EXPIRED: frozenset(set(Verdict) - {Verdict.PROOF_REJECTED, Verdict.RENTER_STOPPED}),
    CloseCause.FRAUD: frozenset({Verdict.PROOF_REJECTED}),
    CloseCause.DISPUTE_TIMED_OUT: frozenset({Verdict.NETWORK_FAULT}),
    # A provider that is silent delivers no checkpoints either.
    CloseCause.UNRETRIEVABLE: frozenset({Verdict.PROVIDER_FAULT, Verdict.PROVIDER_LOST}),
    CloseCause.ACCEPTANCE_FAILED: frozenset({Verdict.ACCEPTANCE_FAILED}),
}

#: Verdict of a lease whose operator reported none.
DEFAULT_VERDICT: Final[Mapping[CloseCause, Verdict]] = {
    CloseCause.COMPLETED: Verdict.COMPLETED,
    CloseCause.PROVIDER_CLOSED: Verdict.PROVIDER_FAULT,
    CloseCause.RENTER_STOPPED: Verdict.RENTER_STOPPED,
    CloseCause.NEVER_COMMITTED: Verdict.PROVIDER_LOST,
    CloseCause.EXPIRED: Verdict.EXPIRED,
    CloseCause.FRAUD: Verdict.PROOF_REJECTED,
    CloseCause.DISPUTE_TIMED_OUT: Verdict.NETWORK_FAULT,
    CloseCause.UNRETRIEVABLE: Verdict.PROVIDER_FAULT,
    CloseCause.ACCEPTANCE_FAILED: Verdict.ACCEPTANCE_FAILED,
}


def close_cause(number: int) -> CloseCause:
    """Return the cause that the contract numbers so."""
    return tuple(CloseCause)[number]


def final_verdict(cause: CloseCause, reported: Verdict | None) -> Verdict:
    """Return the verdict of a closed lease: the reported one where the chain allows it."""
    if reported is not None and reported in CAUSE_VERDICTS[cause]:
        return reported
    return DEFAULT_VERDICT[cause]
