"""What the node does on the chain when nobody else did."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from client_sdk.protocol.states import LeaseState
from marketplace.leases.relay import due
from tests.support.market import World, rent


async def facts(world: World, **values: Any) -> Any:
    rented = await rent(world)
    return replace(await world.lease_facts(rented.lease_id), **values)


def kinds(lease: Any, seconds: float) -> list[str]:
    moment = lease.opened_at + timedelta(seconds=seconds)
    return [call.kind for call in due(lease) if call.at <= moment][-1:]


async def test_when_nothing_was_committed_in_time_then_the_lease_is_closed(world: World) -> None:
    lease = await facts(world)
    assert kinds(lease, 300) == []
    assert kinds(lease, 301) == ["relay.close"]


async def test_when_segments_are_mature_then_they_are_settled(world: World) -> None:
    lease = await facts(world)
    lease = replace(
        lease, pending_segments=3, committed_at=lease.opened_at + timedelta(seconds=100)
    )
    assert kinds(lease, 119) == []
    assert kinds(lease, 120) == ["relay.settle"]
    assert kinds(replace(lease, paid_segments=3), 120) == []
    assert kinds(lease, 3_001) == ["relay.close"]


async def test_when_the_renter_stopped_then_the_grace_is_waited_for(world: World) -> None:
    lease = await facts(world)
    stopped = replace(lease, stopped_at=lease.opened_at + timedelta(seconds=50))
    assert kinds(stopped, 65) == []
    assert kinds(stopped, 66) == ["relay.close"]
    final = replace(
        stopped, pending_segments=1, committed_at=lease.opened_at + timedelta(seconds=51)
    )
    assert kinds(final, 70) == [], "its window is still open"
    assert kinds(final, 71) == ["relay.close"]


async def test_when_a_settlement_does_not_come_then_the_close_is_waited_for(world: World) -> None:
    lease = await facts(world)
    lease = replace(
        lease, pending_segments=3, committed_at=lease.opened_at + timedelta(seconds=100)
    )
    calls = [(call.kind, (call.at - lease.opened_at).total_seconds()) for call in due(lease)]
    assert calls == [("relay.settle", 120), ("relay.close", 3_001)]
    assert due(replace(lease, state=LeaseState.CLOSED)) == []


async def test_when_an_arbiter_does_not_rule_then_the_dispute_is_ended(world: World) -> None:
    lease = await facts(world)
    disputed = replace(lease, state=LeaseState.DISPUTED, disputed_at=lease.opened_at)
    assert kinds(disputed, 19) == []
    assert kinds(disputed, 20) == ["relay.timeout"]


@pytest.mark.parametrize("opened", [True, False])
async def test_when_the_chain_takes_an_opening_back_then_the_order_waits_again(
    world: World, opened: bool
) -> None:
    from datetime import UTC, datetime

    from marketplace.indexer.service import rewind
    from marketplace.jobs import service as jobs
    from tests.support.market import RENTER

    rented = await rent(world, opened=opened)
    if not opened:
        await world.open(rented.terms)
    scope = world.market.scope
    async with world.market.database.writing() as session:
        changes = await rewind(session, scope, world.block - 1)
        await jobs.follow_chain(session, scope, changes.leases, datetime.now(UTC))
    order = (await world.request(RENTER, "GET", f"/orders/{rented.order_id}")).json()
    assert order["state"] == "terms_signed"
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert (job["state"], job["lease"]) == ("preparing", None)
    await world.open(rented.terms)
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert job["lease"]["state"] == "active"
