"""The auditor: re-executes drawn segments blind, compares bit for bit, challenges what differs.

A mismatch is confirmed by a second run of its own before the auditor puts up a bond, when the
window leaves time for it. What is confirmed is an objection in the journal, until the segment is
paid or the lease closed: a dispute that cannot be pointed at the segment is waited for, since an
honest ruling lets the window go on, and only then can the segment be challenged. Neither a restart
nor a market that ends or hides its row changes that; the market is told of the mismatch at once.

Where inputs or opening are withheld until shortly before the window closes, the auditor demands the
data on chain, with the same bond: whoever withholds them, provider or market, unverified work is
then not paid unless the arbiter can fetch them. In a dispute about a later segment it does so
before half of the arbiter's time is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from client_sdk.chain.errors import CallReverted, ChainError
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.money import challenge_bond
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord
from client_sdk.protocol.states import AuditKind, AuditState
from client_sdk.protocol.terms import Terms
from contracts.bindings import Call, LeaseStatus, LeaseView, Token
from contracts.events import Challenged, Committed
from worker_agent.case import MARGIN_S, Case, CaseInputs, check_opening, margin_of
from worker_agent.context import Context
from worker_agent.errors import (
    BadOpening,
    JobFailed,
    MarketRefused,
    SeatTaken,
    Withheld,
    WorkerError,
)
from worker_agent.examine import Examiner
from worker_agent.exchange import give_outcome
from worker_agent.jobs import Jobs
from worker_agent.market import Market
from worker_agent.replay import CheckpointUnusable, ReplayTooSlow
from worker_agent.seats import Length
from worker_agent.settlement import matures_at

log = logging.getLogger(__name__)

_ALLOWANCE: Final = 1 << 128
_AGREED: Final = "agreed"
_DEMANDED: Final = "demanded"
_OBJECTION: Final = "objection"


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """What is held against a segment: all that a dispute needs, without any market."""

    lease_id: bytes
    segment: int
    root: bytes
    """Root that the contract stored after the commit in question."""
    terms: Terms
    opened_block: int
    why: str

    @classmethod
    def of(cls, case: Case, why: str) -> Self:
        """Object to a case's segment."""
        return cls(
            lease_id=case.audit.lease_id,
            segment=case.audit.segment,
            root=case.commit.root,
            terms=case.history.terms,
            opened_block=case.history.opened.block_number,
            why=why,
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read a journaled one."""
        digests = {name: bytes.fromhex(value[name]) for name in ("lease_id", "root")}
        return cls(**{**value, **digests, "terms": Terms.from_json(value["terms"])})

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "lease_id": self.lease_id.hex(),
            "segment": self.segment,
            "root": self.root.hex(),
            "terms": dict(self.terms.to_json()),
            "opened_block": self.opened_block,
            "why": self.why,
        }

    @property
    def work(self) -> str:
        """Name of what it is about, the same at every market."""
        return f"{self.lease_id.hex()}:{self.segment}:{self.root.hex()}"

    def __str__(self) -> str:
        return f"0x{self.lease_id.hex()[:8]} segment {self.segment}"


class Auditor(Examiner):
    """Audits that the beacon drew for this account."""

    kind = AuditKind.AUDIT
    role = "auditor"

    def __init__(self, context: Context, jobs: Jobs, hardware_class: bytes) -> None:
        super().__init__(context, jobs, hardware_class)
        self._took: dict[str, float] = {}
        self._too_slow: set[str] = set()

    def tick(self) -> None:
        """Challenge what was found wrong before, then look for cases and move them on."""
        for value in self.context.journal.all(_OBJECTION):
            self._challenge(Objection.from_json(value))
        super().tick()

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

    def forget(self, case_id: str) -> None:
        """Let a case whose run had its time run again."""
        super().forget(case_id)
        self._too_slow.discard(case_id)

    def _execute(self, market: Market, case: Case) -> None:
        if case.audit.case_id in self._too_slow:
            return
        inputs = self.inputs(market, case)
        known, record = self.recall(case, "first")
        if not known:
            begun = time.monotonic()
            try:
                record = self._run(case, inputs, "first")
            except CheckpointUnusable as error:
                log.warning("%s: %s", case.short, error)
                record = None
            except ReplayTooSlow:
                self._too_slow.add(case.audit.case_id)
                raise
            except JobFailed as error:
                # It may be this machine: nobody is challenged for what could not be computed.
                log.warning("%s: the job fails here: %s", case.short, error)
                return
            if record is not None and record.first_step != inputs.first_step:
                record = None  # the state claims another place in the job than its opening
            self._took[case.audit.case_id] = time.monotonic() - begun
            self.remember(case, "first", record)
        self.report(market, case, record)

    def _run(self, case: Case, inputs: CaseInputs, name: str) -> SegmentRecord:
        with self.seats.seat(case, Length.LONG):
            return self.run_again(case, inputs, name)

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
        known_already = self.context.journal.get(_OBJECTION, _work_of(case))
        if known_already is None:
            log.warning("%s: MISMATCH", case.short)
            why = self._confirm(market, case, record)
            if why is None:
                return
            objection = Objection.of(case, why)
            self.context.journal.put(_OBJECTION, objection.work, objection.to_json())
        else:
            objection = Objection.from_json(known_already)
        self._challenge(objection)
        try:
            give_outcome(market, case.audit.audit_id, False, {"reason": objection.why})
        except MarketRefused as error:
            log.info("%s: %s", case.short, error)

    def _confirm(self, market: Market, case: Case, first: SegmentRecord | None) -> str | None:
        """What is held against the segment; ``None`` when a second run does not bear it out."""
        if not self._time_for_second(case):
            # The arbiter executes it twice anyway; a window that has closed is closed for ever.
            return "the states differ"
        return "the states differ in two runs" if self._confirmed(market, case, first) else None

    def _execute_silently(self, market: Market, case: Case) -> None:
        """The journal lost the result that was reported: compute it again."""
        try:
            record = self._run(case, self.inputs(market, case), "first")
        except CheckpointUnusable:
            self.remember(case, "first", None)
        else:
            self.remember(case, "first", record)

    def _time_for_second(self, case: Case) -> bool:
        """Whether another run like the first ends well before the window closes.

        In a dispute the window stands still, and may go on at any time.
        """
        chain, lease_id = self.context.chain, case.audit.lease_id
        lease, now = chain.lease(lease_id), chain.now()
        if lease.status is LeaseStatus.DISPUTED:
            now = chain.view(chain.escrow.dispute_of(lease_id)).disputed_at or now
        needed = 1.5 * self._took.get(case.audit.case_id, 0.0) + MARGIN_S[0]
        return matures_at(case.history.terms, lease) - now > needed

    def _confirmed(self, market: Market, case: Case, first: SegmentRecord | None) -> bool:
        """Whether a second run gives the same as the first: then it is not this machine's error."""
        inputs = self.inputs(market, case)
        try:
            second: SegmentRecord | None = self._run(case, inputs, "second")
        except CheckpointUnusable:
            second = None
        except SeatTaken:
            raise
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
        objection, call = Objection.of(case, why), self.context.chain.escrow.demand_data
        lease = self.context.chain.lease(case.audit.lease_id)
        if self._may_challenge(lease, objection) and self._dispute(
            "demand", call, lease, objection
        ):
            journal.put(_DEMANDED, work, {"audit_id": case.audit.audit_id})

    def _overdue(self, case: Case) -> bool:
        """Whether a demand is still possible, but not for long.

        In a dispute too, where one of a lower segment is possible until half of its time is over:
        a friendly challenge of the last segment would hide what is withheld below it.
        """
        chain, terms = self.context.chain, case.history.terms
        lease = chain.lease(case.audit.lease_id)
        closes, period = matures_at(terms, lease), terms.window
        if lease.status is LeaseStatus.DISPUTED:
            period = terms.dispute_timeout // 2
            closes = chain.view(chain.escrow.dispute_of(case.audit.lease_id)).disputed_at + period
        return closes - margin_of(period) <= chain.now() < closes

    def _challenge(self, objection: Objection) -> None:
        """Challenge, if the contract takes it now; drop the objection once nothing can come of it.

        While a dispute is about other segments, the next turn tries again.
        """
        chain = self.context.chain
        try:
            lease = chain.lease(objection.lease_id)
            if lease.status is LeaseStatus.CLOSED or objection.segment < lease.paid:
                self.context.journal.remove(_OBJECTION, objection.work)
            elif self._may_challenge(lease, objection) and self._stands(objection):
                self._dispute("challenge", chain.escrow.challenge, lease, objection)
        except ChainError as error:
            # Of one lease, or of this account's funds: the others' turn comes all the same.
            self._warn("the chain", str(objection), str(error))

    def _stands(self, objection: Objection) -> bool:
        """Whether the commit is on the chain, and this account has not challenged it there yet.

        A challenge that was ruled on is not sent again; one that lost against another challenge in
        the same block is.
        """
        chain, own = self.context.chain, self.context.sender.address
        committed = challenged = False
        events = chain.events(objection.opened_block, chain.head(), topic=objection.lease_id)
        for event in events:
            if isinstance(event, Committed):
                committed |= event.root == objection.root
            elif isinstance(event, Challenged) and event.segment == objection.segment:
                challenged |= same_address(event.challenger, own)
        return committed and not challenged

    def _dispute(
        self, name: str, call: Callable[..., Call], lease: LeaseView, objection: Objection
    ) -> bool:
        """Send a challenge or a demand, with its bond; whether the contract takes it."""
        terms, segment = objection.terms, objection.segment
        self._warn("the chain", str(objection), f"{name.upper()}: {objection.why}")
        self._allow(terms.token, challenge_bond(terms))
        key = f"{name}:{objection.lease_id.hex()}:{segment}:{lease.committed_at}"
        try:
            self.context.sender.submit(call(terms.abi_tuple(), segment), key, retry=True)
        except CallReverted as error:
            self._warn("the chain", str(objection), str(error))
            return False
        return True

    def _may_challenge(self, lease: LeaseView, objection: Objection) -> bool:
        """Whether the contract takes a challenge, or a demand, of this segment now.

        An open dispute is only pointed lower, and only in the first half of the arbiter's time.
        """
        chain, terms = self.context.chain, objection.terms
        if not lease.paid <= objection.segment < lease.pending:
            return False
        if lease.status is LeaseStatus.DISPUTED:
            dispute = chain.view(chain.escrow.dispute_of(objection.lease_id))
            is_in_time = chain.now() < dispute.disputed_at + terms.dispute_timeout // 2
            return is_in_time and objection.segment < dispute.lowest_segment
        return lease.status is LeaseStatus.ACTIVE and chain.now() < matures_at(terms, lease)

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
    """Name of what a case is about, as in an objection to it."""
    return Objection.of(case, "").work


def agrees(record: SegmentRecord, opening: BoundaryOpening) -> bool:
    """Whether an own execution ended where the provider says that the segment ended."""
    mine = (record.state_hash, record.end_step, record.final)
    return mine == (opening.state_hash, opening.end_step, opening.final)
