"""Facts about processes, read from /proc, and ways to end them.

A pid alone may name another process after a while, so a process is identified by its pid together
with its start time, as the kernel counts it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

POLL_S = 0.05


def start_time(pid: int) -> int | None:
    """Start time in clock ticks after boot; None when there is no such process, or a dead one."""
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return int(fields[19])


def is_same(pid: int, started_at: int) -> bool:
    """Whether the process that started then is still alive."""
    return start_time(pid) == started_at


def descendants(pid: int) -> list[tuple[int, int]]:
    """(pid, start time) of every process below this one, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[tuple[int, int]] = []
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(0), []):
            queue.append(child)
            if (started_at := start_time(child)) is not None:
                found.append((child, started_at))
    return found


def end_tree(pid: int, started_at: int, *, grace_s: float) -> bool:
    """End a process and all below it: SIGTERM to the process, SIGKILL to what is left.

    Returns
    -------
    bool
        Whether the process ended by itself within the grace time.
    """
    if not is_same(pid, started_at):
        return True
    below = descendants(pid)
    _signal(pid, signal.SIGTERM)
    polite = wait_gone([(pid, started_at)], timeout_s=grace_s)
    if not polite:
        below += descendants(pid)
        _signal(pid, signal.SIGKILL)
    kill_all(below)
    wait_gone([(pid, started_at)], timeout_s=5.0)
    return polite


def kill_all(processes: Iterable[tuple[int, int]]) -> None:
    """SIGKILL those of (pid, start time) that still live, and wait until they are gone."""
    living = [(pid, born) for pid, born in processes if is_same(pid, born)]
    for pid, _ in living:
        _signal(pid, signal.SIGKILL)
    wait_gone(living, timeout_s=5.0)


def wait_gone(processes: Iterable[tuple[int, int]], *, timeout_s: float) -> bool:
    """Wait until all of them are dead; False when some still live after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    waiting = list(processes)
    while waiting := [(pid, born) for pid, born in waiting if is_same(pid, born)]:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (the name before it may hold any character)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
