"""The one way a loop of the worker runs: a ticker with jitter and three exits.

A loop ends because it was asked to *stop* (finish what is running), because it was *cancelled*
(drop what is running), or because of an *unrecoverable* error, which also stops the whole daemon.
Any other error is logged with the time of the next try and of the last success, and the loop goes
on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from worker_agent.errors import Unrecoverable

log = logging.getLogger(__name__)
_MAX_PAUSE_S = 30.0
_MAX_PAUSE_FACTOR = 8.0


class Stop:
    """Tells all loops of a daemon when to end, and why.

    ``stopping`` asks for a graceful end; ``cancelled`` also asks running work to be dropped.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self.reason = ""
        self.error: BaseException | None = None

    @property
    def stopping(self) -> bool:
        """Whether loops should end after what they are doing."""
        return self._stopping.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether running work should be dropped too."""
        return self._cancelled.is_set()

    def stop(self, reason: str) -> None:
        """Ask for a graceful end; the first reason stays."""
        with self._lock:
            self.reason = self.reason or reason
        self._stopping.set()

    def cancel(self, reason: str) -> None:
        """Ask for an end now."""
        self.stop(reason)
        self._cancelled.set()

    def fail(self, error: BaseException) -> None:
        """End the daemon because of an unrecoverable error; the first error stays."""
        with self._lock:
            self.error = self.error or error
        self.cancel(str(error))

    def wait(self, timeout_s: float) -> bool:
        """Sleep until asked to stop; tells whether that happened."""
        return self._stopping.wait(timeout_s)


class Tick(Protocol):
    """One turn of a loop."""

    def __call__(self) -> None: ...


class Loop(threading.Thread):
    """Calls ``tick`` again and again until asked to stop.

    Parameters
    ----------
    name:
        Name of the thread, as in the log.
    tick:
        One turn; must be safe to repeat.
    interval_s:
        Pause between turns; each pause is drawn from 75 to 125 % of it, so that many workers do not
        beat on a market in step. It doubles after each failed turn, up to eight times
        itself and to 30 s: who polls often has short windows to keep.
    stop:
        Shared by all loops of the daemon.
    """

    def __init__(self, name: str, tick: Tick, interval_s: float, stop: Stop) -> None:
        super().__init__(name=name, daemon=True)
        self._tick = tick
        self._interval_s = interval_s
        self._stop_signal = stop
        self._failures = 0
        self._last_success: float | None = None
        # Jitter needs no secret randomness.
        self._uniform: Callable[[float, float], float] = random.uniform

    def run(self) -> None:
        """Run turns until stop, cancel or an unrecoverable error."""
        while not self._stop_signal.stopping:
            self.turn()
            self._stop_signal.wait(self._uniform(0.75, 1.25) * self._pause_s())

    def turn(self) -> None:
        """One guarded turn."""
        try:
            self._tick()
        except Unrecoverable as error:
            log.error("%s: %s", self.name, error)
            self._stop_signal.fail(error)
        except Exception as error:  # the edge of a loop: the next turn tries again
            self._failures += 1
            log.warning(
                "%s: %s: %s; next try in %.1f s; last success %s",
                self.name,
                type(error).__name__,
                error,
                self._pause_s(),
                self._since_success(),
                exc_info=log.isEnabledFor(logging.DEBUG),
            )
        else:
            self._failures = 0
            self._last_success = time.monotonic()

    def _pause_s(self) -> float:
        longest = min(_MAX_PAUSE_S, self._interval_s * _MAX_PAUSE_FACTOR)
        return min(longest, self._interval_s * 2.0 ** min(self._failures, 8))

    def _since_success(self) -> str:
        if self._last_success is None:
            return "never"
        return f"{time.monotonic() - self._last_success:.0f} s ago"
