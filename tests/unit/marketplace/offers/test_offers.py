"""Publishing and searching offers; forged and stale ones are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.market import (
    OPERATOR,
    STRANGER,
    TUSD,
    World,
    hex32,
    machine,
    replaced,
)


async def test_when_an_offer_is_published_then_it_is_found(world: World) -> None:
    offer = world.offer(await world.list_machine())
    answer = await world.publish(offer)
    assert answer.status_code == 201
    query = {"q": "gpu_name=RTX_4090 num_gpus>=2 dph<0.8 isolation=strong"}
    found = (await world.client.get("/v1/offers", params=query)).json()
    assert (found["matched"], found["available"], found["hint"]) == (1, 1, None)
    assert found["offers"][0]["offer"] == offer.to_json()
    assert found["offers"][0]["fields"]["dph"] == 0.5
    assert found["offers"][0]["listing"]["stake"]["total"] == str(100 * TUSD)


async def test_when_an_offer_is_published_twice_then_the_second_changes_nothing(
    world: World,
) -> None:
    offer = world.offer(await world.list_machine())
    answers = [await world.publish(offer) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price_per_hour": 3 * TUSD}, "offer_refused"),
        ({"price_per_hour": 0}, "offer_refused"),
        ({"machine_hash": bytes(32)}, "offer_refused"),
        ({"hardware_class": bytes(32)}, "offer_refused"),
        ({"provider": STRANGER.address}, "offer_refused"),
        ({"token": STRANGER.address}, "offer_refused"),
        ({"expires_at": 1_700_000_000}, "offer_refused"),
        ({"issued_at": 4_000_000_000, "expires_at": 4_000_000_100}, "offer_refused"),
        ({"expires_at": 4_000_000_000}, "offer_refused"),
        ({"verification": 2}, "offer_refused"),
        ({"max_segments": 0}, "offer_refused"),
        ({"listing_id": bytes([4]) * 32}, "listing_unknown"),
    ],
)
async def test_when_an_offer_disagrees_with_its_listing_then_it_is_refused(
    world: World, change: dict[str, Any], code: str
) -> None:
    offer = replaced(world.offer(await world.list_machine()), **change)
    answer = await world.publish(offer)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["code"] == code


async def test_when_an_offer_is_signed_by_a_stranger_then_it_is_refused(world: World) -> None:
    offer = world.offer(await world.list_machine())
    forged = await world.publish(offer, signer=STRANGER)
    assert forged.json()["error"]["code"] == "signature_refused"
    own = replaced(offer, operator=STRANGER.address)
    body = {"offer": own.to_json(), "signature": world.signed(own, STRANGER)}
    answer = await world.request(STRANGER, "POST", "/offers", json=body)
    assert answer.json()["error"]["code"] == "offer_refused"


async def test_when_an_offer_is_tampered_with_then_it_is_refused(world: World) -> None:
    offer = world.offer(await world.list_machine())
    body = {"offer": offer.to_json(), "signature": world.signed(offer, OPERATOR)}
    body["offer"]["price_per_hour"] = "1"
    answer = await world.request(OPERATOR, "POST", "/offers", json=body)
    assert answer.json()["error"]["code"] == "signature_refused"
    body["offer"]["free_lunch"] = True
    answer = await world.request(OPERATOR, "POST", "/offers", json=body)
    assert answer.json()["error"]["code"] == "message_refused"


async def test_when_a_signature_is_for_another_contract_then_it_is_refused(world: World) -> None:
    from client_sdk.chain.signing import sign
    from client_sdk.protocol.eip712 import Domain

    offer = world.offer(await world.list_machine())
    for domain in (Domain(1, world.market.domain.verifying_contract),
                   Domain(31337, STRANGER.address)):  # fmt: skip
        body = {
            "offer": offer.to_json(),
            "signature": "0x" + sign(offer, domain, OPERATOR).hex(),
        }
        answer = await world.request(OPERATOR, "POST", "/offers", json=body)
        assert answer.json()["error"]["code"] == "signature_refused"


async def _found(world: World) -> int:
    await _let_the_index_look(world)
    return int((await world.client.get("/v1/offers")).json()["matched"])


async def _let_the_index_look(world: World) -> None:
    transport: Any = world.client._transport
    transport.app.state.offers._next_look = 0.0


async def test_when_the_listing_changes_then_its_offers_follow(world: World) -> None:
    listing_id = await world.list_machine()
    await world.publish(world.offer(listing_id))
    assert await _found(world) == 1
    await world.apply(
        world.event("Repriced", listing_id=listing_id, max_price_per_hour=str(TUSD // 4))
    )
    assert await _found(world) == 0, "the price is over the listing's new cap"
    await world.apply(world.event("Repriced", listing_id=listing_id, max_price_per_hour=str(TUSD)))
    assert await _found(world) == 1
    await world.apply(
        world.event("OperatorSet", listing_id=listing_id, operator=STRANGER.address.lower())
    )
    assert await _found(world) == 0, "signed by a key that was revoked"
    await world.apply(
        world.event("OperatorSet", listing_id=listing_id, operator=OPERATOR.address.lower())
    )
    assert await _found(world) == 1
    await world.apply(world.event("Delisted", listing_id=listing_id))
    assert await _found(world) == 0


async def test_when_an_offer_is_withdrawn_then_it_is_gone_for_good(world: World) -> None:
    offer = world.offer(await world.list_machine())
    digest = (await world.publish(offer)).json()["digest"]
    answer = await world.request(OPERATOR, "DELETE", f"/offers/{digest}")
    assert answer.status_code == 204
    assert await _found(world) == 0
    assert (await world.client.get(f"/v1/offers/{digest}")).json()["state"] == "withdrawn"
    again = await world.publish(offer)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "offer_ended")


async def test_when_nothing_matches_then_the_hint_names_the_clause(world: World) -> None:
    await world.publish(world.offer(await world.list_machine()))
    found = (await world.client.get("/v1/offers", params={"q": "num_gpus>=2 dph<0.1"})).json()
    assert found["offers"] == []
    assert found["hint"] == "without dph<0.1 there would be 1"


async def test_when_a_query_cannot_be_read_then_the_answer_says_what_was_meant(
    world: World,
) -> None:
    answer = await world.client.get("/v1/offers", params={"q": "gpu_nam=RTX"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "query_refused"
    assert "did you mean 'gpu_name'" in error["message"]


async def test_when_a_listing_holds_no_machine_document_then_it_is_not_searchable(
    world: World,
) -> None:
    listing_id = await world.list_machine()
    listing = (await world.client.get(f"/v1/listings/{listing_id}")).json()
    assert listing["document"]["gpu_name"] == "RTX 4090"
    await world.apply(
        world.event(
            "Listed",
            listing_id=hex32(2),
            provider=STRANGER.address.lower(),
            operator=STRANGER.address.lower(),
            hardware_class=hex32(1),
            machine_hash=hex32(2),
            token="0x" + "ab" * 20,
            max_price_per_hour="5",
            document="0xffff",
        )
    )
    listing = (await world.client.get(f"/v1/listings/{hex32(2)}")).json()
    assert listing["document"] is None
    page = (await world.client.get("/v1/listings", params={"limit": 1})).json()
    assert page["next"] == page["listings"][0]["listing_id"] == hex32(1)


async def test_when_offers_expire_then_the_upkeep_ends_them(world: World) -> None:
    from marketplace.offers import service

    offer = world.offer(await world.list_machine())
    digest = (await world.publish(offer)).json()["digest"]
    later = datetime.fromtimestamp(offer.expires_at, UTC)
    async with world.market.database.writing() as session:
        assert await service.expire(session, world.market, later) == 1
    async with world.market.database.writing() as session:
        assert await service.expire(session, world.market, later) == 0
    assert (await world.client.get(f"/v1/offers/{digest}")).json()["state"] == "expired"
    assert await _found(world) == 0


def test_when_a_machine_is_made_then_its_document_fits_the_contract() -> None:
    assert len(machine().canonical()) <= 1024
