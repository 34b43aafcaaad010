"""The auditor: re-executes drawn segments blind, compares bit for bit, challenges what differs.

A mismatch is confirmed by a second run of its own before the auditor puts up a bond, when the
window leaves time for it. Where inputs or opening are withheld until shortly before the window
closes, the auditor demands the data on chain, with the same bond: whoever withholds them, provider
or market, unverified work is then not paid unless the arbiter can fetch them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from client_sdk.chain.errors import CallReverted
from client_sdk.protocol.money import challenge_bond
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord
from client_sdk.protocol.states import AuditKind, AuditState
from contracts.bindings import Call, LeaseStatus, LeaseView, Token
from worker_agent.case import MARGIN_S, Case, check_opening, margin_of
from worker_agent.context import Context
from worker_agent.errors import BadOpening, JobFailed, MarketRefused, Withheld, WorkerError
from worker_agent.examine import Examiner
from worker_agent.exchange import give_outcome
from worker_agent.jobs import Jobs
from worker_agent.market import Market
from worker_agent.replay import CheckpointUnusable
from worker_agent.settlement import matures_at

log = logging.getLogger(__name__)

_ALLOWANCE: Final = 1 << 128
_AGREED: Final = "agreed"
_DEMANDED: Final = "demanded"


class Auditor(Examiner):
    """Audits that the beacon drew for this account."""

    kind = AuditKind.AUDIT
    role = "auditor"

    def __init__(self, context: Context, jobs: Jobs, hardware_class: bytes) -> None:
        super().__init__(context, jobs, hardware_class)
        self._took: dict[str, float] = {}

    def step(self, market: Market, case: Case) -> None:
        """Run and report; compare once the provider has opened; answer lies and silence."""
        state = case.audit.state
        try:
            if state is AuditState.INPUTS_READY:
                self._execute(market, case)
            elif state is AuditState.OPENED:
                self._compare(market, case)
            else:
                self._demand(case, f"no answer while {state}")
        except (Withheld, BadOpening) as error:
            # The other side answered, but with something that is no answer.
            log.warning("%s: %s", case.short, error)
            self._demand(case, str(error))

    def limit_s(self, case: Case) -> float:
        """A run that ends after the window is of no use."""
        return float(max(60, case.history.terms.window))

    def _execute(self, market: Market, case: Case) -> None:
        inputs = self.inputs(market, case)
        known, record = self.recall(case, "first")
        if not known:
            begun = time.monotonic()
            try:
                record = self.run_again(case, inputs, "first")
            except CheckpointUnusable as error:
                log.warning("%s: %s", case.short, error)
                record = None
            except JobFailed as error:
                # It may be this machine: nobody is challenged for what could not be computed.
                log.warning("%s: the job fails here: %s", case.short, error)
                return
            if record is not None and record.first_step != inputs.first_step:
                record = None  # the state claims another place in the job than its opening
            self._took[case.audit.audit_id] = time.monotonic() - begun
            self.remember(case, "first", record)
        self.report(market, case, record)

    def _compare(self, market: Market, case: Case) -> None:
        opening = check_opening(case, case.audit.opening, case.audit.segment)
        known, record = self.recall(case, "first")
        if not known:
            self._execute_silently(market, case)
            return
        if record is not None and agrees(record, opening):
            evidence = {"state_hash": "0x" + record.state_hash.hex()}
            self.context.journal.put(_AGREED, _work_of(case), {"audit_id": case.audit.audit_id})
            give_outcome(market, case.audit.audit_id, True, evidence)
            log.info("%s: agreed", case.short)
            return
        if self._comes_too_late(case):
            return
        log.warning("%s: MISMATCH", case.short)
        if not self._time_for_second(case):
            # The arbiter executes it twice anyway; a window that has closed is closed for ever.
            self._challenge(market, case, "the states differ")
        elif self._confirmed(market, case, record):
            self._challenge(market, case, "the states differ in two runs")

    def _execute_silently(self, market: Market, case: Case) -> None:
        """The journal lost the result that was reported: compute it again."""
        try:
            record = self.run_again(case, self.inputs(market, case), "first")
        except CheckpointUnusable:
            self.remember(case, "first", None)
        else:
            self.remember(case, "first", record)

    def _time_for_second(self, case: Case) -> bool:
        """Whether another run like the first ends well before the window closes."""
        chain = self.context.chain
        closes = matures_at(case.history.terms, chain.lease(case.audit.lease_id))
        needed = 1.5 * self._took.get(case.audit.audit_id, 0.0) + MARGIN_S[0]
        return closes - chain.now() > needed

    def _confirmed(self, market: Market, case: Case, first: SegmentRecord | None) -> bool:
        """Whether a second run gives the same as the first: then it is not this machine's error."""
        inputs = self.inputs(market, case)
        try:
            second: SegmentRecord | None = self.run_again(case, inputs, "second")
        except CheckpointUnusable:
            second = None
        except WorkerError as error:
            log.warning("%s: the second run fails: %s", case.short, error)
            return False
        if first is None or second is None:
            return first is second
        if first.same_work(second):
            return True
        log.error("%s: two own runs differ, the job cannot be replayed", case.short)
        return False

    def _demand(self, case: Case, why: str) -> None:
        """Demand what is withheld, in the last moment in which that is possible.

        One market relays both sides of an audit and can keep the answers back. So nothing is
        demanded of a segment that this auditor found right through another market. Nor is it
        demanded twice: the arbiter could fetch what this auditor cannot.
        """
        journal, work = self.context.journal, _work_of(case)
        if journal.get(_AGREED, work) is not None or journal.get(_DEMANDED, work) is not None:
            return
        if not (self.waited(case) and self._overdue(case)):
            return
        lease = self.context.chain.lease(case.audit.lease_id)
        call = self.context.chain.escrow.demand_data
        if self._may_challenge(lease, case) and self._dispute("demand", call, lease, case, why):
            journal.put(_DEMANDED, work, {"audit_id": case.audit.audit_id})

    def _overdue(self, case: Case) -> bool:
        """Whether the window is about to close, while a demand is still possible."""
        lease = self.context.chain.lease(case.audit.lease_id)
        if lease.status is not LeaseStatus.ACTIVE:
            return False
        closes = matures_at(case.history.terms, lease)
        margin = margin_of(case.history.terms.window)
        return closes - margin <= self.context.chain.now() < closes

    def _challenge(self, market: Market, case: Case, why: str) -> None:
        lease = self.context.chain.lease(case.audit.lease_id)
        if self._may_challenge(lease, case):
            call = self.context.chain.escrow.challenge
            if not self._dispute("challenge", call, lease, case, why):
                return
        try:
            give_outcome(market, case.audit.audit_id, False, {"reason": why[:300]})
        except MarketRefused as error:
            log.info("%s: %s", case.short, error)

    def _dispute(
        self, name: str, call: Callable[..., Call], lease: LeaseView, case: Case, why: str
    ) -> bool:
        """Send a challenge or a demand, with its bond; whether the contract takes it."""
        audit, terms = case.audit, case.history.terms
        log.warning("%s: %s: %s", case.short, name.upper(), why)
        self._allow(terms.token, challenge_bond(terms))
        key = f"{name}:{audit.lease_id.hex()}:{audit.segment}:{lease.committed_at}"
        try:
            self.context.sender.submit(call(terms.abi_tuple(), audit.segment), key, retry=True)
        except CallReverted as error:
            log.warning("%s: %s", case.short, error)
            return False
        return True

    def _comes_too_late(self, case: Case) -> bool:
        """Whether an open dispute can no longer be pointed at this segment, which is below it.

        The contract gives the arbiter the second half of its time for the last segment it was
        shown. A case that is too late waits: after an honest ruling the window goes on.
        """
        chain, terms = self.context.chain, case.history.terms
        if chain.lease(case.audit.lease_id).status is not LeaseStatus.DISPUTED:
            return False
        dispute = chain.view(chain.escrow.dispute_of(case.audit.lease_id))
        is_over = chain.now() >= dispute.disputed_at + terms.dispute_timeout // 2
        return is_over and case.audit.segment < dispute.lowest_segment

    def _may_challenge(self, lease: LeaseView, case: Case) -> bool:
        if not lease.paid <= case.audit.segment < lease.pending:
            return False
        if lease.status is LeaseStatus.DISPUTED:
            dispute = self.context.chain.view(
                self.context.chain.escrow.dispute_of(case.audit.lease_id)
            )
            return case.audit.segment < dispute.lowest_segment
        return lease.status is LeaseStatus.ACTIVE

    def _allow(self, token: str, amount: int) -> None:
        """Let the escrow pull bonds; it pulls only what this account's own challenges name."""
        chain, own = self.context.chain, self.context.sender.address
        allowed = chain.view(Token(token).allowance(own, chain.escrow.address))
        if allowed < amount:
            call = Token(token).approve(chain.escrow.address, _ALLOWANCE)
            self.context.sender.send(call, f"approve:{token}:{allowed}", confirmations=0)

    def prepare(self) -> None:
        """Approve bonds in this worker's token ahead of time: windows can be short."""
        self._allow(self.context.token.address, 1)


def _work_of(case: Case) -> str:
    """Name of what a case is about, the same at every market."""
    return f"{case.audit.lease_id.hex()}:{case.audit.segment}:{case.audit.commit_root.hex()}"


def agrees(record: SegmentRecord, opening: BoundaryOpening) -> bool:
    """Whether an own execution ended where the provider says that the segment ended."""
    mine = (record.state_hash, record.end_step, record.final)
    return mine == (opening.state_hash, opening.end_step, opening.final)
