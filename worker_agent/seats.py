"""How many segments are executed again at the same time: in all, and of one renter and provider.

A run of one segment is short, but of a stranger's code nobody knows that before. So it has a few
minutes at first. What is not done by then begins anew, with all its time; and the longer runs may
take, the fewer of them go at the same time (`Length`). So there is always a seat that is free again
after minutes, whatever others' code does, and another one after the time of one segment; only runs
of many segments, which can take weeks, wait for each other.

It is the pair of a renter and a provider that has seats, not each account: else slow leases of a
renter with a provider of its own would keep the honest provider, of which it rents something else,
without a ruling until it is refunded. Pairs that wait are seated in turn, however many cases each
of them has.

Only an execution needs a seat; a report, a challenge, a demand or an attestation never waits for
one, so that nobody hides what it withholds behind its own slow leases.

*Not covered:* one that acts under many accounts delays the others by a run for each of its pairs;
and a pair whose slow cases, which either side or a friend can start, keep the next long run of the
same pair waiting: past the end of a window or of a dispute, where these are shorter than the slow
cases' runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, TypeVar

from worker_agent.case import Case
from worker_agent.errors import JobFailed, ProviderFault, SeatTaken
from worker_agent.replay import ReplayCancelled, ReplayTooSlow

log = logging.getLogger(__name__)


class Length(IntEnum):
    """How long a run may take: the number of seats that are left to shorter ones."""

    SHORT = 0  # one segment, not more than `SHORT_S`
    SEGMENT = 1  # one segment, in all its time; or a fetch of its inputs
    LONG = 2  # many segments; or what an auditor executes, which waits for it in a thread


MAX_RUNS: Final = 5
"""Executions at the same time."""
MAX_LONG: Final = MAX_RUNS - Length.LONG
MAX_SHORT_OF_PAIR: Final = MAX_RUNS - 1
"""With all, one pair's first tries would keep everybody else's from a seat."""
MAX_OF_PAIR: Final = 2
"""Long ones: with one, a single slow lease would keep the pair's others from being examined."""
SHORT_S: Final = 300.0
"""Longest first try, in seconds."""
_OF_PAIR: Final = {Length.SHORT: MAX_SHORT_OF_PAIR, Length.SEGMENT: 1, Length.LONG: MAX_OF_PAIR}
_ASKS_AGAIN_S: Final = 10.0

Pair = tuple[str, str]
T = TypeVar("T")


def pair_of(case: Case) -> Pair:
    """Renter and provider of a case's lease."""
    terms = case.history.terms
    return terms.renter.lower(), terms.provider.lower()


@dataclass(frozen=True, slots=True)
class _Sitter:
    """One of these has as many seats as there are runs of its pair and length."""

    pair: Pair
    length: Length

    @classmethod
    def of(cls, case: Case, length: Length) -> _Sitter:
        return cls(pair_of(case), length)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tries:
    """A run that waits for a seat or has one, and what is tried after it if it fails."""

    case: Case
    lengths: tuple[Length, ...]
    execute: Callable[[Length], Any]
    after: Future[Any] | None
    future: Future[Any]
    repeats: bool = False

    @property
    def sitter(self) -> _Sitter:
        """As what it sits."""
        return _Sitter.of(self.case, self.lengths[0])

    def attempt(self) -> Tries | None:
        """Run now; gives what is to be tried next, or else the result to who asked for it."""
        try:
            self.future.set_result(self.execute(self.lengths[0]))
        except BaseException as error:  # passed on
            if (following := self._after(error)) is not None:
                return following
            self.future.set_exception(error)
        return None

    def _after(self, error: BaseException) -> Tries | None:
        first, rest = self.lengths[0], self.lengths[1:]
        failed = isinstance(error, JobFailed | ProviderFault)
        if not rest or not failed or isinstance(error, ReplayCancelled):
            return None
        repeats = rest[0] is first
        if repeats and isinstance(error, ReplayTooSlow):
            return None  # code that sleeps would have the same time twice
        log.warning("%s: a run is tried again: %s", self.case.short, error)
        return replace(self, lengths=rest, repeats=repeats)


class Seats:
    """Those of one examiner."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._taken: Counter[_Sitter] = Counter()
        self._waiting: list[Tries] = []
        self._repeating: set[Length] = set()
        self._num_seated = 0
        self._last: dict[Pair, int] = {}
        self._refused: dict[_Sitter, tuple[float, float]] = {}  # when first, and when last

    @contextmanager
    def seat(self, case: Case, length: Length) -> Iterator[None]:
        """Sit while the context lasts, or not at all.

        Raises
        ------
        SeatTaken
            As many others sit, or are to sit first because they asked before.
        """
        sitter = _Sitter.of(case, length)
        with self._lock:
            if not self._is_next(sitter):
                raise SeatTaken
            self._sit(sitter)
        try:
            yield
        finally:
            self._leave(sitter)

    def start(
        self,
        case: Case,
        execute: Callable[[Length], T],
        *lengths: Length,
        after: Future[Any] | None = None,
    ) -> Future[T]:
        """Run in a thread of its own as soon as there is a seat; nobody waits for it here.

        The pair goes first that got no seat for the longest time, with its shortest run. Of each
        length one at a time is repeated, since what failed may have been short of memory.

        Parameters
        ----------
        lengths:
            Of the run, and of those that are tried after one that fails. One that has had its time
            is tried again only as a longer one.
        after:
            What has to be over before.
        """
        future: Future[T] = Future()
        one = Tries(case=case, lengths=lengths, execute=execute, after=after, future=future)
        with self._lock:
            self._waiting.append(one)
            self._last.setdefault(one.sitter.pair, self._num_seated)  # behind those who wait
            self._seat_next()
        return future

    def _execute(self, one: Tries) -> None:
        following: Tries | None = None
        try:
            following = one.attempt()
        finally:
            self._leave(one.sitter, one, following)

    def _sit(self, sitter: _Sitter) -> None:
        self._taken[sitter] += 1
        self._num_seated += 1
        self._last[sitter.pair] = self._num_seated

    def _leave(
        self, sitter: _Sitter, over: Tries | None = None, following: Tries | None = None
    ) -> None:
        with self._lock:
            self._taken[sitter] -= 1
            self._taken += Counter()  # pairs without a case are forgotten
            if over is not None and over.repeats:
                self._repeating.discard(sitter.length)
            if following is not None:
                self._waiting.append(following)
            here = {one.pair for one in [*self._taken, *(one.sitter for one in self._waiting)]}
            self._last = {pair: last for pair, last in self._last.items() if pair in here}
            self._seat_next()

    def _seat_next(self) -> None:
        """Seat all for whom there is room now; the caller holds the lock."""
        while ready := [one for one in self._waiting if self._may_sit(one)]:
            first = min(ready, key=self._rank)
            thread = threading.Thread(
                target=self._execute, args=(first,), daemon=True, name="replay"
            )
            thread.start()  # where none can start, nobody sits; it cannot leave before we let go
            self._waiting.remove(first)
            self._sit(first.sitter)
            if first.repeats:
                self._repeating.add(first.sitter.length)

    def _rank(self, one: Tries) -> tuple[int, int]:
        return self._last[one.sitter.pair], one.sitter.length

    def _may_sit(self, one: Tries) -> bool:
        if one.after is not None and not one.after.done():
            return False
        if one.repeats and one.sitter.length in self._repeating:
            return False
        return self._num_free(one.sitter) > 0

    def _num_free(self, sitter: _Sitter) -> int:
        """Seats that a run of this pair and length can take; the caller holds the lock."""
        if self._taken[sitter] >= _OF_PAIR[sitter.length]:
            return 0
        return min(
            MAX_RUNS - length - sum(n for one, n in self._taken.items() if one.length >= length)
            for length in Length
            if length <= sitter.length
        )

    def _is_next(self, sitter: _Sitter) -> bool:
        """Whether there is a seat beside those that are kept for who was refused before.

        Whoever still wants one asks again in every turn; who does not is forgotten.
        """
        now = self._monotonic()
        asking = {one: at for one, at in self._refused.items() if now - at[1] < _ASKS_AGAIN_S}
        since, _ = asking.pop(sitter, (now, now))
        first = [
            one
            for one, at in asking.items()
            if one.length is sitter.length and at[0] < since and self._num_free(one) > 0
        ]
        is_next = self._num_free(sitter) > len(first)
        self._refused = asking if is_next else {**asking, sitter: (since, now)}
        return is_next
