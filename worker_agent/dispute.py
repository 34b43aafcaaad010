"""What an arbiter has found in one open dispute so far: what is right, missing, and too late."""

from __future__ import annotations

from dataclasses import dataclass, field

from client_sdk.protocol.states import AuditState
from worker_agent.exchange import AuditView


@dataclass(slots=True)
class Dispute:
    """One freeze of one lease, and what was found in it so far; its user holds a lock.

    Attributes
    ----------
    disputed_at, ends_at
        First moment of the freeze, and first one in which nothing can be ruled any more.
    right
        Segments whose commit was reproduced.
    """

    lease_id: bytes
    disputed_at: int
    ends_at: int
    right: set[int] = field(default_factory=set)
    _withheld: dict[int, dict[str, bool]] = field(default_factory=dict)
    _missing_since: dict[tuple[str, bool], int] = field(default_factory=dict)
    _late: set[str] = field(default_factory=set)

    def found(self, audit: AuditView) -> None:
        """Note that a segment's data are there."""
        self._withheld.setdefault(audit.segment, {})[audit.case_id] = False

    def missed(self, audit: AuditView, now: int) -> bool:
        """Note that a segment's data are not there now; whether they are at no market.

        Data that come in the last moment would stop the attestation, and leave no time for a
        ruling: the dispute would time out, and what lies below be paid by half. So the provider has
        half of the time that was left when its turn began; the other half is for the arbiter's
        runs. What it has not answered by then counts as withheld, whatever comes later. What an
        arbiter looks at late itself, because it was busy or restarted, is in time.
        """
        turn = (audit.case_id, audit.state in {AuditState.REPORTED, AuditState.OPENED})
        since = self._missing_since.setdefault(turn, now)
        if now >= since + (self.ends_at - since) // 2:
            self._late.add(audit.case_id)
        rows = self._withheld.setdefault(audit.segment, {})
        rows[audit.case_id] = True
        return all(rows.values())

    def is_late(self, audit: AuditView) -> bool:
        """Whether what comes now counts as withheld all the same; see `missed`."""
        return audit.case_id in self._late

    def __str__(self) -> str:
        return f"{self.lease_id.hex()}:{self.disputed_at}"
