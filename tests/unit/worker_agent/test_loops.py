from __future__ import annotations

import pytest

from worker_agent.errors import Unrecoverable
from worker_agent.loops import Loop, Stop


def make(tick: object, stop: Stop) -> Loop:
    loop = Loop("test", tick, 1.0, stop)  # type: ignore[arg-type]
    loop._uniform = lambda low, high: 0.0  # no pause
    return loop


def test_when_a_turn_fails_then_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    stop = Stop()
    seen: list[int] = []

    def tick() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise OSError("market away")
        if len(seen) == 4:
            stop.stop("enough")

    make(tick, stop).run()
    assert len(seen) == 4
    assert "OSError: market away; next try in 2.0 s; last success" in caplog.text


def test_when_an_error_is_unrecoverable_then_all_loops_are_told() -> None:
    stop = Stop()

    def tick() -> None:
        raise Unrecoverable("journal lost")

    make(tick, stop).run()
    assert stop.cancelled
    assert str(stop.error) == "journal lost"
    assert stop.reason == "journal lost"


def test_when_several_reasons_are_given_then_the_first_stays() -> None:
    stop = Stop()
    stop.stop("drain")
    assert stop.stopping
    assert not stop.cancelled
    stop.cancel("signal")
    assert stop.cancelled
    assert stop.reason == "drain"
    assert stop.wait(0)


def test_when_turns_keep_failing_then_the_pause_grows_to_a_limit() -> None:
    def tick() -> None:
        raise OSError

    loop = make(tick, Stop())
    pauses = []
    for _ in range(5):
        loop.turn()
        pauses.append(loop._pause_s())
    assert pauses == [2.0, 4.0, 8.0, 8.0, 8.0]
    loop._interval_s = 10.0
    assert loop._pause_s() == 30.0
