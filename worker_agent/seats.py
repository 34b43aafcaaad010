"""How many segments are executed again at the same time: in all, and of one renter and provider.

A run of one segment is short. A run of many can take weeks, and so each pair of a renter and a
provider has two of these at a time, and all together leave one seat free: nobody's slow leases
keep the short runs waiting, with which most disputes end, nor all threads of an auditor. It is the
pair that has seats, not each account: else slow leases of a renter with a provider of its own would
keep the honest provider, of which it rents something else, without a ruling until it is refunded.

Only an execution needs a seat; a report, a challenge, a demand or an attestation never waits for
one, so that nobody hides what it withholds behind its own slow leases.

*Not covered:* one that acts under many accounts, each with leases of its own; and a pair whose slow
cases, which either side or a friend can start, keep the next long run of the same pair waiting:
past the end of a window or of a dispute, where these are shorter than the slow cases' runs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from worker_agent.case import Case
from worker_agent.errors import SeatTaken

MAX_RUNS: Final = 4
"""Executions at the same time; an examiner has as many threads for everything else."""
MAX_LONG: Final = MAX_RUNS - 1
MAX_OF_PAIR: Final = 2
"""Long ones: with one, a single slow lease would keep the pair's others from being examined."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sitter:
    """One of these has as many seats as there are runs of its pair and length."""

    pair: tuple[str, str]
    is_long: bool

    @classmethod
    def of(cls, case: Case, *, is_long: bool) -> _Sitter:
        terms = case.history.terms
        return cls(pair=(terms.renter.lower(), terms.provider.lower()), is_long=is_long)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    sitter: _Sitter
    run: Callable[[], None]
    after: Future[Any] | None


class Seats:
    """Those of one examiner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[_Sitter] = Counter()
        self._waiting: list[_Waiting] = []

    @contextmanager
    def seat(self, case: Case) -> Iterator[None]:
        """Sit as a long run while the context lasts, or not at all.

        Raises
        ------
        SeatTaken
            As many others are being executed.
        """
        sitter = _Sitter.of(case, is_long=True)
        with self._lock:
            if not self._has_room(sitter):
                raise SeatTaken
            self._taken[sitter] += 1
        try:
            yield
        finally:
            self._leave(sitter)

    def start(
        self,
        case: Case,
        run: Callable[[], T],
        *,
        is_long: bool,
        after: Future[Any] | None = None,
    ) -> Future[T]:
        """Run in a thread of its own as soon as there is a seat; nobody waits for it here.

        Short runs go first, then those of the pair with the fewest, then who came first.

        Parameters
        ----------
        after:
            What has to be over before.
        """
        future: Future[T] = Future()
        sitter = _Sitter.of(case, is_long=is_long)

        def execute() -> None:
            try:
                future.set_result(run())
            except BaseException as error:  # passed on to whoever asks for the result
                future.set_exception(error)
            finally:
                self._leave(sitter)

        with self._lock:
            self._waiting.append(_Waiting(sitter, execute, after))
            self._seat_next()
        return future

    def _leave(self, sitter: _Sitter) -> None:
        with self._lock:
            self._taken[sitter] -= 1
            self._taken += Counter()  # pairs without a case are forgotten
            self._seat_next()

    def _seat_next(self) -> None:
        """Seat all for whom there is room now; the caller holds the lock."""
        while ready := [one for one in self._waiting if self._may_sit(one)]:
            first = min(ready, key=lambda one: (one.sitter.is_long, self._taken[one.sitter]))
            threading.Thread(target=first.run, daemon=True, name="replay").start()
            self._waiting.remove(first)
            self._taken[first.sitter] += 1

    def _may_sit(self, one: _Waiting) -> bool:
        return (one.after is None or one.after.done()) and self._has_room(one.sitter)

    def _has_room(self, sitter: _Sitter) -> bool:
        if self._taken.total() >= MAX_RUNS:
            return False
        if not sitter.is_long:
            return True
        num_long = sum(number for one, number in self._taken.items() if one.is_long)
        return num_long < MAX_LONG and self._taken[sitter] < MAX_OF_PAIR
