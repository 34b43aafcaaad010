"""Looking at a sandbox's processes from outside, where no cgroup counts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from worker_agent.sandbox.base import Usage

_MAIN_PID = "2"
"""The renter's program is the first process that the sandbox's process 1 starts."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError)


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(text) for text in (task / "children").read_text().split()]
    except _GONE:
        return found
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield every process below one."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def _inner_pid(pid: int) -> str | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except _GONE:
        return None
    return next((line.split()[-1] for line in lines if line.startswith("NSpid:")), None)


def find_main(init_pid: int) -> int | None:
    """Return a pidfd of the program that a sandbox was started for, None when it is gone."""
    for child in children(init_pid):
        if _inner_pid(child) != _MAIN_PID:
            continue
        try:
            handle = os.pidfd_open(child)
        except ProcessLookupError:
            return None
        # The number could have gone to another process between look-up and open.
        if child in children(init_pid):
            return handle
        os.close(handle)
    return None


class Sampler:
    """Adds up processor time and memory of a process tree, as seen at each `sample`.

    Parameters
    ----------
    pid
        Process 1 of the sandbox.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_seconds = 0.0
        self._peak_bytes = 0

    def sample(self) -> None:
        """Look at the processes once."""
        ticks = pages = 0
        for pid in descendants(self._pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except _GONE:
                continue
            ticks += sum(int(text) for text in fields[11:15])
        self._cpu_seconds = max(self._cpu_seconds, ticks / _TICKS)
        self._peak_bytes = max(self._peak_bytes, pages * _PAGE)

    def usage(self) -> Usage:
        """Return the most that was seen."""
        return Usage(self._cpu_seconds, self._peak_bytes, exact=False)
