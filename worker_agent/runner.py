"""Runs attempts: one thread for the one lease whose job this machine executes.

Whatever ends an attempt becomes a verdict with evidence, journaled before anybody is told. An
attempt that is dropped (the daemon stops, the chain was reorganised, the lease was closed by
others) leaves no verdict: the lease loop decides.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.machine import MachineDocument
from client_sdk.protocol.verdicts import Verdict
from worker_agent.errors import WorkerError
from worker_agent.execution import Control
from worker_agent.frames import FrameLog
from worker_agent.records import LeasePhase
from worker_agent.stages.attempt import Attempt, Machinery
from worker_agent.stages.driver import Ending, run_stages
from worker_agent.stages.upload import upload

log = logging.getLogger(__name__)
_JOIN_S: Final = 60.0
_PAUSE_AFTER_BREAK_S: Final = 5.0
_LOST: Final = frozenset({Verdict.JOB_FAILED, Verdict.PROVIDER_FAULT})
"""Endings whose last segment nobody pays; a program can make its own failure look like ours."""


class Runners:
    """Starts and ends attempts; this machine runs one at a time.

    Parameters
    ----------
    machinery:
        What all attempts use.
    document:
        The listed machine, which the acceptance stage measures again.
    """

    def __init__(self, machinery: Machinery, document: MachineDocument) -> None:
        self._machinery = machinery
        self._document = document
        self._lock = threading.Lock()
        self._lease_id = ""
        self._thread: threading.Thread | None = None
        self._control = Control()
        self._retry_at: dict[str, float] = {}

    def busy_with(self, lease_id: str) -> bool:
        """Whether an attempt of this lease is running."""
        with self._lock:
            return self._running() and self._lease_id == lease_id

    def start(self, lease_id: str) -> bool:
        """Start an attempt, unless one is running or this lease's last one has just broken."""
        with self._lock:
            if self._running() or time.monotonic() < self._retry_at.get(lease_id, 0):
                return False
            self._lease_id = lease_id
            self._control = Control()
            self._thread = threading.Thread(
                target=self._run,
                args=(lease_id, self._control),
                name=f"lease-{lease_id[:10]}",
                daemon=True,
            )
            self._thread.start()
            return True

    def stop(self, lease_id: str, reason: str, within_s: float) -> None:
        """Ask an attempt to end at its next segment boundary; the first reason stays."""
        with self._lock:
            if self._running() and self._lease_id == lease_id:
                self._control.stop(reason, within_s)

    def cancel(self, lease_id: str, reason: str) -> None:
        """Drop an attempt and wait for its end.

        Raises
        ------
        WorkerError
            It does not end; the caller tries again later.
        """
        with self._lock:
            if not self._running() or self._lease_id != lease_id:
                return
            self._control.cancel(reason)
            thread = self._thread
        assert thread is not None
        thread.join(_JOIN_S)
        if thread.is_alive():
            raise WorkerError(f"the attempt of lease {lease_id[:10]} does not end")

    def cancel_all(self, reason: str) -> None:
        """Drop what is running, for the end of the daemon; it goes on at the next start."""
        self.cancel(self._lease_id, reason)

    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, lease_id: str, control: Control) -> None:
        try:
            self._attempt(lease_id, control)
        except Exception:  # the edge of a thread: the lease loop starts the next attempt
            log.exception("lease %s: the attempt broke", lease_id[:10])
            self._retry_at[lease_id] = time.monotonic() + _PAUSE_AFTER_BREAK_S

    def _attempt(self, lease_id: str, control: Control) -> None:
        leases = self._machinery.leases
        attempt_id = new_id(IdKind.ATTEMPT)
        record = leases.update(lease_id, attempt=attempt_id)
        key = bytes.fromhex(record.job_key)
        attempt = Attempt(
            machinery=self._machinery,
            lease_id=lease_id,
            attempt_id=attempt_id,
            control=control,
            frames=FrameLog(leases.journal, lease_id, attempt_id, key),
            store=self._machinery.deliverer.store(lease_id),
            terms=record.parsed_terms,
        )
        ending = run_stages(attempt, self._document)
        if ending is None or control.cancelled:
            return
        self._end(attempt, ending)

    def _end(self, attempt: Attempt, ending: Ending) -> None:
        lease_id = attempt.lease_id
        log.info("lease %s: %s: %s", lease_id[:10], ending.verdict, ending.text[-500:])
        attempt.frames.state(ending.verdict.value, ending.text)
        if ending.verdict in _LOST and attempt.unpaid_since is not None:
            lost_s = time.monotonic() - attempt.unpaid_since
            renter = attempt.terms.renter
            self._machinery.losses.add(renter, attempt.attempt_id, lost_s)
        self._machinery.leases.move(
            lease_id,
            LeasePhase.ENDED,
            verdict=ending.verdict.value,
            evidence={"evidence": ending.evidence.value, **ending.details},
            ended_at=int(time.time()),
        )
        upload(attempt)
