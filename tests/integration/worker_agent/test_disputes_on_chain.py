"""Failed probes, withheld data and lies against the real contracts, on a chain of their own.

Market and sandbox are fakes, so that the clock of the chain is ours: a block a second, mined by
hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.chain.chain import Chain
from client_sdk.chain.sender import Sender
from client_sdk.protocol.money import challenge_bond
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.terms import Terms
from contracts.bindings import Token
from contracts.deploy import DeployOptions, deploy
from contracts.events import (
    Challenged,
    CloseCause,
    Closed,
    Committed,
    DataDemanded,
    MachineRejected,
    Opened,
    Ruled,
    Unretrievable,
)
from tests.fakes import parties
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST, FakeSandbox
from worker_agent import cheat, settlement
from worker_agent.arbiter import Arbiter
from worker_agent.audit import Auditor
from worker_agent.examine import Examiner
from worker_agent.jobs import Jobs
from worker_agent.records import LeasePhase
from worker_agent.settings import Cheat, Role
from worker_agent.stages import accept as accept_module

LIMIT_S = 100.0
SEGMENTS = 3
LEFT_S = 4
"""What the window has left when a friendly challenge stops it, in seconds."""
DEPLOYER = parties.account("deployer")
KEYS = (parties.OWNER, parties.OPERATOR, parties.RENTER, parties.AUDITOR, parties.ARBITER)


class OnChain(FakeMarket):
    """A market that finds its leases on a real chain."""

    def _leases(self) -> list[tuple[bytes, Any]]:
        events = self.chain.events(0, self.chain.head())
        ids = [event.lease_id for event in events if isinstance(event, Opened)]
        return [(lease_id, self.chain.lease(lease_id)) for lease_id in ids]


@dataclass
class World:
    """One lease on a chain of its own, whose blocks are mined a turn each."""

    anvil: Any
    chain: Chain
    folder: Path
    market: OnChain
    provider: parties.Provider
    examiners: list[Examiner]
    senders: dict[str, Sender]
    lease_id: bytes = b""

    @property
    def terms(self) -> Terms:
        return self.provider.record.parsed_terms

    def open(self) -> None:
        """Order, terms, and the renter's opening from its allowance."""
        for examiner in self.examiners:
            examiner.tick()
        job = parties.make_job(self.folder, self.market, max_segments=SEGMENTS)
        order_id = parties.place(self.provider, self.market, job)
        self.provider.orders.tick()
        view = self.market.orders[order_id]
        assert view["state"] == "terms_signed", view
        terms = Terms.from_json(view["terms"])
        signature = bytes.fromhex(view["terms_signature"][2:])
        renter, token = self.senders[parties.RENTER.address], Token(terms.token)
        renter.send(
            token.approve(self.chain.escrow.address, terms.cost), "approve", confirmations=0
        )
        renter.send(self.chain.escrow.open(terms.abi_tuple(), signature), "open", confirmations=0)
        self.lease_id = terms.lease_id(self.chain.domain)

    def turn(self) -> None:
        """One block, and one turn of every loop."""
        self.anvil.rpc("anvil_mine", "0x1")
        self.market.dispatch()
        self.provider.turn()
        for examiner in self.examiners:
            examiner.tick()
            for case in list(examiner._working.values()):
                case.result(timeout=20)
        self.provider.leases.wait_for(lambda: False, 0.01)  # attempts run in their own thread

    def run_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, (self.provider.record, self.market.audits)
            self.turn()

    def closed(self) -> Closed:
        """Turn until the lease is over for its worker too; returns how it was closed."""
        self.run_until(lambda: self.provider.record.phase is LeasePhase.CLOSED)
        (event,) = self.events(Closed)
        return event

    def events(self, kind: type) -> list[Any]:
        found = self.chain.events(0, self.chain.head(), topic=self.lease_id)
        return [event for event in found if isinstance(event, kind)]

    def credit(self, account: Any) -> int:
        escrow = self.chain.escrow
        return self.chain.view(escrow.credit_of(self.terms.token, account.address))

    def locked(self) -> int:
        escrow = self.chain.escrow
        return self.chain.view(escrow.stake_of(parties.OWNER.address, self.terms.token)).locked


@pytest.fixture
def world(
    tmp_path: Path, new_anvil: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    anvil = new_anvil()
    for account in (DEPLOYER, *KEYS):
        anvil.fund(account)
    options = DeployOptions(arbiter=parties.ARBITER.address, unbonding_period_s=5)
    deployment = deploy(anvil.rpc_url, bytes(DEPLOYER.key), options)
    anvil.rpc("evm_setIntervalMining", 0)
    anvil.rpc("evm_setAutomine", True)
    anvil.rpc("anvil_setBlockTimestampInterval", 1)
    with Chain(anvil.rpc_url, deployment) as chain:
        senders = {
            key.address: Sender(
                chain, key, tmp_path / f"{key.address}.sqlite", confirmations=0, poll_s=0.02
            )
            for key in (DEPLOYER, *KEYS)
        }
        token = deployment.tokens[0]
        for key in KEYS:
            mint = Token(token.address).mint(key.address, 1000 * 10**token.decimals)
            senders[DEPLOYER.address].send(mint, f"mint/{key.address}", confirmations=0)
        monkeypatch.setattr(parties, "FakeSender", lambda _chain, address: senders[address])
        monkeypatch.setattr(parties, "TOKEN", token)
        monkeypatch.setattr(Examiner, "waited", lambda _self, _case: True)
        facts: Any = type("Facts", (), {"cpu_count": 2, "device": "cpu", "offered_gpus": ()})
        facts.memory_bytes = 8 << 30
        monkeypatch.setattr(accept_module, "read_facts", lambda _folder: facts)
        made = make_world(anvil, chain, tmp_path, senders)
        yield made
        made.provider.runners.cancel_all("the test is over")
        for daemon in (made.provider, *made.examiners):
            daemon.context.journal.close()


def make_world(anvil: Any, chain: Chain, folder: Path, senders: dict[str, Sender]) -> World:
    on_chain: Any = chain
    market = OnChain(on_chain)
    provider = parties.make_provider(folder / "provider", on_chain, market, FakeSandbox())
    world = World(anvil, chain, folder, market, provider, [], senders)
    world.examiners = [make_examiner(world, role) for role in (Role.AUDITOR, Role.ARBITER)]
    return world


def make_examiner(world: World, role: Role) -> Examiner:
    """An auditor or arbiter; made again it is a restarted one."""
    kind, key = {
        Role.AUDITOR: (Auditor, parties.AUDITOR),
        Role.ARBITER: (Arbiter, parties.ARBITER),
    }[role]
    folder, chain = world.folder / role.value, world.market.chain
    settings = parties.make_settings(folder, role)
    context = parties.make_context(folder, chain, world.market, key, settings)
    return kind(context, Jobs(FakeSandbox()), CLASS_DIGEST)


def test_when_the_machine_fails_its_probe_then_all_is_refunded_and_the_chain_has_the_mark(
    world: World,
) -> None:
    changed = replace(world.provider.document, hardware_class=b"\7" * 32)
    world.provider.runners._document = changed
    world.open()
    assert world.locked() == world.terms.bond
    closed = world.closed()
    assert (closed.cause, closed.refund) == (CloseCause.ACCEPTANCE_FAILED, world.terms.cost)
    assert (world.credit(parties.RENTER), world.locked()) == (world.terms.cost, 0)
    (rejected,) = world.events(MachineRejected)
    ending = world.market.endings[world.lease_id.hex()]
    report = ProbeReport.from_json(ending["evidence"]["report"])
    assert (rejected.report, rejected.by_arbiter) == (report.digest(), False)
    assert (report.is_failure, ending["verdict"]) == (True, "acceptance_failed")


def test_when_inputs_are_withheld_then_the_renter_is_refunded_and_the_demander_gets_its_bond_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.provider.serve, "tick", lambda: None)
    world.open()
    closed = world.closed()
    demands, attested = world.events(DataDemanded), world.events(Unretrievable)[-1]
    good = min(demand.segment for demand in demands)
    assert (attested.good_segments, closed.paid_segments) == (good, good)
    assert closed.cause is CloseCause.UNRETRIEVABLE
    unpaid = (SEGMENTS - good) * world.terms.price_per_segment
    assert world.credit(parties.RENTER) == closed.refund == unpaid
    assert {demand.bond for demand in demands} == {challenge_bond(world.terms)}
    assert world.credit(parties.AUDITOR) == sum(demand.bond for demand in demands)
    assert (world.locked(), world.events(Ruled)) == (0, [])
    assert world.provider.record.verdict == "provider_fault"


def test_when_the_demand_is_answered_in_time_then_the_demander_pays_and_the_provider_gains_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = world.provider.serve.tick
    monkeypatch.setattr(
        world.provider.serve, "tick", lambda: serve() if world.events(DataDemanded) else None
    )
    world.open()
    closed = world.closed()
    bonds, rulings = sum(demand.bond for demand in world.events(DataDemanded)), world.events(Ruled)
    assert not any(ruled.fraud for ruled in rulings)
    assert sum(ruled.bonds_to_provider for ruled in rulings) == 0
    assert sum(ruled.bonds_to_audit_pool for ruled in rulings) == bonds // 2 > 0
    assert (closed.cause, closed.paid_segments) == (CloseCause.COMPLETED, SEGMENTS)
    assert world.credit(parties.AUDITOR) == bonds // 2
    assert world.credit(parties.RENTER) == 0
    assert (world.locked(), world.provider.record.verdict) == (0, "completed")


def lie_above_segment_0(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make up every segment but the first, commit all of them at once, and audit each."""
    context, runners = world.provider.context, world.provider.runners
    lying = replace(context, settings=replace(context.settings, cheat=Cheat.SKIP_STEPS))
    runners._machinery = replace(runners._machinery, context=lying)
    monkeypatch.setattr(cheat, "_PAUSE_S", 0.0)
    monkeypatch.setattr(settlement, "_commit_due", lambda _terms, _lease, facts, _at: facts.ended)
    world.market.audit_samples = SEGMENTS


def befriend(world: World, segment: int, left_s: int) -> None:
    """An accomplice of the provider challenges a segment, ``left_s`` before the window closes."""
    sender, token = world.senders[DEPLOYER.address], Token(world.terms.token)
    bond, escrow = challenge_bond(world.terms), world.chain.escrow
    sender.send(token.mint(DEPLOYER.address, bond), "mint/friend", confirmations=0)
    sender.send(token.approve(escrow.address, bond), "approve/friend", confirmations=0)
    closes = settlement.matures_at(world.terms, world.chain.lease(world.lease_id))
    world.run_until(lambda: world.chain.now() >= closes - left_s - 1)
    call = escrow.challenge(world.terms.abi_tuple(), segment)
    sender.send(call, "challenge/friend", confirmations=0)


def states_by_segment(world: World) -> list[str]:
    rows = [row for row in world.market.audits.values() if row["kind"] == "audit"]
    return [row["state"] for row in sorted(rows, key=lambda row: row["segment"])]


def time_of(world: World, event: Any) -> int:
    block = world.chain.block(event.block_number)
    assert block is not None
    return block.timestamp


def test_when_an_accomplice_challenges_a_right_segment_then_the_fakes_above_it_are_challenged_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie_above_segment_0(world, monkeypatch)
    auditor, arbiter = world.examiners
    auditor.prepare()
    world.open()
    world.examiners = []
    world.run_until(lambda: world.events(Committed))
    lease = world.chain.lease(world.lease_id)
    assert (lease.paid, lease.pending) == (0, SEGMENTS)
    befriend(world, 0, LEFT_S)

    world.examiners = [auditor]
    world.run_until(lambda: states_by_segment(world) == ["agreed", "mismatch", "mismatch"])
    (friendly,) = world.events(Challenged)
    auditor.context.journal.close()
    world.examiners = [make_examiner(world, Role.AUDITOR), arbiter]  # restarted
    closed = world.closed()

    challenges, rulings = world.events(Challenged), world.events(Ruled)
    assert challenges[0] == friendly
    assert [event.segment for event in challenges] == [0, 1]
    assert challenges[1].challenger == parties.AUDITOR.address
    assert [ruled.fraud for ruled in rulings] == [False, True]
    assert settlement.matures_at(world.terms, lease) - time_of(world, friendly) == LEFT_S
    assert time_of(world, challenges[1]) < time_of(world, rulings[0]) + LEFT_S
    assert (closed.cause, closed.paid_segments) == (CloseCause.FRAUD, 0)
    assert world.credit(parties.OWNER) == challenge_bond(world.terms) // 2, "the friend's bond only"
    assert world.credit(parties.RENTER) == world.terms.cost + rulings[1].slashed_to_renter
    assert rulings[1].challenger == parties.AUDITOR.address
