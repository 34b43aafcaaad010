"""Orders that are answered, and those that are declined with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from client_sdk import sealing
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.terms import Terms
from tests.fakes import parties
from worker_agent.draining import set_draining
from worker_agent.inputs import JobInputs
from worker_agent.records import LeasePhase


def answer(world: Any, job: parties.Job, **changes: Any) -> dict[str, Any]:
    order_id = parties.place(world.provider, world.market, job, **changes)
    world.provider.orders.tick()
    view: dict[str, Any] = world.market.orders[order_id]
    return view


def test_when_an_order_fits_then_signed_terms_answer_it(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    view = answer(world, job)
    assert view["state"] == "terms_signed"
    terms = Terms.from_json(view["terms"])
    assert terms.job_hash == job.manifest.job_hash()
    assert terms.listing_id == world.provider.listing.listing_id
    record = world.provider.record
    assert (record.phase, record.digest) == (LeasePhase.SIGNED, terms.lease_id(world.chain.domain))
    # The code was measured in the sandbox before anything was promised.
    assert b'"mode": "probe"' in world.sandbox.started[-1].work_files["task.json"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"budget": 1}, "over_budget"),
        ({"budget": 10**12 + 1}, "unfunded"),
        ({"key": parties.AUDITOR}, "bad_inputs"),
        ({"offer": b"\7" * 32}, "not_mine"),
        ({"job_hash": b"\7" * 32}, "bad_inputs"),
        ({"token": parties.RENTER.address}, "unsupported"),
    ],
)
def test_when_an_order_breaks_a_rule_then_it_is_declined_with_its_code(
    world: Any, change: dict[str, Any], code: str
) -> None:
    view = answer(world, parties.make_job(world.folder, world.market), **change)
    assert (view["state"], view["decline"]["code"]) == ("declined", code)
    assert world.provider.leases.all() == []


def test_when_an_order_is_not_funded_then_it_costs_neither_a_fetch_nor_a_probe(world: Any) -> None:
    started = len(world.sandbox.started)
    answer(world, parties.make_job(world.folder, world.market), budget=10**12 + 1)
    assert len(world.sandbox.started) == started
    assert not [r for r in world.market.requests if r.startswith("GET /v1/artifacts")]


def test_when_credit_in_the_escrow_makes_up_the_budget_then_the_order_is_funded(world: Any) -> None:
    world.chain.state.credits[parties.RENTER.address.lower()] = 1
    view = answer(world, parties.make_job(world.folder, world.market), budget=10**12 + 1)
    assert view["state"] == "terms_signed"


@pytest.mark.parametrize("broken", ["manifest", "bundle"])
def test_when_an_artifact_is_not_what_its_hash_says_then_the_order_is_declined(
    world: Any, broken: str
) -> None:
    job = parties.make_job(world.folder, world.market)
    other = sealing.encrypt(job.key, b"another program", broken.encode())
    job.artifacts[broken] = world.market.put(other)
    view = answer(world, job)
    assert (view["state"], view["decline"]["code"]) == ("declined", "bad_inputs")


def test_when_the_market_serves_other_bytes_then_the_order_is_declined(world: Any) -> None:
    job = parties.make_job(world.folder, world.market)
    world.market.artifacts[job.artifacts["bundle"]] += b"!"
    view = answer(world, job)
    assert "the market served other bytes" in view["decline"]["reason"]


def test_when_the_code_fails_in_the_probe_then_its_output_stays_secret(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker_agent import orders
    from worker_agent.errors import JobFailed

    def fail(*_args: object) -> None:
        raise JobFailed("Traceback: the renter's secret", 80)

    monkeypatch.setattr(orders, "measure_steps", fail)
    view = answer(world, parties.make_job(world.folder, world.market))
    assert view["decline"]["code"] == "job_failed"
    assert "exit code 80" in view["decline"]["reason"]
    assert "secret" not in view["decline"]["reason"]


def test_when_killed_between_signing_and_posting_then_the_same_terms_are_posted_again(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = parties.make_job(world.folder, world.market)
    order_id = parties.place(world.provider, world.market, job)
    monkeypatch.setattr(
        world.provider.orders,
        "_post_terms",
        lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        world.provider.orders.tick()
    promised = world.provider.record.terms
    assert world.market.orders[order_id]["state"] == "claimed"
    world.restart()
    world.provider.orders.tick()
    assert world.market.orders[order_id]["state"] == "terms_signed"
    assert world.market.orders[order_id]["terms"] == promised
    assert len(world.provider.leases.all()) == 1


def test_when_the_machine_works_or_drains_then_orders_wait(world: Any) -> None:
    world.start_lease(parties.make_job(world.folder, world.market))
    world.run_until(lambda: world.provider.record.phase is not LeasePhase.SIGNED)
    world.provider.leases.journal.put(
        "lease",
        world.provider.record.lease_id,
        {**world.provider.record.to_json(), "phase": "running"},
    )
    job = parties.make_job(world.folder, world.market, name="second")
    assert answer(world, job)["state"] == "pending"
    set_draining(world.provider.context.journal, True)
    world.provider.heartbeat.tick()
    assert world.market.offers == {}  # withdrawn


def test_when_the_order_is_no_order_then_it_is_passed_over(world: Any) -> None:
    world.market.orders["x"] = {"state": "pending", "order_id": "../../etc"}
    world.provider.orders.tick()
    assert not [r for r in world.market.requests if "etc" in r]


def test_when_terms_are_never_opened_then_the_lease_is_dropped(world: Any) -> None:
    answer(world, parties.make_job(world.folder, world.market))
    terms = world.provider.record.parsed_terms
    world.chain.mine(1, seconds=terms.open_by - world.chain.now() + 100)
    world.provider.loop.tick()
    assert world.provider.record.phase is LeasePhase.DROPPED
    assert not list((world.folder / "provider" / "leases").iterdir())


def test_when_half_of_an_offers_life_is_over_then_a_fresh_one_is_published(world: Any) -> None:
    world.provider.heartbeat.tick()
    world.provider.heartbeat.tick()
    assert len(world.market.offers) == 1
    world.chain.mine(1, seconds=301)
    world.provider.heartbeat.tick()
    assert len(world.market.offers) == 2
    old, new = (Offer.from_json(body["offer"]) for body in world.market.offers.values())
    assert new.expires_at > old.expires_at
    assert new.price_per_hour == old.price_per_hour == 600_000


def test_when_the_daemon_starts_again_then_nothing_is_listed_or_staked_twice(world: Any) -> None:
    sent = dict(world.provider.context.owner_sender.sent)
    world.restart()
    world.provider.context.journal.remove("listing", "")
    world.restart()
    assert dict(world.provider.context.owner_sender.sent) == sent
    assert len(world.chain.state.listings) == 1
    assert [key.partition(":")[0] for key in sent] == ["list", "approve-stake", "stake"]


def test_when_late_rulings_wait_for_the_stake_then_the_worker_adds_nothing_to_it(
    world: Any,
) -> None:
    stakes = world.chain.state.stakes
    ((account, stake),) = stakes.items()
    for owed, added in ((1, 0), (0, stake.total)):
        stakes[account] = parties.replace(stake, total=0, owed=owed)
        world.restart()
        assert stakes[account].total == added


def test_when_the_listings_operator_is_another_then_the_owner_sets_it(world: Any) -> None:
    listing_id = world.provider.listing.listing_id
    listing = world.chain.state.listings[listing_id]
    other = parties.RENTER.address
    world.chain.state.listings[listing_id] = parties.replace(listing, operator=other)
    world.restart()
    assert world.chain.state.listings[listing_id].operator == parties.OPERATOR.address


def test_when_the_stake_is_locked_by_other_leases_then_the_bond_is_not_promised(
    world: Any,
) -> None:
    stakes = world.chain.state.stakes
    ((account, stake),) = stakes.items()
    stakes[account] = parties.replace(stake, locked=stake.total)
    view = answer(world, parties.make_job(world.folder, world.market))
    assert view["decline"]["code"] == "busy"


def test_when_many_signed_terms_wait_for_their_opening_then_no_more_are_signed(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_agent.orders._MAX_WAITING", 2)
    states = []
    for name in ("one", "two", "three"):
        job = parties.make_job(world.folder, world.market, name=name)
        states.append(answer(world, job)["state"])
    assert states == ["terms_signed", "terms_signed", "pending"]


def test_when_a_job_brings_much_data_then_the_terms_count_what_was_fetched(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobInputs, "size_bytes", lambda _self: 10**9)
    view = answer(world, parties.make_job(world.folder, world.market))
    upload_s = 10**9 // world.provider.context.settings.upload_bytes_per_s
    assert Terms.from_json(view["terms"]).dispute_timeout >= 4 * upload_s
