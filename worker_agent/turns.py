"""What one lease takes of a turn of an examiner: a few of its cases, and one look at its history.

Each challenge that is pointed lower, and each commit, makes a case; thousands in one lease would
else have its history read as often in every turn, before those of any other lease come.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from typing import Final

from worker_agent.case import opened_block_hint
from worker_agent.exchange import AuditView
from worker_agent.history import LeaseHistory, read_history
from worker_agent.market import Market
from worker_agent.ports import ChainPort
from worker_agent.seats import MAX_OF_PAIR

MOST_OF_LEASE: Final = MAX_OF_PAIR + 2
"""Of an auditor, more than can be executed: what is withheld is demanded while others run."""


def choose(
    audits: Iterable[AuditView], working: Collection[str], taken: Iterable[str]
) -> list[AuditView]:
    """Choose the cases that begin in this turn; the others have theirs later.

    The lowest segment of each lease comes first: from it on nothing is paid when its data are
    withheld. Then come the ones that waited longest, so that none waits behind one that is stuck.

    Parameters
    ----------
    working
        Cases that go on.
    taken
        Those that have begun before, the last one last.
    """
    leases: dict[bytes, dict[str, AuditView]] = defaultdict(dict)
    for audit in audits:
        leases[audit.lease_id][audit.case_id] = audit
    turn = {case_id: number for number, case_id in enumerate(taken)}
    chosen: list[AuditView] = []
    for of_lease in leases.values():
        waiting = [audit for audit in of_lease.values() if audit.case_id not in working]
        room = MOST_OF_LEASE - (len(of_lease) - len(waiting))
        waiting.sort(key=lambda audit: (audit.segment, audit.case_id))
        lowest, others = waiting[:1], waiting[1:]
        others.sort(key=lambda audit: turn.get(audit.case_id, -1))  # keeps the order of segments
        chosen += [*lowest, *others][: max(0, room)]
    return chosen


class Histories:
    """Histories of leases, each read once in a turn."""

    def __init__(self, chain: ChainPort) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._read: dict[tuple[str, bytes], Future[LeaseHistory]] = {}

    def forget(self) -> None:
        """Begin a turn: the chain goes on, and can take blocks back."""
        with self._lock:
            self._read.clear()

    def of(self, market: Market, lease_id: bytes) -> LeaseHistory:
        """Read a lease's history; what fails is tried again in the next turn.

        Raises
        ------
        RejectedInput, NetworkFailed
            The lease is not open on the chain, or the market does not answer.
        """
        key = market.url, lease_id  # the market says where to begin, and may be wrong
        with self._lock:
            known = self._read.get(key)
            mine = self._read.setdefault(key, Future())
        if known is None:
            try:
                hint = opened_block_hint(market, lease_id)
                mine.set_result(read_history(self._chain, lease_id, hint))
            except BaseException as error:  # passed on to all that ask in this turn
                mine.set_exception(error)
        return mine.result()
