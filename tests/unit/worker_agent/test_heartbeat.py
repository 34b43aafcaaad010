"""What is offered after the owner drained the worker and took that back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.offers import Offer
from tests.fakes import parties
from tests.fakes.market import FakeMarket
from worker_agent.draining import set_draining
from worker_agent.errors import MarketRefused, NetworkFailed
from worker_agent.exits import delist
from worker_agent.heartbeat import find_offer


def drain(world: Any) -> None:
    set_draining(world.provider.context.journal, True)
    world.provider.heartbeat.tick()
    assert world.market.offers == {}


def undo(world: Any) -> Offer:
    """Take leases again; returns the one offer that the running daemon publishes then."""
    set_draining(world.provider.context.journal, False)
    world.provider.heartbeat.tick()
    (body,) = world.market.offers.values()
    return Offer.from_json(body["offer"])


def digests(world: Any) -> list[str]:
    return list(world.market.offers)


def second_market(world: Any) -> tuple[FakeMarket, Callable[[], Callable[[], None]]]:
    """One more market, and how the provider, after a restart too, gets to know it."""
    market = FakeMarket(world.chain, url="http://second.test")
    connection = market.connect(parties.OPERATOR.address)

    def join() -> Callable[[], None]:
        world.provider.context.markets[market.url] = connection
        return world.provider.heartbeat.tick

    return market, join


def test_when_a_drain_is_undone_then_a_fresh_offer_is_published_at_once(world: Any) -> None:
    world.provider.heartbeat.tick()
    (old,) = digests(world)
    drain(world)
    assert find_offer(world.provider.context.journal) is None
    undo(world)
    assert digests(world) != [old]


@pytest.mark.parametrize("by_hand", [False, True], ids=["by the worker", "by its owner"])
def test_when_the_listing_ended_meanwhile_then_the_live_one_is_offered_and_its_orders_answered(
    world: Any, by_hand: bool
) -> None:
    chain, provider = world.chain, world.provider
    provider.heartbeat.tick()
    drain(world)
    (dead,) = delist(provider.context)
    if by_hand:
        listing = chain.escrow.list_machine(
            provider.document.hardware_class,
            parties.TOKEN.address,
            10**9,
            parties.OPERATOR.address,
            provider.document.canonical(),
        )
        chain.execute(listing, parties.OWNER.address)
    offer = undo(world)
    (live,) = (known for known, found in chain.state.listings.items() if found.active)
    assert offer.listing_id == live != dead
    assert len(chain.state.listings) == 2, "a live listing is not made again"
    world.start_lease(parties.make_job(world.folder, world.market))
    assert provider.record.parsed_terms.listing_id == live


def test_when_a_market_says_that_the_offer_is_over_then_the_next_one_is_fresh(world: Any) -> None:
    world.provider.heartbeat.tick()
    (old,) = digests(world)
    # Ended by another process with the same key, or by one that was killed before it noted that.
    world.provider.context.markets[world.market.url].withdraw_offer(old)
    world.restart()
    tick = world.provider.heartbeat.tick
    with pytest.raises(MarketRefused, match="offer_ended"):
        tick()
    with pytest.raises(MarketRefused, match="offer_ended"):
        tick()  # so young an offer stays: the other markets are not flooded with new ones
    world.chain.mine(seconds=30)
    with pytest.raises(MarketRefused, match="offer_ended"):
        tick()
    tick()
    (new,) = digests(world)
    assert new != old


def test_when_a_market_is_away_then_the_offer_is_withdrawn_once_it_is_back_even_after_a_restart(
    world: Any,
) -> None:
    second, join = second_market(world)
    tick = join()
    tick()
    assert second.offers.keys() == world.market.offers.keys()
    set_draining(world.provider.context.journal, True)
    world.market.away = True
    with pytest.raises(NetworkFailed):
        tick()
    assert second.offers == {}, "the other market ends it all the same"
    world.market.away = False
    world.restart()
    join()()
    assert world.market.offers == {}


def test_when_a_drain_is_undone_while_a_market_is_away_then_the_others_get_a_fresh_offer_at_once(
    world: Any,
) -> None:
    second, join = second_market(world)
    tick = join()
    tick()
    (old,) = second.offers
    world.market.away = True
    set_draining(world.provider.context.journal, True)
    with pytest.raises(NetworkFailed):
        tick()
    set_draining(world.provider.context.journal, False)
    with pytest.raises(NetworkFailed):
        tick()
    (new,) = second.offers
    assert new != old
    world.market.away = False
    tick()
    assert new in digests(world)


def test_when_an_offer_was_never_published_at_a_market_then_draining_is_no_error(
    world: Any,
) -> None:
    world.market.away = True
    with pytest.raises(NetworkFailed):
        world.provider.heartbeat.tick()
    world.market.away = False
    drain(world)
    assert find_offer(world.provider.context.journal) is None
    assert to_hex(undo(world).listing_id) == to_hex(world.provider.listing.listing_id)
