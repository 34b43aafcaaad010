"""What the stages of one attempt share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from client_sdk.protocol.terms import Terms
from worker_agent.context import Context
from worker_agent.delivery import Deliverer
from worker_agent.execution import Control
from worker_agent.frames import FrameLog
from worker_agent.jobs import Jobs
from worker_agent.losses import Losses
from worker_agent.records import LeaseRecord, Leases
from worker_agent.sandbox.base import Sandbox
from worker_agent.store import LeaseStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Machinery:
    """What all attempts of one daemon use."""

    context: Context
    leases: Leases
    deliverer: Deliverer
    sandbox: Sandbox
    jobs: Jobs

    @property
    def losses(self) -> Losses:
        """What renters have cost."""
        allowance_s = self.context.settings.loss_allowance_s
        return Losses(self.context.journal, self.leases, allowance_s)


@dataclass(kw_only=True, slots=True)
class Attempt:
    """One execution of one lease's job."""

    machinery: Machinery
    lease_id: str
    attempt_id: str
    control: Control
    frames: FrameLog
    store: LeaseStore
    terms: Terms
    unpaid_since: float | None = None
    """Monotonic time at which the segment began that is running now."""

    @property
    def record(self) -> LeaseRecord:
        """The lease as it is journaled now."""
        record = self.machinery.leases.get(self.lease_id)
        assert record is not None
        return record

    @property
    def folder(self) -> Path:
        """The lease's folder."""
        return self.store.folder
