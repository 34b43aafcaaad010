"""A clock that tells the same time in a job and in each of its re-executions.

Every step begins a second after the one before, counted from a time that provider and auditors
know; within a step, time moves on by a microsecond with each look at it and by what `time.sleep`
is asked for. So durations are never zero, waiting ends, and what a thread reads depends only on
what it did before in the same step. Each step's clock is set anew, as a resumed run could not know
what earlier steps read: after a long sleep it goes back.

Covered: `time` and `datetime`, whatever they were imported as, in code that is imported while the
clock is installed, and so the script and what it brings or imports first.
Not covered: clocks below Python (C extensions, ``numpy.datetime64("now")``, child processes, file
times, ``/proc``), modules that took a name such as ``time.monotonic`` earlier (as `threading` did
for its timeouts), and code that wants to know the time or the machine: only its owner's honesty
keeps it from that.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

real_monotonic: Final = time.monotonic
real_perf_counter: Final = time.perf_counter
"""The machine's own clocks, for our own measurements.

Taken here, because this module is there before the clock is installed: most of this package is
imported by the script itself, afterwards, and would find the script's clock under these names.
"""

_STEP_NS: Final = 10**9
_LOOK_NS: Final = 10**3
_CLOCKS: Final = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


class JobClock:
    """What a job takes for the time.

    Parameters
    ----------
    start_s
        Unix time before the first step.
    """

    def __init__(self, start_s: int) -> None:
        self._start_ns = start_s * 10**9
        self._num_begun = 0
        # A thread of a library's own must not move the script's clock.
        self._own = threading.local()

    def begin_step(self, step: int) -> None:
        """Set the clock to the start of a step, counted from 0 over the whole run."""
        self._num_begun = step + 1

    def look_ns(self) -> int:
        """Nanoseconds since 1970; later by a microsecond each time."""
        return self._start_ns + self._num_begun * _STEP_NS + self.advance(_LOOK_NS)

    def advance(self, duration_ns: int) -> int:
        """Let time pass for this thread; returns what has passed since the step began."""
        own = self._own
        if getattr(own, "num_begun", None) != self._num_begun:
            own.num_begun, own.passed_ns = self._num_begun, 0
        own.passed_ns += duration_ns
        return int(own.passed_ns)


@contextlib.contextmanager
def installed(clock: JobClock) -> Iterator[None]:
    """Put `clock` in the place of Python's own clocks, for the whole process."""
    changes = [(time, name, value) for name, value in _time_functions(clock).items()]
    changes += [(datetime, name, value) for name, value in _date_classes(clock).items()]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _time_functions(clock: JobClock) -> dict[str, Callable[..., Any]]:
    """Functions of `time`, by name."""

    def look_s(*_: int) -> float:
        return clock.look_ns() / 1e9

    def look_ns(*_: int) -> int:
        return clock.look_ns()

    def sleep(duration_s: float, *, _really: Callable[[float], None] = time.sleep) -> None:
        _really(duration_s)
        clock.advance(round(duration_s * 1e9))

    def of_now(convert: Callable[[float], Any]) -> Callable[..., Any]:
        return lambda moment_s=None: convert(look_s() if moment_s is None else moment_s)

    def formatted(convert: Callable[..., str], local: Callable[[float], Any]) -> Callable[..., str]:
        def convert_now(*arguments: Any) -> str:
            wanted = 1 if convert is real_asctime else 2
            missing = len(arguments) < wanted
            return convert(*arguments, local(look_s())) if missing else convert(*arguments)

        return convert_now

    real_asctime = time.asctime
    return {
        **dict.fromkeys((*_CLOCKS, "clock_gettime"), look_s),
        **{f"{name}_ns": look_ns for name in (*_CLOCKS, "clock_gettime")},
        "sleep": sleep,
        "gmtime": of_now(time.gmtime),
        "localtime": of_now(time.localtime),
        "ctime": of_now(time.ctime),
        "asctime": formatted(time.asctime, time.localtime),
        "strftime": formatted(time.strftime, time.localtime),
    }


class _LikeReal(type):
    """Makes every date of the real class one of the class that stands in its place."""

    real: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real)


def _date_classes(clock: JobClock) -> dict[str, type]:
    """``datetime.datetime`` and ``datetime.date``."""
    real_datetime, real_date = datetime.datetime, datetime.date

    class JobDatetime(real_datetime, metaclass=_LikeReal):  # type: ignore[misc, valid-type]
        real = real_datetime

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(clock.look_ns() / 1e9, tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    class JobDate(real_date, metaclass=_LikeReal):  # type: ignore[misc, valid-type]
        real = real_date

        @classmethod
        def today(cls) -> Any:
            return cls.fromtimestamp(clock.look_ns() / 1e9)

    for name, kind in (("datetime", JobDatetime), ("date", JobDate)):
        # Pickles name the class, and must name the one that is there without this clock.
        kind.__module__, kind.__name__, kind.__qualname__ = "datetime", name, name
    return {"datetime": JobDatetime, "date": JobDate}
