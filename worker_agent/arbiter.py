"""The arbiter: re-executes a challenged segment twice, in two different ways, and rules.

One run goes on from the handed-over checkpoint, the other runs from the job's start. Code that
carries state outside its checkpoints, or that is not deterministic, makes the two differ: then
nothing is proven against the provider and the ruling is honest. Fraud needs two runs that agree
with each other and not with the commit. They run one after the other, so that neither takes the
other's memory, and each when it has a seat (`Seats`): the first is short, and clears an honest
commit whatever else runs. What fails is run again, and what fails again is no ground for any
ruling, unless the code itself ends both runs in the same way. What no market gave while there was
time to judge it (`Dispute.missed`) is attested as not retrievable shortly before the ruling's time
ends: unpaid, and nobody is slashed for it.

A ruling covers all committed segments, so an honest one waits until each segment that was
challenged, or whose data were demanded, was found right. One decision is sent for a dispute, never
two.

A provider that made up the state before the challenged segment too hands over a false checkpoint,
and the two runs differ for that reason. So when the run from the start does not pass through the
committed state, the segment is run again from that run's own checkpoint instead.

After a fraud nothing that was still pending is paid: who lied once has proven none of it.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from client_sdk.chain.errors import CallReverted
from client_sdk.chain.journal import TxState
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord
from client_sdk.protocol.states import AuditKind, AuditState
from contracts.bindings import Call, DisputeView
from worker_agent.audit import agrees
from worker_agent.case import Case, CaseInputs, check_opening, checkpoint_folder, margin_of
from worker_agent.context import Context
from worker_agent.dispute import Dispute
from worker_agent.errors import BadOpening, JobFailed, MarketRefused, Withheld, WorkerError
from worker_agent.examine import Examiner
from worker_agent.exchange import give_outcome
from worker_agent.execution import Control
from worker_agent.jobs import Jobs
from worker_agent.market import Market
from worker_agent.replay import CheckpointUnusable, ReplayCancelled
from worker_agent.seats import SHORT_S, Length

log = logging.getLogger(__name__)
_LEAST_LIMIT_S: Final = 60.0
_ANSWERED: Final = frozenset({AuditState.INPUTS_READY, AuditState.OPENED})
_DECISION: Final = "decision"
_WHOLE: Final = (Length.LONG, Length.LONG)
_SENT: Final = frozenset({TxState.SENT, TxState.MINED, TxState.CONFIRMED})

T = TypeVar("T")
Result = SegmentRecord | WorkerError
Pair = tuple[SegmentRecord, SegmentRecord | None]
"""Result of a run from the start, and of a second one from its own checkpoint where needed."""


@dataclass(slots=True)
class Runs:
    """The two runs of one case, one after the other, and a third where they do not suffice."""

    resumed: Future[SegmentRecord]
    whole: Future[Pair]
    control: Control
    """Ends all of them."""
    third: Future[SegmentRecord] | None = None

    @property
    def begun(self) -> list[Future[Any]]:
        """Those that run, wait for their turn or are over."""
        return [run for run in (self.resumed, self.whole, self.third) if run is not None]


class Arbiter(Examiner):
    """Rules on challenges and demands for data, of leases whose terms name this account."""

    kind = AuditKind.ARBITRATION
    role = "arbiter"

    def __init__(self, context: Context, jobs: Jobs, hardware_class: bytes) -> None:
        super().__init__(context, jobs, hardware_class)
        self._runs: dict[str, Runs] = {}
        self._deciding = threading.Lock()
        self._disputes: dict[bytes, Dispute] = {}

    def step(self, market: Market, case: Case) -> None:
        """Start both runs with the inputs; report the first result; rule once it is opened.

        It waits for no run: the next turn looks again, and other cases have their turn meanwhile.
        """
        dispute = self._dispute_of(case)
        if dispute is None or case.audit.segment not in case.history.disputed:
            return  # what is missing of an earlier dispute must not end this one
        try:
            opening, inputs = self._given(market, dispute, case)
        except (Withheld, BadOpening) as error:
            self._attest(dispute, case, str(error))
            return
        with self._lock:
            dispute.found(case.audit)
        runs = self._start(case, inputs)
        if not runs.resumed.done():
            return
        if opening is not None:
            self._rule(market, dispute, case, opening, runs)
        else:
            resumed = result_of(runs.resumed)
            self.report(market, case, resumed if isinstance(resumed, SegmentRecord) else None)

    def limit_s(self, case: Case) -> float:
        """A run that ends after the dispute is of no use."""
        return max(_LEAST_LIMIT_S, float(case.history.terms.dispute_timeout))

    def forget(self, case_id: str) -> None:
        """Drop all runs as well: results of cancelled ones are none."""
        super().forget(case_id)
        with self._lock:
            runs = self._runs.pop(case_id, None)
        if runs is not None:
            runs.control.cancel("the case is over")

    def close(self) -> None:
        """Drop what is running, and wait until it has ended."""
        with self._lock:
            all_runs = list(self._runs.values())
        for runs in all_runs:
            runs.control.cancel("the daemon stops")
        super().close()
        wait([run for runs in all_runs for run in runs.begun])

    def _given(
        self, market: Market, dispute: Dispute, case: Case
    ) -> tuple[BoundaryOpening | None, CaseInputs]:
        """What the provider has handed over: the opening, where it is its time, and the inputs.

        Raises
        ------
        Withheld, BadOpening
            It is not there, is no answer, or came too late.
        """
        audit, opening = case.audit, None
        if dispute.is_late(audit):
            raise Withheld("half of the time was over before an answer came")
        if audit.state not in _ANSWERED:
            raise Withheld(f"no answer while {audit.state}")
        if audit.state is AuditState.OPENED:
            opening = check_opening(case, audit.opening, audit.segment)
        return opening, self.inputs(market, case)

    def _start(self, case: Case, inputs: CaseInputs) -> Runs:
        """Start both runs, or find them running; after a restart they start again."""
        with self._lock:
            known = self._runs.get(case.audit.case_id)
            if known is None:
                known = self._runs[case.audit.case_id] = self._new_runs(case, inputs)
        return known

    def _new_runs(self, case: Case, inputs: CaseInputs) -> Runs:
        control = Control()
        resumed = self._seat(
            case,
            control,
            lambda length: self._resumed(case, inputs, control, length),
            *self._tries(case),
        )
        # It waits for the machine, but not for the opening: that would let the provider choose how
        # much time is left.
        whole = self._seat(
            case,
            control,
            lambda _: self.run_whole(case, inputs, "whole", control),
            *_WHOLE,
            after=resumed,
        )
        return Runs(resumed, whole, control)

    def _third(self, market: Market, case: Case, runs: Runs) -> Future[SegmentRecord]:
        """A second run from the start, begun once."""
        if runs.third is None:
            inputs, control = self.inputs(market, case), runs.control
            runs.third = self._seat(
                case,
                control,
                lambda _: self.run_again(case, inputs, "third", control, from_start=True),
                *_WHOLE,
                after=runs.whole,
            )
        return runs.third

    def _tries(self, case: Case) -> tuple[Length, ...]:
        """Lengths at which one segment is tried; the last one repeats the one before it."""
        if self.limit_of(case, 1) <= SHORT_S:
            return Length.SHORT, Length.SHORT  # all its time is short
        return Length.SHORT, Length.SEGMENT, Length.SEGMENT

    def _seat(
        self,
        case: Case,
        control: Control,
        run: Callable[[Length], T],
        *lengths: Length,
        after: Future[Any] | None = None,
    ) -> Future[T]:
        """Run once there is a seat; what fails is repeated: it may be this machine's fault."""

        def run_unless_cancelled(length: Length) -> T:
            if control.cancelled:
                raise ReplayCancelled(control.cancelled)
            return run(length)

        return self.seats.start(case, run_unless_cancelled, *lengths, after=after)

    def _resumed(
        self, case: Case, inputs: CaseInputs, control: Control, length: Length
    ) -> SegmentRecord:
        longest_s = SHORT_S if length is Length.SHORT else math.inf
        record = self.run_again(case, inputs, "resumed", control, longest_s=longest_s)
        if case.audit.segment > 0 and record.first_step != inputs.first_step:
            raise CheckpointUnusable("the state claims another place in the job than its opening")
        return record

    def _dispute_of(self, case: Case) -> Dispute | None:
        """The lease's open dispute; ``None`` when there is none, or this arbiter has decided it."""
        lease_id = case.audit.lease_id
        begun = self._view(lease_id).disputed_at
        now = Dispute(lease_id, begun, begun + case.history.terms.dispute_timeout)
        if not now.disputed_at or self._is_decided(now):
            with self._lock:
                self._disputes.pop(lease_id, None)
            return None
        with self._lock:
            known = self._disputes.get(lease_id)
            if known is None or known.disputed_at != now.disputed_at:
                known = self._disputes[lease_id] = now
        return known

    def _view(self, lease_id: bytes) -> DisputeView:
        """What the chain says of a lease's dispute now; all zero when there is none."""
        return self.context.chain.view(self.context.chain.escrow.dispute_of(lease_id))

    def _attest(self, dispute: Dispute, case: Case, why: str) -> None:
        """Say that the data cannot be fetched, in the last moment in which that is possible."""
        chain, terms = self.context.chain, case.history.terms
        now = chain.now()
        with self._lock:
            everywhere = dispute.missed(case.audit, now)
        if not (everywhere and self.waited(case)):
            return
        if not dispute.ends_at - margin_of(terms.dispute_timeout) <= now < dispute.ends_at:
            return
        # What was challenged below cannot stay without a ruling, which can only cover all. In the
        # second half of the time nobody can point lower any more.
        good = self._view(dispute.lease_id).lowest_segment
        call = chain.escrow.attest_unretrievable(terms.abi_tuple(), good)
        if self._decide(dispute, case, call, f"attest:{good}"):
            log.warning("%s: NOT RETRIEVABLE, good segments %d: %s", case.short, good, why)

    def _rule(
        self, market: Market, dispute: Dispute, case: Case, opening: BoundaryOpening, runs: Runs
    ) -> None:
        resumed = result_of(runs.resumed)
        if isinstance(resumed, SegmentRecord) and agrees(resumed, opening):
            runs.control.cancel("the commit is confirmed")
            self._send(market, dispute, case, fraud=False, why="the commit is reproduced")
            return
        if not runs.whole.done():
            return
        whole, third = pair_of(runs.whole)
        usable = third is not None or not isinstance(resumed, CheckpointUnusable)
        if not usable and isinstance(whole, SegmentRecord):
            # Nothing to compare the whole run with: only a second one like it can be.
            second = self._third(market, case, runs)
            if not second.done():
                return
            third = result_of(second)
        fraud, why = judge(opening, resumed, whole, third)
        if fraud is None:
            self._warn(market.url, case.audit.audit_id, f"{case.short}: no ruling: {why}")
            return
        self._send(market, dispute, case, fraud=fraud, why=why)

    def _send(self, market: Market, dispute: Dispute, case: Case, *, fraud: bool, why: str) -> None:
        chain, audit, terms = self.context.chain, case.audit, case.history.terms
        view = self._view(audit.lease_id)
        if view.disputed_at != dispute.disputed_at:
            return
        if not fraud and not self._all_right(dispute, case, view.lowest_segment):
            return
        # Honest: a lower challenge in front of the ruling makes it fail, and is looked at next.
        segment = chain.lease(audit.lease_id).paid if fraud else view.lowest_segment
        word = "FRAUD" if fraud else "honest"
        log.warning("%s: ruling %s, segment %d: %s", case.short, word, segment, why)
        call = chain.escrow.rule(terms.abi_tuple(), fraud, segment)
        if not self._decide(dispute, case, call, f"{word}:{segment}"):
            return
        try:
            give_outcome(market, audit.audit_id, not fraud, {"ruling": word, "reason": why})
        except MarketRefused as error:
            log.info("%s: %s", case.short, error)  # the chain says it anyway

    def _all_right(self, dispute: Dispute, case: Case, lowest: int) -> bool:
        """Whether this was the last of the dispute's segments that was not yet found right.

        Else an accomplice's challenge of a right segment would let a false one above it pass.
        """
        # Its pair has a part of the disk only, and others of the dispute's segments may need it.
        shutil.rmtree(checkpoint_folder(self.context, case), ignore_errors=True)
        with self._lock:
            dispute.right.add(case.audit.segment)
            return case.history.disputed | {lowest} <= dispute.right

    def _decide(self, dispute: Dispute, case: Case, call: Call, what: str) -> bool:
        """Send the one decision on a dispute; whether the contract takes it.

        A second one, sent before the first is in a block, would hit the lease as the first left it.
        """
        key = f"rule:{dispute}:{what}"
        with self._deciding:
            if self._is_decided(dispute):
                return False
            self.context.journal.put(_DECISION, str(dispute), {"key": key})
            try:
                self.context.sender.submit(call, key, retry=True)
            except CallReverted as error:
                log.warning("%s: %s", case.short, error)
                return False
        return True

    def _is_decided(self, dispute: Dispute) -> bool:
        known = self.context.journal.get(_DECISION, str(dispute))
        return known is not None and self.context.sender.state(known["key"]) in _SENT


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
    if _fail_alike(resumed, whole):
        return False, "the code itself ends both runs alike: nothing is proven"
    return None, "this machine could not run the segment twice"


def _fail_alike(first: Result, second: Result) -> bool:
    """Whether the renter's code ended both runs by itself, in the same way."""
    if not (isinstance(first, JobFailed) and isinstance(second, JobFailed)):
        return False
    return first.exit_code is not None and first.exit_code == second.exit_code


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
