"""Whose segments are executed again now: of each renter and each provider two at a time.

Else one of them could fill all threads of an auditor or arbiter with slow leases of its own, and
the windows of everybody else would close meanwhile. What finds no seat is not lost: it is taken
again in the next turn. Only an execution needs a seat; a report, a challenge, a demand or an
attestation never waits for one, so that nobody hides what it withholds behind its own slow leases.

*Not covered:* one that acts under many accounts, each with leases of its own; and a provider whose
slow cases, which a friend can start, keep the next of its own waiting: past the end of a window or
of a dispute, where these are shorter than the slow cases' runs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from worker_agent.case import Case
from worker_agent.errors import SeatTaken

SEATS: Final = 2
"""Half of an examiner's threads: with one, a single slow lease would keep its provider's others
from being examined, and the audits of a single renter would come one after the other."""


class Seats:
    """Some for each account; a case sits on one of its renter's and one of its provider's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, case: Case) -> None:
        """Take both seats, or none.

        Raises
        ------
        SeatTaken
            As many cases of the same renter or provider are being executed.
        """
        with self._lock:
            if any(self._taken[account] >= SEATS for account in _accounts(case)):
                raise SeatTaken
            self._taken.update(_accounts(case))

    def leave(self, case: Case) -> None:
        """Give back what `take` took."""
        with self._lock:
            self._taken.subtract(_accounts(case))
            self._taken += Counter()  # accounts without a case are forgotten

    @contextmanager
    def seat(self, case: Case) -> Iterator[None]:
        """Sit while the context lasts; raises as `take` does."""
        self.take(case)
        try:
            yield
        finally:
            self.leave(case)


def _accounts(case: Case) -> set[str]:
    terms = case.history.terms
    return {terms.renter.lower(), terms.provider.lower()}
