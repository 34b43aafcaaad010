"""What a script takes for the time is the same in every execution of a step."""

from __future__ import annotations

import datetime
import pickle
import threading
import time
from typing import Any

import pytest

from client_sdk.training.clock import JobClock, installed

START_S = 1_700_000_000


def readings() -> list[Any]:
    """One look at everything that tells the time."""
    return [
        *(
            getattr(time, name)()
            for clock in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
            for name in (clock, f"{clock}_ns")
        ),
        time.clock_gettime(time.CLOCK_REALTIME),
        time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        time.gmtime(),
        time.localtime(),
        time.ctime(),
        time.asctime(),
        time.strftime("%c"),
        datetime.datetime.now(),  # noqa: DTZ005  # as scripts call it
        datetime.datetime.now(datetime.UTC),
        datetime.datetime.utcnow(),  # noqa: DTZ003
        datetime.datetime.today(),  # noqa: DTZ002
        datetime.date.today(),  # noqa: DTZ011
    ]


def test_when_a_step_is_executed_again_then_every_clock_tells_the_same() -> None:
    first, again = JobClock(START_S), JobClock(START_S)
    with installed(first):
        for step in range(8):
            first.begin_step(step)
            seen = readings()
    again.begin_step(7)  # a resumed run knows nothing of the steps before
    with installed(again):
        assert readings() == seen
    assert seen[0] == pytest.approx(START_S + 8, abs=1e-3)


def test_when_the_clock_is_taken_out_then_the_real_ones_are_back() -> None:
    before = (time.time, time.sleep, datetime.datetime, datetime.date)
    with installed(JobClock(START_S)), pytest.raises(ValueError, match="of the script"):
        raise ValueError("of the script")
    assert (time.time, time.sleep, datetime.datetime, datetime.date) == before


def test_when_durations_are_taken_then_none_is_zero_and_a_sleep_shows() -> None:
    clock = JobClock(START_S)
    clock.begin_step(0)
    with installed(clock):
        begun = time.perf_counter()
        assert time.perf_counter() - begun > 0
        time.sleep(0.01)
        assert time.perf_counter() - begun >= 0.01
        assert time.strftime("%Y", time.gmtime(0)) == "1970"


def test_when_another_thread_looks_then_the_scripts_clock_stays() -> None:
    clock = JobClock(START_S)
    clock.begin_step(3)
    alone = clock.look_ns()
    clock = JobClock(START_S)
    clock.begin_step(3)
    thread = threading.Thread(target=lambda: [clock.look_ns() for _ in range(100)])
    thread.start()
    thread.join()
    assert clock.look_ns() == alone


def test_when_dates_are_made_then_they_are_dates_like_any_other() -> None:
    real = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    with installed(JobClock(START_S)):
        now = datetime.datetime.now(datetime.UTC)
        assert isinstance(real, datetime.datetime)
        assert isinstance(real, datetime.date)
        assert issubclass(type(real), datetime.date)
        assert real - now > datetime.timedelta(0)
        kept = pickle.dumps(now)
    assert type(pickle.loads(kept)) is datetime.datetime
