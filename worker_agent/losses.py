"""What renters have cost this worker: time of its machine in which no segment was finished.

Code that fails late in a segment gets that segment's compute for nothing: a failure cannot be
committed, since a program can end itself in any way, and once here and not at an auditor's. So the
loss is the worker's, and is bounded: by the longest segment that it takes on, and by what one
renter may cost it within a day.

*Not covered:* a renter with many accounts; each of them has to fund an order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from worker_agent.journal import Journal
from worker_agent.records import Leases

_KIND: Final = "loss"
_MEMORY_S: Final = 24 * 3600
_SHARE: Final = 0.1
"""Part of the time of a renter's finished segments that it may cost in addition."""


class Losses:
    """Time that was lost on each renter's failed jobs.

    Parameters
    ----------
    journal, leases:
        What is remembered of losses, and of finished segments.
    allowance_s:
        Seconds that a renter may cost within a day.
    now:
        Unix time.
    """

    def __init__(
        self,
        journal: Journal,
        leases: Leases,
        allowance_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._leases = leases
        self._allowance_s = allowance_s
        self._now = now

    def add(self, renter: str, attempt_id: str, lost_s: float) -> None:
        """Remember the time that one attempt ran without finishing its last segment."""
        loss = {"lost_s": lost_s, "at": self._now()}
        self._journal.put(_KIND, f"{renter.lower()}:{attempt_id}", loss)

    def excess_s(self, renter: str) -> float:
        """Seconds by which a renter has cost more than it may; at most zero when it has not."""
        since = self._now() - _MEMORY_S
        losses = self._journal.all(_KIND, f"{renter.lower()}:")
        lost_s = sum(float(loss["lost_s"]) for loss in losses if loss["at"] > since)
        return lost_s - self._allowance_s - _SHARE * self._finished_s(renter)

    def _finished_s(self, renter: str) -> float:
        return sum(
            record.segment_s * len(self._leases.segments(record.lease_id))
            for record in self._leases.all()
            if record.terms["renter"].lower() == renter.lower()
        )
