"""A market that left the worker's settings while a lease of its ran."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from client_sdk.protocol.verdicts import Verdict
from tests.fakes import parties


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
