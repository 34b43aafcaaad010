"""Auditor, arbiter and provider together, on fakes: honest work stays, lies cost the bond."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from client_sdk.chain.signing import sign
from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.jobspec import Audit
from client_sdk.protocol.messages import AuditorKey
from contracts.bindings import LeaseStatus
from contracts.events import Challenged, CloseCause, Closed, DataDemanded, Ruled, Unretrievable
from tests.fakes import parties
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST, Behaviour, FakeSandbox
from worker_agent.arbiter import Arbiter, Runs
from worker_agent.audit import Auditor
from worker_agent.examine import Examiner
from worker_agent.exchange import live_audits, parse_audit
from worker_agent.execution import Control
from worker_agent.jobs import Jobs
from worker_agent.market import Market
from worker_agent.records import LeasePhase
from worker_agent.settings import Cheat, Role


@dataclass
class Examiners:
    """One auditor and one arbiter, each with a machine of its own."""

    auditor: Auditor
    arbiter: Arbiter
    auditor_machine: FakeSandbox
    arbiter_machine: FakeSandbox

    def turn(self) -> None:
        """One turn each; cases run to the end of their step, and the arbiter's runs to theirs."""
        for examiner in (self.auditor, self.arbiter):
            examiner.tick()
            for case in list(examiner._working.values()):
                case.result(timeout=20)
        wait([run for runs in self.arbiter._runs.values() for run in runs.begun], timeout=20)


@pytest.fixture
def examiners(world: Any) -> Iterator[Callable[..., Examiners]]:
    made: list[Examiners] = []

    def make(auditor: Behaviour | None = None, arbiter: Behaviour | None = None) -> Examiners:
        machines = [FakeSandbox(auditor), FakeSandbox(arbiter)]
        built: list[Any] = []
        for kind, role, key, machine in (
            (Auditor, Role.AUDITOR, parties.AUDITOR, machines[0]),
            (Arbiter, Role.ARBITER, parties.ARBITER, machines[1]),
        ):
            folder: Path = world.folder / role.value
            settings = parties.make_settings(folder, role, audit_patience_s=1)
            context = parties.make_context(folder, world.chain, world.market, key, settings)
            built.append(kind(context, Jobs(machine), CLASS_DIGEST))
        found = Examiners(built[0], built[1], machines[0], machines[1])
        made.append(found)
        found.turn()  # registers
        return found

    yield make
    for found in made:
        for examiner in (found.auditor, found.arbiter):
            examiner.close()
            examiner.context.journal.close()


def events_of(world: Any, kind: type, lease_id: bytes) -> list[Any]:
    found = world.chain.events(0, world.chain.head(), topic=lease_id)
    return [event for event in found if isinstance(event, kind)]


def test_when_the_work_is_honest_then_audits_agree_and_nobody_challenges(
    world: Any, examiners: Any
) -> None:
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(world.closed, both.turn)
    assert not events_of(world, Challenged, lease_id)
    states = [row["state"] for row in world.market.audits.values()]
    assert "agreed" in states
    assert world.chain.state.leases[lease_id].paid == 5
    # The audited machine never saw a salt or the expected result before its report.
    for row in world.market.audits.values():
        if row["opening"]:
            assert row["report"]


@pytest.mark.parametrize("state", ["agreed", "assigned"])
def test_when_many_audits_are_over_or_stuck_then_new_ones_are_still_seen_by_both_sides(
    world: Any, examiners: Any, state: str
) -> None:
    both = examiners()
    both.turn()
    old = {"auditor": parties.AUDITOR.address, "state": state, "reported": True, "opening": {}}
    world.market.audits |= {f"a{number:03}_old": old for number in range(250)}
    world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(world.closed, both.turn)
    new = [row["state"] for name, row in world.market.audits.items() if "old" not in name]
    assert "agreed" in new


def test_when_a_market_never_ends_its_list_of_audits_then_it_is_left() -> None:
    class Endless:
        def get(self, _path: str, **query: Any) -> dict[str, Any]:
            return {"audits": [query["after"]] * query["limit"], "next": "again"}

    rows = live_audits(cast("Market", Endless()), "auditor")
    assert len(rows) == 10_000


def test_when_audits_are_over_then_neither_memory_nor_disk_keeps_their_inputs(
    world: Any, examiners: Any
) -> None:
    auditor = examiners().auditor
    folder: Path = auditor.context.folder("audits")
    (folder / "aud_of_a_killed_process-first").mkdir()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    fetched: set[str] = set()

    def turn() -> None:
        auditor.tick()
        for case in list(auditor._working.values()):
            case.result(timeout=20)
        fetched.update(path.name for path in folder.iterdir())

    world.run_until(world.closed, turn)
    audits = [parse_audit(row, world.market.url) for row in world.market.audits.values()]
    later = {f"{audit.case_id}-before" for audit in audits if audit.segment > 0}
    assert later
    assert fetched == {lease_id.hex()} | later
    assert {row["state"] for row in world.market.audits.values()} == {"agreed"}
    turn()
    assert not list(folder.iterdir())
    cases = (auditor._inputs, auditor._taken, auditor._working, auditor._seen, auditor._controls)
    assert not any(map(len, cases))
    assert not auditor._fetches._pairs


def test_when_a_dropped_case_matters_again_then_it_runs_again(world: Any, examiners: Any) -> None:
    both = examiners()
    world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.market.audits)
    # The segment was paid, and a reorganisation took the payment back.
    for row in world.market.audits.values():
        case_id = parse_audit(row, world.market.url).case_id
        control = both.auditor._controls.setdefault(case_id, Control())
        control.cancel("the segment is paid or the lease closed")
    first = set(world.market.audits)
    world.run_until(world.closed, both.turn)
    assert {world.market.audits[audit_id]["state"] for audit_id in first} == {"agreed"}


def test_when_a_dropped_arbitration_matters_again_then_neither_old_run_counts(
    examiners: Any,
) -> None:
    arbiter = examiners().arbiter
    arbiter._runs["adt_1"] = runs = Runs(Future(), Future(), Control())
    arbiter._controls["adt_1"] = control = Control()
    arbiter._renew("adt_1")
    assert arbiter._runs["adt_1"] is runs  # it goes on
    control.cancel("the segment is paid or the lease closed")
    arbiter._renew("adt_1")
    assert not arbiter._runs
    assert not arbiter._controls
    assert runs.control.cancelled


def test_when_the_worker_makes_up_states_then_it_loses_its_bond(
    world: Any, examiners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker_agent import cheat

    monkeypatch.setattr(cheat, "_PAUSE_S", 0.0)
    world.market.audit_samples = 5
    world.restart(cheat=Cheat.SKIP_STEPS)
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    terms = world.provider.record.parsed_terms
    world.run_until(world.closed, both.turn)

    (ruled,) = events_of(world, Ruled, lease_id)
    assert (ruled.fraud, ruled.slashed_to_renter) == (True, terms.bond)
    (closed,) = events_of(world, Closed, lease_id)
    assert closed.cause is CloseCause.FRAUD
    assert ruled.good_segments == closed.paid_segments  # nothing pending was paid
    assert closed.refund == (5 - closed.paid_segments) * terms.price_per_segment
    record = world.provider.record
    assert (record.verdict, record.evidence) == ("proof_rejected", {"evidence": "ruling"})
    assert world.chain.state.slashed == terms.bond


def test_when_the_job_cannot_be_replayed_then_the_provider_is_not_slashed(
    world: Any, examiners: Any
) -> None:
    # Two runs of this code never agree, neither here nor there.
    for machine in (world.sandbox,):
        machine.behaviour.nondeterministic = True
    both = examiners(Behaviour(nondeterministic=True), Behaviour(nondeterministic=True))
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(world.closed, both.turn)
    assert world.chain.state.slashed == 0
    assert not [event for event in events_of(world, Ruled, lease_id) if event.fraud]


def test_when_state_is_hidden_from_checkpoints_then_the_ruling_is_honest(
    world: Any, examiners: Any
) -> None:
    # Resumed runs agree with each other, but not with a run from the start: the provider's was one.
    world.sandbox.behaviour.hidden_state = True
    world.market.audit_samples = 5
    both = examiners(Behaviour(hidden_state=True), Behaviour(hidden_state=True))
    lease_id = world.start_lease(parties.make_job(world.folder, world.market, segment_steps=2))
    world.run_until(world.closed, both.turn)
    assert world.chain.state.slashed == 0
    assert all(not event.fraud for event in events_of(world, Ruled, lease_id))


def test_when_the_provider_goes_silent_then_what_it_withholds_is_not_paid(
    world: Any, examiners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    monkeypatch.setattr(world.provider.serve, "tick", lambda: None)
    # Real time passes as slowly as blocks do, so that both see a fair wait.
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    world.run_until(lambda: events_of(world, DataDemanded, lease_id), both.turn)
    assert world.chain.state.leases[lease_id].status is LeaseStatus.DISPUTED
    world.run_until(world.closed, both.turn)
    assert not events_of(world, Challenged, lease_id)
    attested = events_of(world, Unretrievable, lease_id)[-1]
    good = min(event.segment for event in events_of(world, DataDemanded, lease_id))
    (closed,) = events_of(world, Closed, lease_id)
    paid = closed.paid_segments
    assert closed.cause is CloseCause.UNRETRIEVABLE
    assert (attested.good_segments, paid) == (good, good)
    assert closed.refund == (5 - paid) * world.provider.record.parsed_terms.price_per_segment
    assert world.chain.state.slashed == 0
    record = world.provider.record
    assert (record.verdict, record.evidence) == ("provider_fault", {"evidence": "attestation"})


def test_when_the_provider_answers_the_demand_in_time_then_the_lease_goes_on_to_its_end(
    world: Any, examiners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    serve = world.provider.serve.tick

    def late() -> None:
        if events_of(world, DataDemanded, lease_id):
            serve()

    monkeypatch.setattr(world.provider.serve, "tick", late)
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    world.run_until(world.closed, both.turn)
    rulings = events_of(world, Ruled, lease_id)
    assert {ruled.fraud for ruled in rulings} == {False}
    (closed,) = events_of(world, Closed, lease_id)
    assert (closed.cause, closed.paid_segments) == (CloseCause.COMPLETED, 5)
    assert not events_of(world, Unretrievable, lease_id)


@pytest.mark.parametrize("lost", [False, True])
def test_when_inputs_are_demanded_then_only_what_the_market_lost_is_delivered_anew(
    world: Any, examiners: Any, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.provider.record.phase is LeasePhase.RUNNING)
    kept = set(world.market.artifacts)
    serve = world.provider.serve.tick

    def late() -> None:
        if events_of(world, DataDemanded, lease_id):
            for address in kept if lost else ():
                world.market.artifacts.pop(address, None)
            serve()

    monkeypatch.setattr(world.provider.serve, "tick", late)
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    world.run_until(lambda: events_of(world, Ruled, lease_id), both.turn)
    assert {ruled.fraud for ruled in events_of(world, Ruled, lease_id)} == {False}
    rows = [row for row in world.market.audits.values() if row["kind"] == "arbitration"]
    given = [row["inputs"]["artifacts"] for row in rows if row["inputs"]]
    addresses = {artifacts[name] for artifacts in given for name in ("manifest", "bundle")}
    assert addresses
    assert addresses & kept == (set() if lost else addresses)


def test_when_an_audit_is_at_another_market_then_the_inputs_are_delivered_there(
    world: Any, examiners: Any
) -> None:
    other = FakeMarket(world.chain, url="http://other.test")
    world.provider.context.markets[other.url] = other.connect(parties.OPERATOR.address)
    both = examiners()
    for examiner in (both.auditor, both.arbiter):
        examiner.context.markets.clear()
        address = str(examiner.context.account.address)
        examiner.context.markets[other.url] = other.connect(address)
    world.market.auditors.clear()
    job = parties.make_job(world.folder, world.market)
    world.start_lease(job)

    def turn() -> None:
        other.dispatch()
        both.turn()

    world.run_until(lambda: any(row["outcome"] for row in other.audits.values()), turn)
    assert {row["state"] for row in other.audits.values() if row["outcome"]} == {"agreed"}
    assert not world.market.audits
    # What lies there opens with the job's key only.
    assert not any(job.manifest.canonical() in stored for stored in other.artifacts.values())


@pytest.mark.parametrize("found_right", [True, False])
def test_when_one_market_keeps_the_answers_back_then_of_a_segment_found_right_nothing_is_demanded(
    world: Any, examiners: Any, monkeypatch: pytest.MonkeyPatch, found_right: bool
) -> None:
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
    world.run_until(lambda: [r for r in world.market.audits.values() if r["outcome"]], both.turn)
    assert world.provider.record.phase is not LeasePhase.CLOSED
    agreed = next(row for row in world.market.audits.values() if row["outcome"])
    # The same draw, as another market shows it that passes nothing on.
    silent = {**agreed, "audit_id": new_id(IdKind.AUDIT), "state": "assigned", "inputs": None}
    silent.update(reported=False, report=None, opening=None, outcome=None)
    world.market.audits[silent["audit_id"]] = silent
    if not found_right:
        both.auditor.context.journal.remove("agreed", "")
    terms = world.provider.record.parsed_terms
    closes = world.chain.state.leases[lease_id].committed_at + terms.window
    world.chain.mine(1, seconds=closes - 4 - world.chain.now())
    both.turn()
    assert bool(events_of(world, DataDemanded, lease_id)) is not found_right


def test_when_the_auditor_was_slow_itself_then_the_provider_still_has_its_time(
    world: Any, examiners: Any
) -> None:
    both = examiners()
    world.start_lease(parties.make_job(world.folder, world.market))
    case = type("Case", (), {"audit": type("AuditView", (), {"case_id": "a", "state": "reported"})})
    assert not both.auditor.waited(case)
    both.auditor._seen[("a", "reported")] -= 2
    assert both.auditor.waited(case)


def test_when_the_renter_allows_no_audits_then_nobody_gets_the_key(
    world: Any, examiners: Any
) -> None:
    both = examiners()
    job = parties.make_job(world.folder, world.market, audit=Audit.NONE)
    lease_id = world.start_lease(job)
    world.run_until(lambda: world.market.audits, both.turn)
    for _ in range(5):
        world.provider.turn()
        both.turn()
    assert all(row["inputs"] is None for row in world.market.audits.values())
    assert lease_id


@pytest.mark.parametrize("lie", ["auditor", "segment", "root", "kind"])
def test_when_a_market_invents_an_audit_then_nobody_gets_the_key(
    world: Any, examiners: Any, lie: str
) -> None:
    both = examiners()
    lease_id = world.start_lease(parties.make_job(world.folder, world.market, max_segments=3))
    world.run_until(lambda: world.market.audits, both.turn)
    row = dict(next(iter(world.market.audits.values())))
    other = parties.account("other").address
    changes: dict[str, Any] = {
        "auditor": {"auditor": other},
        "segment": {"segment": row["segment"] + 1},
        "root": {"commit": {**row["commit"], "root": "0x" + "ab" * 32}},
        "kind": {"kind": "arbitration", "auditor": other},
    }[lie]
    forged = {**row, **changes, "audit_id": "aud_01M8498KNAF9QBYEWW1M2N52KT"}
    forged.update(state="assigned", inputs=None, reported=False, opening=None)
    world.market.audits[forged["audit_id"]] = forged
    for _ in range(3):
        world.provider.serve.tick()
    assert world.market.audits[forged["audit_id"]]["inputs"] is None
    assert lease_id


def test_when_a_market_refuses_one_answer_then_the_next_audit_is_still_answered(
    world: Any, examiners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = examiners()
    world.start_lease(parties.make_job(world.folder, world.market, max_segments=3))
    world.run_until(lambda: world.market.audits, both.turn)
    row = dict(next(iter(world.market.audits.values())))
    row.update(state="assigned", inputs=None, reported=False, opening=None)
    refused, answered = new_id(IdKind.AUDIT), new_id(IdKind.AUDIT)
    world.market.audits = {name: {**row, "audit_id": name} for name in (refused, answered)}
    exchange = world.market._exchange

    def refuse(token: str, audit_id: str, what: str, **given: Any) -> httpx.Response:
        if audit_id == refused:
            return httpx.Response(404, json={"error": {"code": "artifact_unknown"}})
        return exchange(token, audit_id, what, **given)

    monkeypatch.setattr(world.market, "_exchange", refuse)
    world.provider.serve.tick()
    assert world.market.audits[refused]["inputs"] is None
    assert world.market.audits[answered]["inputs"]


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("swapped", "not signed"),
        ("stranger", "is of"),
        ("expired", "has expired"),
        ("class", "another hardware class"),
    ],
)
def test_when_a_market_gives_another_key_for_the_auditor_then_nobody_gets_the_job_key(
    world: Any, examiners: Any, caplog: pytest.LogCaptureFixture, lie: str, found: str
) -> None:
    both = examiners()
    world.start_lease(parties.make_job(world.folder, world.market, max_segments=3))
    row = world.market.auditors[parties.AUDITOR.address]
    signer = parties.account("other") if lie == "stranger" else parties.AUDITOR
    changes: dict[str, Any] = {
        "swapped": {"encryption_key": bytes([7]) * 32},
        "stranger": {"encryption_key": bytes([7]) * 32, "auditor": signer.address},
        "expired": {"expires_at": world.chain.now()},
        "class": {"hardware_class": bytes([7]) * 32},
    }[lie]
    key = replace(AuditorKey.from_json(row["key"]), **changes)
    signature = row["signature"]
    if lie != "swapped":
        signature = "0x" + sign(key, world.chain.domain, signer).hex()
    row.update(key=key.to_json(), signature=signature)
    world.run_until(lambda: found in caplog.text, both.turn)
    assert all(audit["inputs"] is None for audit in world.market.audits.values())


def test_when_an_auditor_is_restarted_after_its_report_then_it_compares_with_what_it_reported(
    world: Any, examiners: Any
) -> None:
    both = examiners()
    gate = threading.Semaphore(1)
    world.sandbox.behaviour.gate = gate
    world.start_lease(parties.make_job(world.folder, world.market, max_segments=1))
    world.run_until(lambda: any(row["reported"] for row in world.market.audits.values()), both.turn)
    runs = len(both.auditor_machine.started)
    again = Auditor(both.auditor.context, both.auditor.jobs, CLASS_DIGEST)
    world.run_until(
        lambda: any(row["state"] == "agreed" for row in world.market.audits.values()),
        lambda: (again.tick(), [case.result(20) for case in again._working.values()])[0],
    )
    again.close()
    assert len(both.auditor_machine.started) == runs, "nothing is run again"
