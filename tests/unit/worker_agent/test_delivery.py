"""Deliveries: a market that left the worker's settings, and loops that want the same at once."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from client_sdk import sealing
from client_sdk.protocol.verdicts import Verdict
from tests.fakes import parties
from worker_agent.errors import ProviderFault
from worker_agent.journal import Journal
from worker_agent.market import Market


def leave_market(world: Any) -> None:
    """As a start with settings that do not name it any more, and that wait for no delivery."""
    world.restart()
    world.provider.context.markets.clear()
    world.provider.deliverer._patience_s = 0


def test_when_a_market_left_the_settings_then_its_lease_is_paid_and_over_without_it(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.provider.leases.segments(lease_id.hex()))
    leave_market(world)
    delivered = len(world.market.listed.get(lease_id.hex(), []))
    world.run_until(world.closed)
    record = world.provider.record
    assert record.verdict == Verdict.COMPLETED
    assert world.chain.state.leases[lease_id].paid == record.parsed_terms.segments
    assert len(world.market.listed.get(lease_id.hex(), [])) == delivered
    assert lease_id.hex() not in world.market.endings
    assert caplog.text.count(f"`markets` does not name {record.market} any more") == 1
    assert not list((world.folder / "provider" / "leases").iterdir()), "nothing waits for it"


def test_when_the_market_with_the_inputs_left_the_settings_then_the_lease_is_given_up(
    world: Any,
) -> None:
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.sandbox.started.clear()  # its step time was measured before the terms were signed
    leave_market(world)
    shutil.rmtree(world.provider.deliverer.store(lease_id.hex()).inputs)
    world.run_until(world.closed)
    assert world.provider.record.verdict == Verdict.PROVIDER_FAULT
    assert world.sandbox.started == [], "nothing ran"


def test_when_a_market_lost_a_checkpoint_then_it_is_delivered_anew_and_else_not(world: Any) -> None:
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.provider.leases.segments(lease_id.hex()))
    record, deliverer = world.provider.record, world.provider.deliverer
    market = world.provider.context.markets[record.market]
    first = deliverer.checkpoint_address(record, 0, market)
    world.market.requests.clear()
    assert deliverer.checkpoint_address(record, 0, market) == first
    assert world.market.requests == [f"HEAD /v1/artifacts/{first}"]
    del world.market.artifacts[first]
    anew = deliverer.checkpoint_address(record, 0, market)
    assert anew != first
    assert anew in world.market.artifacts


@pytest.fixture
def unwanted(world: Any) -> Any:
    """A lease whose first checkpoint nobody has wanted yet, as those inside a commit."""
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.provider.leases.segments(lease_id.hex()))
    world.provider.runners.cancel(lease_id.hex(), "nothing else is to be delivered")
    world.provider.context.journal.remove("delivery", lease_id.hex())
    return world


def test_when_two_loops_want_one_checkpoint_at_once_then_it_is_sealed_once_and_whole(
    unwanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, deliverer = unwanted.provider.record, unwanted.provider.deliverer
    market = unwanted.provider.context.markets[record.market]
    listed, sealed, failures = threading.Event(), [], []
    seal, read_all = sealing.encrypt_file, Journal.all

    def deliveries() -> None:
        try:
            deliverer.tick()
        except Exception as error:
            failures.append(error)

    loop = threading.Thread(target=deliveries)

    def read(self: Journal, kind: str, prefix: str = "") -> list[dict[str, Any]]:
        rows = read_all(self, kind, prefix)
        if kind == "delivery":
            listed.set()
        return rows

    def seal_while_the_loop_turns(key: bytes, source: Path, target: Path, aad: bytes = b"") -> str:
        sealed.append(target.name)
        if len(sealed) == 1:
            loop.start()
            assert listed.wait(30), "the loop has seen that the checkpoint is to be delivered"
        return seal(key, source, target, aad)

    monkeypatch.setattr(Journal, "all", read)
    monkeypatch.setattr("worker_agent.delivery.sealing.encrypt_file", seal_while_the_loop_turns)
    known = set(unwanted.market.artifacts)
    address = deliverer.checkpoint_address(record, 0, market)
    loop.join(30)
    assert (sealed, failures) == (["checkpoint-0"], [])
    assert unwanted.market.artifacts.keys() - known == {address}
    assert deliverer.checkpoint_address(record, 0, market) == address
    assert not list(deliverer.store(record.lease_id).upload.iterdir())


def test_when_the_lease_starts_over_during_an_upload_then_the_void_checkpoint_is_not_named(
    unwanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, deliverer = unwanted.provider.record, unwanted.provider.deliverer
    market = unwanted.provider.context.markets[record.market]
    put, journal = Market.put_artifact, unwanted.provider.context.journal

    def put_while_it_starts_over(self: Market, address: str, path: Path) -> None:
        put(self, address, path)
        deliverer.forget(record)

    monkeypatch.setattr(Market, "put_artifact", put_while_it_starts_over)
    with pytest.raises(ProviderFault, match="started over"):
        deliverer.checkpoint_address(record, 0, market)
    assert journal.all("delivery", record.lease_id) == []
