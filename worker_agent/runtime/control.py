"""The two pipes to the worker: events go out on descriptor 3, commands come in on 4.

Both carry one JSON object a line. Without descriptor 3 events are dropped, and without 4 nobody
can stop the run: so it can be started by hand.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

EVENTS_FD = 3
COMMANDS_FD = 4


class Control:
    """Sends events and remembers that a stop was asked for.

    Parameters
    ----------
    events_fd, commands_fd
        Descriptors; closed ones are left alone.

    Commands are ``{"command": "stop"}`` and ``{"command": "taken", "segment": n}``: the worker has
    its own copy of that segment's checkpoint.
    """

    def __init__(self, events_fd: int = EVENTS_FD, commands_fd: int = COMMANDS_FD) -> None:
        self._events_fd: int | None = events_fd if _is_open(events_fd) else None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._taken: list[int] = []
        if _is_open(commands_fd):
            # A daemon: it may wait for a command for ever, which must not keep the process alive.
            threading.Thread(target=self._listen, args=(commands_fd,), daemon=True).start()

    def send(self, event: str, **values: Any) -> None:
        """Send one event; a worker that is gone is a request to stop."""
        line = json.dumps({"event": event, **values}, allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._events_fd is None:
                return
            try:
                _write_all(self._events_fd, line)
            except OSError:
                self._events_fd = None
                self._stop.set()

    def request_stop(self) -> None:
        """End after the segment that is running."""
        self._stop.set()

    def stop_requested(self) -> bool:
        """Whether to end after the segment that is running."""
        return self._stop.is_set()

    def wait_for_stop(self, timeout_s: float) -> bool:
        """Wait until a stop is asked for, at most `timeout_s` seconds; tell whether it was."""
        return self._stop.wait(timeout_s)

    def taken_segments(self) -> list[int]:
        """Segments that the worker took since the last call."""
        with self._lock:
            taken, self._taken = self._taken, []
        return taken

    def _listen(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb", closefd=False) as commands:
            for line in commands:
                self._obey(line)

    def _obey(self, line: bytes) -> None:
        """Follow one command; what a newer worker may say beyond these is passed over."""
        try:
            value = json.loads(line)
        except ValueError:
            return
        match value:
            case {"command": "stop"}:
                self._stop.set()
            case {"command": "taken", "segment": int(segment)}:
                with self._lock:
                    self._taken.append(segment)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
