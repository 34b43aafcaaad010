"""How much of what others hand over is fetched: at the same time, and of one renter and provider.

Whoever has leases with itself can have any number of them examined. So one fetch of a pair goes at
a time, the pairs take turns (`Seats`), and all that lies here of one pair is at most a part of the
disk: else gigabytes that were uploaded once would keep everybody else's inputs from being fetched.

*Not covered:* one that acts under many accounts, each with leases of its own; and a market that is
in no hurry.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from worker_agent.case import Case
from worker_agent.seats import MAX_RUNS, Length, Pair, Seats, pair_of

MAX_FETCHES: Final = MAX_RUNS - Length.SEGMENT
"""So many pairs' at the same time; each pair has as large a part of the disk."""


class Fetches:
    """Those of one examiner.

    Parameters
    ----------
    folder:
        Where everything lies that was fetched or written for a case, in folders whose names begin
        with the lease's id or the case's, and go on after a dash.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seats = Seats()
        self._lock = threading.Lock()
        self._pairs: dict[str, Pair] = {}

    @contextmanager
    def turn(self, case: Case) -> Iterator[Callable[[], float]]:
        """Fetch while the context lasts; tells how many bytes the pair may still have here.

        Raises
        ------
        SeatTaken
            Inputs of the same pair are being fetched, or others' whose turn it is.
        """
        with self._seats.seat(case, Length.SEGMENT):
            with self._lock:
                pair = pair_of(case)
                self._pairs.update(dict.fromkeys(names_of(case), pair))
                own = {name for name, of in self._pairs.items() if of == pair}
            yield lambda: self._part() - self._size_of(own)

    def forget(self, kept: Collection[str]) -> None:
        """Forget all leases and cases but these."""
        with self._lock:
            self._pairs = {name: pair for name, pair in self._pairs.items() if name in kept}

    def _part(self) -> float:
        return shutil.disk_usage(self._folder).total / MAX_FETCHES

    def _size_of(self, names: Collection[str]) -> int:
        folders = [path for path in self._folder.iterdir() if path.name.partition("-")[0] in names]
        walks = (walk for folder in folders for walk in os.walk(folder))  # past what goes meanwhile
        return sum(_size(Path(root, name)) for root, _, files in walks for name in files)


def names_of(case: Case) -> tuple[str, str]:
    """With which the names of a case's folders begin."""
    return case.audit.lease_id.hex(), case.audit.case_id


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0  # a run of the same pair has removed it
