"""The arbiter: re-executes a challenged segment twice, in two different ways, and rules.

One run goes on from the handed-over checkpoint, the other runs from the job's start. Code that
carries state outside its checkpoints, or that is not deterministic, makes the two differ: then
nothing is proven against the provider and the ruling is honest. Fraud needs two runs that agree
with each other and not with the commit. Without inputs there is no ruling: the dispute times out.

A provider that made up the state before the challenged segment too hands over a false checkpoint,
and the two runs differ for that reason. So when the run from the start does not pass through the
committed state, the segment is run again from that run's own checkpoint instead.

After a fraud nothing that was still pending is paid: who lied once has proven none of it.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Final

from client_sdk.chain.errors import CallReverted
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord
from client_sdk.protocol.states import AuditKind, AuditState
from contracts.bindings import LeaseStatus
from worker_agent.audit import agrees
from worker_agent.case import Case, CaseInputs, check_opening
from worker_agent.context import Context
from worker_agent.errors import JobFailed, MarketRefused, WorkerError
from worker_agent.examine import Examiner, in_thread
from worker_agent.exchange import give_outcome
from worker_agent.execution import Control
from worker_agent.jobs import Jobs
from worker_agent.market import Market
from worker_agent.replay import CheckpointUnusable

log = logging.getLogger(__name__)
_LEAST_LIMIT_S: Final = 60.0

Result = SegmentRecord | WorkerError
Pair = tuple[SegmentRecord, SegmentRecord | None]
"""Result of a run from the start, and of a second one from its own checkpoint where needed."""


class Runs:
    """The two runs of one case, side by side."""

    def __init__(self, resumed: Future[SegmentRecord], whole: Future[Pair]) -> None:
        self.resumed = resumed
        self.whole = whole
        self.control = Control()


class Arbiter(Examiner):
    """Rules on challenges of leases whose terms name this account."""

    kind = AuditKind.ARBITRATION
    role = "arbiter"

    def __init__(self, context: Context, jobs: Jobs, hardware_class: bytes) -> None:
        super().__init__(context, jobs, hardware_class)
        self._runs: dict[str, Runs] = {}

    def step(self, market: Market, case: Case) -> None:
        """Start both runs with the inputs; report the first result; rule once it is opened."""
        if self.context.chain.lease(case.audit.lease_id).status is not LeaseStatus.DISPUTED:
            return
        state = case.audit.state
        if state is AuditState.INPUTS_READY:
            runs = self._start(market, case)
            resumed = result_of(runs.resumed)
            self.report(market, case, resumed if isinstance(resumed, SegmentRecord) else None)
        elif state is AuditState.OPENED:
            opening = check_opening(case, case.audit.opening, case.audit.segment)
            self._rule(market, case, opening)

    def limit_s(self, case: Case) -> float:
        """A run that ends after the dispute is of no use."""
        return max(_LEAST_LIMIT_S, float(case.history.terms.dispute_timeout))

    def forget(self, audit_id: str) -> None:
        """Drop both runs as well: results of cancelled ones are none."""
        super().forget(audit_id)
        with self._lock:
            runs = self._runs.pop(audit_id, None)
        if runs is not None:
            runs.control.cancel("its sibling was cancelled")

    def _start(self, market: Market, case: Case) -> Runs:
        """Start both runs, or find them running; after a restart they start again."""
        inputs = self.inputs(market, case)
        with self._lock:
            known = self._runs.get(case.audit.audit_id)
            if known is None:
                known = self._runs[case.audit.audit_id] = self._new_runs(case, inputs)
        return known

    def _new_runs(self, case: Case, inputs: CaseInputs) -> Runs:
        control = Control()
        whole = in_thread(lambda: self.run_whole(case, inputs, "whole", control))
        if case.audit.segment == 0:
            resumed = in_thread(lambda: self.run_again(case, inputs, "resumed"))
        else:
            resumed = in_thread(lambda: self._resumed(case, inputs))
        runs = Runs(resumed, whole)
        runs.control = control
        return runs

    def _resumed(self, case: Case, inputs: CaseInputs) -> SegmentRecord:
        record = self.run_again(case, inputs, "resumed")
        if record.first_step != inputs.first_step:
            raise CheckpointUnusable("the state claims another place in the job than its opening")
        return record

    def _rule(self, market: Market, case: Case, opening: BoundaryOpening) -> None:
        runs = self._start(market, case)
        resumed = result_of(runs.resumed)
        if isinstance(resumed, SegmentRecord) and agrees(resumed, opening):
            runs.control.cancel("the commit is confirmed")
            self._send(market, case, fraud=False, why="the commit is reproduced")
            return
        whole, third = pair_of(runs.whole)
        usable = third is not None or not isinstance(resumed, CheckpointUnusable)
        if not usable and isinstance(whole, SegmentRecord):
            # Nothing to compare the whole run with: only a second one like it can be.
            inputs = self.inputs(market, case)
            third = result_of(
                in_thread(lambda: self.run_again(case, inputs, "third", from_start=True))
            )
        fraud, why = judge(opening, resumed, whole, third)
        if fraud is None:
            log.error("%s: no ruling: %s", case.short, why)
            return
        self._send(market, case, fraud=fraud, why=why)

    def _send(self, market: Market, case: Case, *, fraud: bool, why: str) -> None:
        chain, audit, terms = self.context.chain, case.audit, case.history.terms
        lease = chain.lease(audit.lease_id)
        dispute = chain.view(chain.escrow.dispute_of(audit.lease_id))
        if lease.status is not LeaseStatus.DISPUTED:
            return
        good = lease.paid if fraud else lease.pending
        word = "FRAUD" if fraud else "honest"
        log.warning("%s: ruling %s, good segments %d: %s", case.short, word, good, why)
        key = f"rule:{audit.lease_id.hex()}:{dispute.disputed_at}"
        try:
            self.context.sender.submit(
                chain.escrow.rule(terms.abi_tuple(), fraud, good), key, retry=True
            )
        except CallReverted as error:
            log.warning("%s: %s", case.short, error)
            return
        try:
            give_outcome(market, audit.audit_id, not fraud, {"ruling": word, "reason": why})
        except MarketRefused as error:
            log.info("%s: %s", case.short, error)  # the chain says it anyway


def judge(
    opening: BoundaryOpening, resumed: Result, whole: Result, third: Result | None = None
) -> tuple[bool | None, str]:
    """Decide from the results of the runs.

    Parameters
    ----------
    opening:
        What the provider committed to, checked against the chain.
    resumed:
        Result of the run from the handed-over checkpoint.
    whole:
        Result of the run from the job's start.
    third:
        Result of another one, or of a run from the checkpoint of ``whole``: it then stands for
        ``resumed``, whose start was not a state of this job.

    Returns
    -------
    tuple[bool | None, str]
        Fraud, honest, or ``None`` for no ruling; and why.
    """
    records = [run for run in (resumed, whole, third) if isinstance(run, SegmentRecord)]
    if any(agrees(record, opening) for record in records):
        return False, "the commit is reproduced"
    if third is not None:
        records = [run for run in (whole, third) if isinstance(run, SegmentRecord)]
    if len(records) >= 2:
        first, second = records
        if first.same_work(second):
            return True, "two runs agree with each other and not with the commit"
        return False, "two own runs differ: the job cannot be replayed"
    if any(isinstance(run, JobFailed) for run in (resumed, whole, third)):
        return False, "the job fails here: nothing is proven against the provider"
    return None, "this machine could not run the segment twice"


def pair_of(future: Future[Pair]) -> tuple[Result, Result | None]:
    """Results of a run from the start, or the error that it ended with."""
    try:
        return future.result()
    except WorkerError as error:
        return error, None


def result_of(future: Future[SegmentRecord]) -> Result:
    """Result of a run, or the error that it ended with."""
    try:
        return future.result()
    except WorkerError as error:
        return error
