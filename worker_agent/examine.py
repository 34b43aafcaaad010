"""What auditor and arbiter share: a thread for each case, moved on by the market's row of it."""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from client_sdk.chain.signing import sign
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.messages import AuditorKey, AuditReport
from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.states import LIVE_AUDITS, AuditKind, AuditState
from contracts.bindings import LeaseStatus
from worker_agent.case import (
    MAX_CHECKPOINT_BYTES,
    Case,
    CaseInputs,
    confirm_case,
    fetch_case_inputs,
    open_to_challenge,
)
from worker_agent.context import Context
from worker_agent.errors import (
    BadArtifact,
    BadCheckpoint,
    BadOpening,
    NetworkFailed,
    NoRoom,
    ProviderFault,
    RejectedInput,
    SeatTaken,
    Withheld,
)
from worker_agent.exchange import AuditView, give_report, live_audits, parse_audit
from worker_agent.execution import Control
from worker_agent.fetches import MAX_FETCHES, Fetches
from worker_agent.inputs import Allowance
from worker_agent.jobs import Jobs
from worker_agent.market import Market
from worker_agent.refusals import Refusals
from worker_agent.replay import Replay, ReplayCancelled, replay, replay_whole
from worker_agent.seats import MAX_LONG, Seats
from worker_agent.turns import Histories, choose

log = logging.getLogger(__name__)
_KIND: Final = "audit"
_REGISTER_S: Final = 600.0
_KEY_LIFETIME_S: Final = 24 * 3600
_START_S: Final = 60.0
# Fetches and an auditor's runs take some for long; the others are for reports and demands.
_THREADS: Final = MAX_FETCHES + MAX_LONG + 3


class Examiner(ABC):
    """Takes cases from markets and moves each of them on, one step a turn.

    Parameters
    ----------
    context:
        The daemon.
    jobs:
        Runs re-executions.
    hardware_class:
        Class of this machine: only its bits can be compared.
    """

    kind: AuditKind
    role: str

    def __init__(self, context: Context, jobs: Jobs, hardware_class: bytes) -> None:
        self.context = context
        self.jobs = jobs
        self.hardware_class = hardware_class
        self.seats = Seats()
        self._fetches = Fetches(context.folder("audits"))
        self._refusals = Refusals(context.journal)
        self._histories = Histories(context.chain)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self.kind.value)
        self._working: dict[str, Future[None]] = {}
        self._warned: set[tuple[str, str]] = set()
        self._registered: dict[str, float] = {}
        self._lock = threading.RLock()
        self._inputs: dict[str, CaseInputs] = {}
        self._controls: dict[str, Control] = {}
        self._taken: dict[str, tuple[Market, AuditView]] = {}
        self._seen: dict[tuple[str, AuditState], float] = {}

    @abstractmethod
    def step(self, market: Market, case: Case) -> None:
        """Move one case on as far as it goes; called again until it is over."""

    def tick(self) -> None:
        """Register, look for cases, and give each one a thread."""
        self.context.sender.maintain()
        self._histories.forget()
        self._drop_pointless()
        failure: NetworkFailed | None = None
        for market in self.context.markets.values():
            try:
                self._register(market)
                self._take(market)
            except NetworkFailed as error:  # the other markets' cases go on
                failure = error
        self._clear_folder()
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Drop what is running."""
        with self._lock:
            controls = list(self._controls.values())
        for control in controls:
            control.cancel("the daemon stops")
        self._pool.shutdown(wait=True, cancel_futures=True)

    def report(self, market: Market, case: Case, record: SegmentRecord | None) -> None:
        """Sign and post the result of the own execution, before the other side's is known.

        ``None`` reports a zero state: the handed-over checkpoint could not be resumed from.
        """
        state = record.state_hash if record else ZERO_HASH
        message = AuditReport(
            lease_id=case.audit.lease_id,
            segment=case.audit.segment,
            state_hash=state,
            at=int(time.time()),
        )
        signature = sign(message, self.context.chain.domain, self.context.account)
        give_report(market, case.audit.audit_id, message.to_json(), signature)
        log.info("%s: reported 0x%s", case.short, state.hex()[:16])

    def remember(self, case: Case, name: str, record: SegmentRecord | None) -> None:
        """Journal an own result, so that a restart need not compute it again."""
        value = {"record": record.to_json() if record else None}
        self.context.journal.put(_KIND, f"{case.audit.case_id}:{name}", value)

    def recall(self, case: Case, name: str) -> tuple[bool, SegmentRecord | None]:
        """A journaled result: whether there is one, and it."""
        known = self.context.journal.get(_KIND, f"{case.audit.case_id}:{name}")
        if known is None:
            return False, None
        record = known["record"]
        return True, None if record is None else SegmentRecord.from_json(record)

    def inputs(self, market: Market, case: Case) -> CaseInputs:
        """The case's checked inputs; fetched once, whether they are taken or refused.

        Raises
        ------
        Withheld
            They are not there, or are not what was committed.
        SeatTaken
            Others are being fetched, or it is others' turn.
        """
        key = case.audit.case_id
        with self._lock:
            known = self._inputs.get(key)
        if known is None:
            self._refusals.check(case)
            with self._fetches.turn(case) as allowed:
                known = self._fetch(market, case, allowed)
            with self._lock:
                self._inputs[key] = known
        if known.manifest.hardware_class != self.hardware_class:
            raise RejectedInput("the job is of another hardware class than this machine")
        return known

    def _fetch(self, market: Market, case: Case, allowed: Allowance) -> CaseInputs:
        try:
            return fetch_case_inputs(self.context, market, case, allowed)
        except NoRoom:
            raise  # of this machine's disk nobody else is to blame
        except OSError as error:
            raise NoRoom(f"the inputs cannot be written: {error}") from error
        except (BadArtifact, BadCheckpoint) as error:
            self._refusals.add(case, error)
            raise Withheld(str(error)) from error
        except (BadOpening, NetworkFailed) as error:
            raise Withheld(str(error)) from error

    def waited(self, case: Case) -> bool:
        """Whether the provider has had time to answer since it was its turn.

        Its turn began when this process first saw it: who is slow itself, or was restarted, does
        not hold its own delay against a provider.
        """
        turn = (case.audit.case_id, case.audit.state)
        with self._lock:
            since = self._seen.setdefault(turn, time.monotonic())
        return time.monotonic() - since >= self.context.settings.audit_patience_s

    def control_of(self, case: Case) -> Control:
        """Ends all runs of a case."""
        with self._lock:
            return self._controls.setdefault(case.audit.case_id, Control())

    def run_again(
        self,
        case: Case,
        inputs: CaseInputs,
        name: str,
        control: Control | None = None,
        from_start: bool = False,
        longest_s: float = math.inf,
    ) -> SegmentRecord:
        """Execute the case's segment; ``name`` tells several runs of one case apart.

        Parameters
        ----------
        control:
            Ends this run; default: the one that ends all runs of the case.
        from_start:
            Run everything from segment 0 on, without the handed-over checkpoint.
        longest_s:
            Longest duration, where it is less than what any run of the case may take.
        """
        request = self._replay_of(case, inputs, name, from_start)
        request = replace(request, limit_s=min(request.limit_s, longest_s))
        try:
            return replay(self.jobs, request, control or self.control_of(case))
        finally:
            shutil.rmtree(request.folder, ignore_errors=True)

    def run_whole(
        self, case: Case, inputs: CaseInputs, name: str, control: Control
    ) -> tuple[SegmentRecord, SegmentRecord | None]:
        """Execute the job from its start up to the case's segment; see `replay_whole`."""
        request = self._replay_of(case, inputs, name, from_start=True)
        try:
            whole = replace(request, state_before=inputs.state_before)
            return replay_whole(self.jobs, whole, control)
        finally:
            shutil.rmtree(request.folder, ignore_errors=True)

    def _replay_of(self, case: Case, inputs: CaseInputs, name: str, from_start: bool) -> Replay:
        audit = case.audit
        first = 0 if from_start else audit.segment
        return Replay(
            inputs=inputs.job,
            lease_id=audit.lease_id,
            seed=inputs.seed,
            clock_s=case.history.terms.open_by,
            max_segments=case.history.terms.segments,
            start_segment=first,
            segment=audit.segment,
            resume=None if from_start else inputs.checkpoint,
            folder=self.context.folder("audits") / f"{audit.case_id}-{name}",
            limit_s=self.limit_of(case, audit.segment - first + 1),
            segment_limit_s=self._longest_s(1),
            max_bytes=min(MAX_CHECKPOINT_BYTES, inputs.manifest.disk_bytes),
        )

    def limit_of(self, case: Case, num_segments: int) -> float:
        """Longest duration of a case's run of so many segments, in seconds."""
        return min(self.limit_s(case), self._longest_s(num_segments))

    def _longest_s(self, num_segments: int) -> float:
        """Longest run of so many segments: the other sides' terms alone would allow months."""
        return _START_S + num_segments * self.context.settings.max_segment_s

    def forget(self, case_id: str) -> None:
        """Drop what is left of a case's cancelled runs, and what was fetched for them.

        An arbiter may have removed the checkpoint: runs that begin anew need it again.
        """
        with self._lock:
            self._controls.pop(case_id, None)
            self._inputs.pop(case_id, None)

    @abstractmethod
    def limit_s(self, case: Case) -> float:
        """Longest useful duration of one run, in seconds."""

    def _register(self, market: Market) -> None:
        if time.monotonic() - self._registered.get(market.url, -1e9) < _REGISTER_S:
            return
        context, now = self.context, self.context.chain.now()
        key = AuditorKey(
            auditor=str(context.account.address),
            encryption_key=context.encryption_key.public,
            hardware_class=self.hardware_class,
            issued_at=now,
            expires_at=now + _KEY_LIFETIME_S,
        )
        signature = sign(key, context.chain.domain, context.account)
        body = {"key": key.to_json(), "signature": "0x" + signature.hex(), "role": self.role}
        market.post("/v1/auditors", body)
        self._registered[market.url] = time.monotonic()
        log.info("registered at %s as %s", market.url, self.role)

    def _take(self, market: Market) -> None:
        live: dict[str, AuditView] = {}
        for row in live_audits(market, "auditor"):
            try:
                audit = parse_audit(row, market.url)
            except RejectedInput as error:
                self._warn(market.url, str(row)[:64], str(error))
                continue
            if audit.kind is self.kind and audit.state in LIVE_AUDITS:
                live[audit.case_id] = audit
        working = set(filter(self._is_working, live))
        for audit in choose(live.values(), working, self._taken):
            self._renew(audit.case_id)
            self._taken.pop(audit.case_id, None)  # it is last from now on
            self._taken[audit.case_id] = market, audit
            self._working[audit.case_id] = self._pool.submit(self._guarded, market, audit)
        self._drop_over(market, live)

    def _is_working(self, case_id: str) -> bool:
        working = self._working.get(case_id)
        return working is not None and not working.done()

    def _drop_over(self, market: Market, live: Collection[str]) -> None:
        """Drop what is kept of cases for which a market waits no longer."""
        for case_id, (at, _) in list(self._taken.items()):
            if at is not market or case_id in live or self._is_working(case_id):
                continue
            self.forget(case_id)
            with self._lock:
                for turn in [turn for turn in self._seen if turn[0] == case_id]:
                    del self._seen[turn]
            del self._taken[case_id], self._working[case_id]

    def _clear_folder(self) -> None:
        """Remove what was fetched or written for no case that is left; after a crash as well."""
        kept = set(self._taken) | {audit.lease_id.hex() for _, audit in self._taken.values()}
        self._fetches.forget(kept)
        for path in self.context.folder("audits").iterdir():
            # A lease's inputs, or what is named after a case: a run's folder, or a checkpoint.
            if path.name.partition("-")[0] not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _renew(self, case_id: str) -> None:
        """Let a case that was dropped run again: a reorganisation can make it matter once more."""
        with self._lock:
            control = self._controls.get(case_id)
        if control is not None and control.cancelled:
            self.forget(case_id)

    def _drop_pointless(self) -> None:
        """Cancel runs of segments that were paid meanwhile: others may still be in time."""
        for case_id, working in list(self._working.items()):
            _, audit = self._taken[case_id]
            if working.done():
                continue
            if not open_to_challenge(self.context.chain.lease(audit.lease_id), audit.segment):
                with self._lock:
                    control = self._controls.setdefault(case_id, Control())
                control.cancel("the segment is paid or the lease closed")

    def _guarded(self, market: Market, audit: AuditView) -> None:
        try:
            lease = self.context.chain.lease(audit.lease_id)
            if lease.status is LeaseStatus.CLOSED or not open_to_challenge(lease, audit.segment):
                self.forget(audit.case_id)  # paid or closed: it can change nothing any more
                return
            history = self._histories.of(market, audit.lease_id)
            chain = self.context.chain
            self.step(market, confirm_case(chain, market, audit, history))
        except ReplayCancelled as error:
            log.info("%s: dropped: %s", audit.audit_id, error)
        except SeatTaken as error:
            log.debug("%s: %s", audit.audit_id, error)
        except (RejectedInput, NetworkFailed, ProviderFault) as error:
            self._warn(market.url, audit.audit_id, f"{type(error).__name__}: {error}")
        except Exception:  # the edge of a thread: the next turn takes the case again
            log.exception("%s %s broke", self.kind, audit.audit_id)

    def _warn(self, url: str, name: str, text: str) -> None:
        """Log once: the same row comes every turn."""
        if (name, text) not in self._warned:
            self._warned.add((name, text))
            log.warning("%s at %s: %s", name, url, text)
