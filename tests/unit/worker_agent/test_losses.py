"""What a renter's failed jobs may cost, and what happens then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import parties
from worker_agent.losses import Losses
from worker_agent.records import LeasePhase

RENTER = parties.RENTER.address
DAY_S = 24 * 3600


def test_when_a_renter_costs_more_than_its_allowance_then_the_excess_ages_out(world: Any) -> None:
    now = [1000.0]
    context, leases = world.provider.context, world.provider.leases
    losses = Losses(context.journal, leases, 100, lambda: now[0])
    losses.add(RENTER, "att_1", 60)
    assert losses.excess_s(RENTER.lower()) == -40
    now[0] += 10
    losses.add(RENTER, "att_2", 60)
    assert losses.excess_s(RENTER) == 20
    assert losses.excess_s(parties.AUDITOR.address) == -100
    now[0] += DAY_S - 5  # the first is a day old
    assert losses.excess_s(RENTER) == -40


def test_when_a_renter_has_finished_segments_then_it_may_cost_a_part_of_them(world: Any) -> None:
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(world.closed)
    assert len(world.provider.leases.segments(lease_id.hex())) == 5
    losses = Losses(world.provider.context.journal, world.provider.leases, 0)
    finished_s = 5 * world.provider.record.segment_s
    losses.add(RENTER, "att_1", finished_s)
    assert losses.excess_s(RENTER) == pytest.approx(0.9 * finished_s)


def test_when_code_fails_late_in_a_segment_again_and_again_then_it_gets_no_more_compute(
    world: Any,
) -> None:
    world.restart(loss_allowance_s=0)
    world.sandbox.behaviour.fail_in_segment = 0
    world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(world.closed)
    assert world.provider.record.verdict == "job_failed"
    count = len(world.sandbox.started)

    # Another job, another order, the same renter.
    again = parties.make_job(world.folder, world.market, name="again")
    order_id = parties.place(world.provider, world.market, again)
    world.provider.orders.tick()
    view = world.market.orders[order_id]
    assert (view["state"], view["decline"]["code"]) == ("declined", "unpaid_work")
    assert len(world.sandbox.started) == count  # not even a probe

    # The limit is the renter's own.
    other = parties.make_job(world.folder, world.market, name="other")
    order_id = parties.place(
        world.provider,
        world.market,
        other,
        renter=parties.AUDITOR.address,
        key=parties.AUDITOR,
    )
    world.provider.orders.tick()
    assert world.market.orders[order_id]["state"] == "terms_signed"


def test_when_the_renter_stops_the_lease_then_nothing_counts_as_lost(world: Any) -> None:
    world.restart(loss_allowance_s=0)
    world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.provider.record.phase is LeasePhase.RUNNING)
    terms = world.provider.record.parsed_terms
    world.chain.execute(world.chain.escrow.stop(terms.abi_tuple()), parties.RENTER.address)
    world.run_until(world.closed)
    losses = Losses(world.provider.context.journal, world.provider.leases, 0)
    assert losses.excess_s(RENTER) <= 0
