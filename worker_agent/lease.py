"""The loop that follows each lease on the chain, from signed terms to the last payment.

Every turn looks at the chain afresh; what the journal remembers decides only what was promised. So
the loop survives kills and reorganisations alike: an opening or a beacon that changed restarts the
job, a commit that was lost is sent again by the sender.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final, Protocol

from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verdicts import Evidence, Verdict
from contracts.bindings import CloseCause, LeaseStatus, LeaseView
from contracts.events import Closed, Opened
from worker_agent.payments import Payments
from worker_agent.ports import ChainPort
from worker_agent.records import LeasePhase, LeaseRecord, Leases
from worker_agent.settlement import DEADLINE_MARGIN_S
from worker_agent.vouchers import unpaid_too_long

log = logging.getLogger(__name__)

#: How long after ``open_by`` an unopened lease is remembered, in seconds.
_LATE_OPENING_S: Final = 60


class Runners(Protocol):
    """Starts and ends attempts; one thread each."""

    def busy_with(self, lease_id: str) -> bool:
        """Whether an attempt of this lease is running."""

    def start(self, lease_id: str) -> bool:
        """Start an attempt, unless this machine has none free."""

    def stop(self, lease_id: str, reason: str, within_s: float) -> None:
        """Ask an attempt to end at its next segment boundary, within some seconds."""

    def cancel(self, lease_id: str, reason: str) -> None:
        """Drop an attempt and wait for its end."""


class Deliveries(Protocol):
    """Brings artifacts, progress and endings to the market."""

    def committed(self, record: LeaseRecord, up_to: int) -> None:
        """The chain shows a commit: its last checkpoint belongs to the renter."""

    def paid(self, record: LeaseRecord, num_segments: int) -> None:
        """So many segments are paid, and no reorganisation takes that back."""

    def finish(self, record: LeaseRecord) -> None:
        """Post what is left of an ended lease; does nothing once all is posted."""

    def forget(self, record: LeaseRecord) -> None:
        """Drop everything of an attempt that a reorganisation made worthless."""

    def remove(self, record: LeaseRecord) -> None:
        """Remove the files of a closed lease."""


class LeaseLoop:
    """Drives all leases; one turn looks at each of them.

    Parameters
    ----------
    confirmations:
        Blocks on top of an opening before the job starts.
    """

    def __init__(
        self,
        chain: ChainPort,
        leases: Leases,
        payments: Payments,
        runners: Runners,
        deliveries: Deliveries,
        confirmations: int,
    ) -> None:
        self._chain = chain
        self._leases = leases
        self._payments = payments
        self._runners = runners
        self._deliveries = deliveries
        self._confirmations = confirmations
        self._paid: dict[str, tuple[int, int]] = {}

    def guard(self) -> None:
        """Before anything is broadcast again: stop what a reorganisation may have made wrong.

        The block that was newest when a lease's beacon was read must still be there. While it is
        not, the beacon may change: commits are taken back until it is known again.
        """
        for record in self._leases.active():
            if record.anchor_block is None or record.phase is LeasePhase.SIGNED:
                continue
            block = self._chain.block(record.anchor_block)
            if block is None or block.hash.hex() != record.anchor_hash:
                log.warning("lease %s: the chain was reorganised", record.lease_id[:10])
                self._payments.abandon(record)
                self._leases.update(record.lease_id, anchor_block=None, anchor_hash=None)

    def tick(self) -> None:
        """Look at every lease; one that fails does not hold up the others."""
        self.guard()
        failure: Exception | None = None
        for record in self._leases.active():
            try:
                self._drive(record)
            except Exception as error:  # the edge of one lease: raised again after the others
                log.debug("lease %s", record.lease_id[:10], exc_info=True)
                failure = error
        if failure is not None:
            raise failure

    def _drive(self, record: LeaseRecord) -> None:
        lease = self._chain.lease(record.digest)
        if record.phase is LeasePhase.SIGNED:
            self._look_for_opening(record, lease)
        elif lease.status is LeaseStatus.NONE:
            self._opening_vanished(record)
        elif record.phase is LeasePhase.OPENED:
            self._confirm(record, lease)
        elif record.anchor_block is None and not self._anchored(record):
            return
        elif lease.status is LeaseStatus.CLOSED:
            self._closed(record)
        else:
            self._live(record, lease)

    def _look_for_opening(self, record: LeaseRecord, lease: LeaseView) -> None:
        if lease.status is not LeaseStatus.NONE:
            opened = self._find_opening(record)
            if opened is not None:
                self._leases.move(
                    record.lease_id,
                    LeasePhase.OPENED,
                    opened_block=opened.block_number,
                    opened_hash=opened.block_hash.hex(),
                    opened_at=lease.opened_at,
                )
                log.info("lease %s: opened", record.lease_id[:10])
        elif self._chain.now() > record.parsed_terms.open_by + _LATE_OPENING_S:
            self._leases.move(record.lease_id, LeasePhase.DROPPED)
            self._deliveries.remove(record)

    def _find_opening(self, record: LeaseRecord) -> Opened | None:
        first, last = max(0, record.signed_block - 5), self._chain.head()
        for event in self._chain.events(first, last, topic=record.digest):
            if isinstance(event, Opened):
                return event
        return None

    def _confirm(self, record: LeaseRecord, lease: LeaseView) -> None:
        """Start the job once its opening is confirmed and its beacon known."""
        opened = self._find_opening(record)
        if opened is None or opened.block_hash.hex() != record.opened_hash:
            self._restart(record, LeasePhase.SIGNED)
            return
        beacon = self._chain.beacon(opened.block_number)
        deep = self._chain.head() >= opened.block_number + self._confirmations
        if beacon is None or not deep or lease.status is LeaseStatus.CLOSED:
            if lease.status is LeaseStatus.CLOSED:
                self._end(record, Verdict.RENTER_STOPPED, Evidence.STOP_EVENT)
            return
        # The anchor is read first: a beacon that changes in between is noticed later.
        anchor = self._anchor()
        if self._chain.beacon(opened.block_number) != beacon:
            return
        self._leases.move(record.lease_id, LeasePhase.RUNNING, beacon=beacon.hex(), **anchor)
        self._runners.start(record.lease_id)

    def _opening_vanished(self, record: LeaseRecord) -> None:
        """A reorganisation removed the opening; the renter will send it again, or not."""
        self._restart(record, LeasePhase.SIGNED)

    def _anchored(self, record: LeaseRecord) -> bool:
        """After a reorganisation: whether the beacon is known again, and the same."""
        assert record.opened_block is not None
        beacon = self._chain.beacon(record.opened_block)
        if beacon is None:
            return False  # the chain is being built again: the job goes on, nothing is sent
        if beacon.hex() != record.beacon:
            self._restart(record, LeasePhase.OPENED)
            return False
        self._leases.update(record.lease_id, **self._anchor())
        return True

    def _anchor(self) -> dict[str, Any]:
        block = self._chain.block()
        assert block is not None
        return {"anchor_block": block.number, "anchor_hash": block.hash.hex()}

    def _restart(self, record: LeaseRecord, phase: LeasePhase) -> None:
        """Throw away an attempt whose seed is void."""
        log.warning("lease %s: the chain was reorganised, starting over", record.lease_id[:10])
        self._runners.cancel(record.lease_id, "reorganised")
        self._payments.abandon(record)
        with self._leases.journal.transaction():
            self._leases.forget_segments(record.lease_id)
            self._deliveries.forget(record)
            if record.phase is not phase:
                self._leases.move(record.lease_id, phase, **_BLANK)
        if phase is LeasePhase.OPENED:
            self._reopen(record)

    def _reopen(self, record: LeaseRecord) -> None:
        """The opening may lie in another block now."""
        opened = self._find_opening(record)
        if opened is None:
            self._leases.move(record.lease_id, LeasePhase.SIGNED)
            return
        self._leases.update(
            record.lease_id,
            opened_block=opened.block_number,
            opened_hash=opened.block_hash.hex(),
        )

    def _live(self, record: LeaseRecord, lease: LeaseView) -> None:
        terms = record.parsed_terms
        if lease.is_unretrievable:
            record = self._give_up(record)
        if record.phase is LeasePhase.RUNNING:
            self._watch_end(record, terms, lease)
            if not self._runners.busy_with(record.lease_id):
                self._runners.start(record.lease_id)
        self._payments.step(record, lease)
        if lease.pending:
            self._deliveries.committed(record, lease.pending)
        self._watch_pay(record, lease)
        if record.phase is LeasePhase.ENDED:
            self._deliveries.finish(record)

    def _give_up(self, record: LeaseRecord) -> LeaseRecord:
        """Checkpoints could not be fetched: nothing more can be committed, so nothing runs on."""
        self._runners.cancel(record.lease_id, "not retrievable")
        record = self._leases.get(record.lease_id) or record
        self._end(record, *_ENDINGS[CloseCause.UNRETRIEVABLE])
        return self._leases.get(record.lease_id) or record

    def _watch_pay(self, record: LeaseRecord, lease: LeaseView) -> None:
        """Tell of paid segments once the payment is as deep as a closing must be."""
        head = self._chain.head()
        paid, since = self._paid.get(record.lease_id, (0, head))
        if paid and lease.paid >= paid and head - since >= 2 * self._confirmations:
            self._deliveries.paid(record, paid)
            paid = 0
        if not paid or lease.paid < paid:
            self._paid[record.lease_id] = (lease.paid, head)

    def _watch_end(self, record: LeaseRecord, terms: Terms, lease: LeaseView) -> None:
        """Stop the job in time for its last commit."""
        now = self._chain.now()
        if lease.stopped_at:
            left = lease.stopped_at + terms.commit_grace - DEADLINE_MARGIN_S - now
            self._runners.stop(record.lease_id, Verdict.RENTER_STOPPED, max(0, left))
            return
        if terms.metered and unpaid_too_long(self._leases, record):
            self._runners.stop(record.lease_id, Verdict.BUDGET_EXHAUSTED, 0)
            return
        end = lease.opened_at + terms.max_duration
        left = end - DEADLINE_MARGIN_S - now
        if left <= max(record.segment_s, 2 * DEADLINE_MARGIN_S):
            self._runners.stop(record.lease_id, Verdict.EXPIRED, max(0, left))

    def _closed(self, record: LeaseRecord) -> None:
        """The chain says that the lease is over, whoever ended it."""
        closing = self._closing(record)
        if closing is None:
            return  # seen in one answer and not in the next: look again
        cause = closing.cause
        if record.phase is LeasePhase.RUNNING:
            self._runners.cancel(record.lease_id, "closed")
            record = self._leases.get(record.lease_id) or record
        if record.phase is LeasePhase.RUNNING or cause in _NO_OTHER:
            verdict, evidence = _ENDINGS.get(cause, (Verdict.RENTER_STOPPED, Evidence.STOP_EVENT))
            self._end(record, verdict, evidence)
            record = self._leases.get(record.lease_id) or record
        self._deliveries.finish(record)
        record = self._leases.get(record.lease_id) or record
        deep = self._chain.head() - closing.block_number >= 2 * self._confirmations
        if record.delivered and record.ending_posted and deep:
            self._leases.move(record.lease_id, LeasePhase.CLOSED)
            self._deliveries.remove(record)
            log.info("lease %s: closed, %s", record.lease_id[:10], cause.name.lower())

    def _closing(self, record: LeaseRecord) -> Closed | None:
        first = record.opened_block or record.signed_block
        for event in self._chain.events(first, self._chain.head(), topic=record.digest):
            if isinstance(event, Closed):
                return event
        return None

    def _end(self, record: LeaseRecord, verdict: Verdict, evidence: Evidence) -> None:
        changes = {"verdict": verdict.value, "evidence": {"evidence": evidence.value}}
        if record.phase is LeasePhase.ENDED:
            if record.verdict != verdict:
                self._leases.update(record.lease_id, **changes, ending_posted=False)
        else:
            self._leases.move(
                record.lease_id, LeasePhase.ENDED, ended_at=int(time.time()), **changes
            )


_BLANK: Final[dict[str, Any]] = {
    "beacon": None,
    "anchor_block": None,
    "anchor_hash": None,
    "transactions": [],
    "accepted": False,
    "verdict": None,
    "evidence": {},
    "ending_posted": False,
    "delivered": False,
    "ended_at": None,
}
"""What an attempt wrote into its lease's record, taken back."""

_ENDINGS: Final = {
    CloseCause.FRAUD: (Verdict.PROOF_REJECTED, Evidence.RULING),
    CloseCause.DISPUTE_TIMED_OUT: (Verdict.NETWORK_FAULT, Evidence.DEADLINE),
    CloseCause.RENTER_STOPPED: (Verdict.RENTER_STOPPED, Evidence.STOP_EVENT),
    CloseCause.EXPIRED: (Verdict.EXPIRED, Evidence.DEADLINE),
    CloseCause.NEVER_COMMITTED: (Verdict.PROVIDER_FAULT, Evidence.OPERATOR_STATEMENT),
    CloseCause.COMPLETED: (Verdict.BUDGET_EXHAUSTED, Evidence.FINAL_COMMIT),
    CloseCause.PROVIDER_CLOSED: (Verdict.PROVIDER_FAULT, Evidence.OPERATOR_STATEMENT),
    CloseCause.UNRETRIEVABLE: (Verdict.PROVIDER_FAULT, Evidence.ATTESTATION),
    CloseCause.ACCEPTANCE_FAILED: (Verdict.ACCEPTANCE_FAILED, Evidence.PROBE_DIGESTS),
}
"""What a worker says of a lease that others closed while its job was running."""

_NO_OTHER: Final = {
    CloseCause.FRAUD,
    CloseCause.UNRETRIEVABLE,
    CloseCause.ACCEPTANCE_FAILED,
}
"""Causes beside which no earlier ending stands."""
