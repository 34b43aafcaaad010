"""Audits made by hand: a committed lease on the fake chain, and examiners whose runs are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from client_sdk.chain.signing import sign
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.messages import AuditorKey
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord, StepDigests, open_boundary
from client_sdk.protocol.states import AuditKind, AuditState
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.trace import trace_root
from contracts.events import Challenged, DataDemanded, Event, Ruled, Unretrievable
from tests.fakes import parties
from tests.fakes.chain import TOKEN, FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST, FakeSandbox
from worker_agent.arbiter import Arbiter
from worker_agent.audit import Auditor
from worker_agent.case import Case, CaseInputs
from worker_agent.exchange import AuditView
from worker_agent.execution import Control
from worker_agent.history import read_history
from worker_agent.jobs import Jobs
from worker_agent.records import LeaseRecord
from worker_agent.seats import Length, Seats, Tries
from worker_agent.settings import Role

AUDIT_ID = "aud_01M8498KNAF9QBYEWW1M2N52KT"
SALT = b"\4" * 32
SEGMENTS = 4
STEPS = 2
WINDOW_S = 20

Run = SegmentRecord | Exception
T = TypeVar("T")


def make_terms(**changes: Any) -> Terms:
    """Terms between the ready-made parties."""
    values: dict[str, Any] = {
        "renter": parties.RENTER.address,
        "provider": parties.OWNER.address,
        "operator": parties.OPERATOR.address,
        "token": TOKEN.address,
        "arbiter": parties.ARBITER.address,
        "listing_id": b"\1" * 32,
        "machine_hash": b"\2" * 32,
        "job_hash": b"\3" * 32,
        "price_per_segment": 5,
        "bond": 50,
        "segments": SEGMENTS,
        "fee_bps": 0,
        "audit_bps": 0,
        "window": WINDOW_S,
        "commit_grace": 15,
        "dispute_timeout": 20,
        "open_by": 2_000_000_000,
        "first_commit_within": 100,
        "max_duration": 500,
        "min_segment_seconds": 0,
        "predecessor": ZERO_HASH,
        "nonce": 1,
    }
    return Terms(**{**values, **changes})


@dataclass
class Committed:
    """A lease whose segments are all committed."""

    chain: FakeChain
    market: FakeMarket
    terms: Terms
    lease_id: bytes
    records: list[SegmentRecord] = field(default_factory=list)

    @classmethod
    def make(cls, *, commit: bool = True, **changes: Any) -> Committed:
        """Open the lease and commit, unless it is to stay without one."""
        chain = FakeChain(parties.ARBITER.address)
        terms = make_terms(**changes)
        lease_id = terms.lease_id(chain.domain)
        made = cls(chain, FakeMarket(chain), terms, lease_id)
        made.records = [
            SegmentRecord(
                lease_id=lease_id,
                segment=number,
                first_step=STEPS * number,
                steps=(StepDigests(bytes([number]) * 32, bytes(32)),) * STEPS,
                final=number == SEGMENTS - 1,
                state_hash=bytes([100 + number]) * 32,
            )
            for number in range(SEGMENTS)
        ]
        made.open()
        if commit:
            made.commit()
        return made

    @property
    def roots(self) -> list[bytes]:
        """Roots of the segments."""
        return [record.root(SALT) for record in self.records]

    def open(self) -> None:
        """The renter opens the lease."""
        self.chain.execute(self.chain.escrow.open(self.terms.abi_tuple(), b""), self.terms.renter)

    def commit(self) -> None:
        """Commit what the records say."""
        call = self.chain.escrow.commit(self.terms.abi_tuple(), SEGMENTS, trace_root(self.roots))
        self.chain.execute(call, self.terms.operator)

    def challenge(self, segment: int) -> None:
        """Somebody else challenges."""
        call = self.chain.escrow.challenge(self.terms.abi_tuple(), segment)
        self.chain.execute(call, parties.account("other").address)

    def demand(self, segment: int) -> None:
        """Somebody else demands the data of a segment."""
        call = self.chain.escrow.demand_data(self.terms.abi_tuple(), segment)
        self.chain.execute(call, parties.account("other").address)

    def attest(self, good_segments: int) -> None:
        """The arbiter says that it cannot fetch the checkpoints."""
        call = self.chain.escrow.attest_unretrievable(self.terms.abi_tuple(), good_segments)
        self.chain.execute(call, self.terms.arbiter)

    def opening(self, number: int, **changes: Any) -> BoundaryOpening:
        """How the provider opens the end of a segment."""
        return replace(open_boundary(self.records[number], SALT, self.roots), **changes)

    def record(self, **changes: Any) -> LeaseRecord:
        """What the provider's worker has journaled of it."""
        values: dict[str, Any] = {
            "lease_id": self.lease_id.hex(),
            "market": self.market.url,
            "order_id": "ord_01M8498KNAF9QBYEWW1M2N52KT",
            "job_id": "job_01M8498KNAF9QBYEWW1M2N52KT",
            "terms": self.terms.to_json(),
            "signature": "00",
            "job_key": "11" * 32,
            "artifacts": {},
            "salt_secret": "22" * 32,
            "segment_s": 1.0,
            "step_s": 0.1,
            "state_bytes": 64,
            "signed_block": 0,
        }
        return LeaseRecord(**{**values, **changes})

    def view(self, segment: int = 1, **changes: Any) -> AuditView:
        """A market's row about a segment."""
        lease = self.chain.lease(self.lease_id)
        key = AuditorKey(
            auditor=parties.AUDITOR.address,
            encryption_key=b"\5" * 32,
            hardware_class=CLASS_DIGEST,
            issued_at=self.chain.now(),
            expires_at=self.chain.now() + 3600,
        )
        values: dict[str, Any] = {
            "market": self.market.url,
            "audit_id": AUDIT_ID,
            "kind": AuditKind.AUDIT,
            "state": AuditState.OPENED,
            "lease_id": self.lease_id,
            "segment": segment,
            "auditor": parties.AUDITOR.address,
            "auditor_key": key,
            "auditor_key_signature": sign(key, self.chain.domain, parties.AUDITOR),
            "commit_root": lease.root,
            "pool": None,
            "inputs": None,
            "reported": True,
            "opening": self.opening(segment),
        }
        return AuditView(**{**values, **changes})

    def case(self, segment: int = 1, **changes: Any) -> Case:
        """The same as a case; the market has a row of it in the same state."""
        audit = self.view(segment, **changes)
        history = read_history(self.chain, self.lease_id, 0)
        row = {
            "state": audit.state.value,
            "auditor": audit.auditor,
            "opening": None,
            "outcome": None,
        }
        self.market.audits[audit.audit_id] = row
        return Case(audit=audit, history=history, commit=history.commits[-1])

    def events(self, kind: type[Event]) -> list[Any]:
        """Events of one kind."""
        return [event for event in self.chain.log if isinstance(event, kind)]

    @property
    def challenges(self) -> list[Challenged]:
        """Challenges so far."""
        return self.events(Challenged)

    @property
    def demands(self) -> list[DataDemanded]:
        """Demands for data so far."""
        return self.events(DataDemanded)

    @property
    def attested(self) -> list[int]:
        """Good segments of each attestation so far."""
        return [event.good_segments for event in self.events(Unretrievable)]

    @property
    def rulings(self) -> list[Ruled]:
        """Rulings so far."""
        return self.events(Ruled)

    @property
    def row(self) -> dict[str, Any]:
        """The market's row of the case."""
        return self.market.audits[AUDIT_ID]


class _Scripted:
    """Gives results by the name of the run, and keeps which runs were asked for."""

    first_step: int | None = None

    def inputs(self, market: Any, case: Case) -> CaseInputs:
        first = case.audit.segment * STEPS if self.first_step is None else self.first_step
        nothing: Any = None
        return CaseInputs(job=nothing, seed=0, checkpoint=None, first_step=first, state_before=None)

    def run_again(
        self,
        case: Case,
        inputs: CaseInputs,
        name: str,
        control: Control | None = None,
        from_start: bool = False,
        longest_s: float = math.inf,
    ) -> SegmentRecord:
        return self.give(name)

    def run_whole(
        self, case: Case, inputs: CaseInputs, name: str, control: Control
    ) -> tuple[SegmentRecord, None]:
        return self.give(name), None

    def give(self, name: str) -> SegmentRecord:
        self.runs.append(name)
        result = self.results[name]
        if isinstance(result, Exception):
            raise result
        return result


class ScriptedAuditor(_Scripted, Auditor):
    """An auditor whose executions have given results."""

    def __init__(self, folder: Path, lease: Committed, results: Mapping[str, Run]) -> None:
        self.results, self.runs = results, []
        settings = parties.make_settings(folder, Role.AUDITOR, audit_patience_s=1)
        context = parties.make_context(folder, lease.chain, lease.market, parties.AUDITOR, settings)
        super().__init__(context, Jobs(FakeSandbox()), CLASS_DIGEST)
        self.at = context.markets[lease.market.url]


def fulfil(future: Future[T], run: Callable[[], T]) -> None:
    """Run, here and now."""
    try:
        future.set_result(run())
    except Exception as error:
        future.set_exception(error)


class AtOnce(Seats):
    """Runs all at once, in the thread that asks for it."""

    def start(
        self,
        case: Case,
        execute: Callable[[Length], T],
        *lengths: Length,
        after: Future[Any] | None = None,
    ) -> Future[T]:
        future: Future[T] = Future()
        one: Tries | None = Tries(
            case=case, lengths=lengths, execute=execute, after=after, future=future
        )
        while one is not None:
            one = one.attempt()
        return future


class ScriptedArbiter(_Scripted, Arbiter):
    """An arbiter whose executions have given results, at once."""

    def __init__(self, folder: Path, lease: Committed, results: Mapping[str, Run]) -> None:
        self.results, self.runs = results, []
        settings = parties.make_settings(folder, Role.ARBITER)
        context = parties.make_context(folder, lease.chain, lease.market, parties.ARBITER, settings)
        super().__init__(context, Jobs(FakeSandbox()), CLASS_DIGEST)
        self.seats = AtOnce()
        self.at = context.markets[lease.market.url]
