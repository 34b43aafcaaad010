"""Whose segments are executed again now: of each renter and each provider one at a time.

Else one of them could fill all threads of an auditor or arbiter with slow leases of its own, and
the windows of everybody else would close meanwhile. What finds no seat is not lost: it is taken
again in the next turn. Only an execution needs a seat; a report, a challenge, a demand or an
attestation never waits for one, so that nobody hides what it withholds behind its own slow lease.

*Not covered:* one that acts under many accounts, each with leases of its own; and a provider whose
slow case, which a friend can start, keeps the next of its own waiting: past the end of a window or
of a dispute, where these are shorter than the slow case's run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker_agent.case import Case
from worker_agent.errors import SeatTaken


class Seats:
    """One seat for each account; a case sits on its renter's and its provider's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def take(self, case: Case) -> None:
        """Take both seats, or none.

        Raises
        ------
        SeatTaken
            Another case of the same renter or provider is being executed.
        """
        with self._lock:
            if self._taken & _accounts(case):
                raise SeatTaken
            self._taken |= _accounts(case)

    def leave(self, case: Case) -> None:
        """Give back what `take` took."""
        with self._lock:
            self._taken -= _accounts(case)

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
