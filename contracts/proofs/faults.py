"""Faults that show that the proofs are not empty: with each, halmos must refute some proofs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.mutation.faults import Fault


@dataclass(frozen=True, slots=True)
class SeededFault:
    """One change of the contracts, and the proofs of which it must leave none whole."""

    fault: Fault
    broken: tuple[str, ...]


def _seed(breaks: str, text: str, replacement: str, *broken: str) -> SeededFault:
    return SeededFault(Fault(breaks, text, replacement, "test/symbolic"), broken)


FAULTS: Final = (
    _seed(
        "a refund goes to the renter",
        "_credit(terms.token, terms.renter, refund);",
        "_credit(terms.token, terms.provider, refund);",
        "check_close_givenNoCommit_refundsAll",
        "check_rejectMachine_refundsAll",
        "check_close_refundsWhatIsUnpaid",
        "check_attestUnretrievable_refundsTheRest",
        "check_timeoutDispute_splitsBelowTheLowest",
        "check_close_paysTheReserveForAFinalCheckpointOnly",
    ),
    _seed(
        "the split half leaves the lease",
        "lease.escrow -= uint88(half);",
        "",
        "check_timeoutDispute_splitsBelowTheLowest",
    ),
    _seed(
        "the reserve is held",
        "if (upTo > free) upTo = free;",
        "",
        "check_close_paysTheReserveForAFinalCheckpointOnly",
    ),
)
