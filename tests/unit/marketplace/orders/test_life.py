"""An order's way from the offer to the open lease, and who may do what on it."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.market import (
    OPERATOR,
    OTHER,
    RENTER,
    STRANGER,
    TUSD,
    World,
    rent,
    replaced,
)


async def test_when_everybody_agrees_then_an_order_becomes_an_open_lease(world: World) -> None:
    rented = await rent(world)
    order = (await world.request(RENTER, "GET", f"/orders/{rented.order_id}")).json()
    assert order["state"] == "opened"
    assert order["lease_id"] == rented.lease_id
    assert order["terms"] == rented.terms.to_json()
    job = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}")).json()
    assert (job["state"], job["lease"]["state"]) == ("preparing", "active")


async def test_when_the_same_order_comes_again_then_its_ids_are_the_same(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(offer)
    first, second = await world.place(order, offer), await world.place(order, offer)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_price_per_hour": 1}, "max_price_per_hour"),
        ({"segments": 101}, "segments"),
        ({"verification": 2}, "verification"),
        ({"verification": 9}, "verification"),
        ({"min_bond": 101 * TUSD}, "min_bond"),
        ({"arbiter": STRANGER.address}, "arbiter"),
        ({"token": STRANGER.address}, "token"),
        ({"expires_at": 1}, "expires_at"),
        ({"budget": 0}, "budget"),
        ({"offer": bytes([1]) * 32}, "offer"),
        ({"listing_id": bytes([1]) * 32}, "listing_id"),
    ],
)
async def test_when_an_order_disagrees_with_its_offer_then_it_is_refused(
    world: World, change: dict[str, object], field: str
) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    answer = await world.place(replaced(world.order(offer), **change), offer)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["details"]["field"]) == ("order_refused", field)
    assert error["what_to_do"]


async def test_when_an_order_is_signed_by_another_key_then_it_is_refused(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(offer)
    answer = await world.place(order, offer, signature=world.signed(order, OTHER))
    assert answer.json()["error"]["code"] == "signature_refused"


async def test_when_an_order_is_tampered_with_then_its_signature_no_longer_holds(
    world: World,
) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(offer)
    forged = replaced(order, budget=order.budget * 2)
    answer = await world.place(forged, offer, signature=world.signed(order, RENTER))
    assert answer.json()["error"]["code"] == "signature_refused"


async def test_when_an_order_names_anothers_artifact_then_it_is_refused(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    foreign = await world.put(OTHER, b"secret of another tenant")
    artifacts = {"manifest": foreign, "bundle": foreign}
    answer = await world.place(world.order(offer), offer, artifacts=artifacts)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "artifact_unknown")


async def test_when_two_claims_race_then_one_wins(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order_id = (await world.place(world.order(offer), offer)).json()["order_id"]
    await world.login(OPERATOR)
    answers = await asyncio.gather(
        *(world.request(OPERATOR, "POST", f"/orders/{order_id}/claim") for _ in range(8))
    )
    tokens = {a.json()["lock_token"] for a in answers if a.status_code == 200}
    assert len(tokens) == 1, "a second claim of the same operator renews the first"
    stranger = await world.request(STRANGER, "POST", f"/orders/{order_id}/claim")
    assert stranger.status_code == 404


async def test_when_terms_come_under_another_hold_then_they_are_refused(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(offer)
    order_id = (await world.place(order, offer)).json()["order_id"]
    await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")
    terms = world.terms(order, offer)
    body = {"terms": terms.to_json(), "signature": world.signed(terms, OPERATOR)}
    answer = await world.request(
        OPERATOR, "POST", f"/orders/{order_id}/terms", json=body | {"lock_token": "f" * 32}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "order_claimed")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price_per_segment": TUSD}, "price_per_segment"),
        ({"segments": 21}, "segments"),
        ({"arbiter": STRANGER.address}, "arbiter"),
        ({"token": STRANGER.address}, "token"),
        ({"provider": STRANGER.address}, "provider"),
        ({"renter": OTHER.address}, "renter"),
        ({"job_hash": bytes([6]) * 32}, "job_hash"),
        ({"machine_hash": bytes([6]) * 32}, "machine_hash"),
        ({"fee_bps": 201}, "fee_bps"),
        ({"window": 0}, "window"),
        ({"max_duration": 3_601}, "max_duration"),
        ({"open_by": 1}, "open_by"),
    ],
)
async def test_when_terms_disagree_with_the_order_then_they_are_refused(
    world: World, change: dict[str, object], field: str
) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(offer)
    order_id = (await world.place(order, offer)).json()["order_id"]
    claim = (await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")).json()
    terms = world.terms(order, offer, **change)
    answer = await world.request(
        OPERATOR,
        "POST",
        f"/orders/{order_id}/terms",
        json={
            "terms": terms.to_json(),
            "signature": world.signed(terms, OPERATOR),
            "lock_token": claim["lock_token"],
        },
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["details"]["field"]) == ("terms_refused", field)


@pytest.mark.parametrize(("max_window", "status"), [(20, 200), (19, 400)])
async def test_when_others_may_open_an_order_then_terms_keep_its_caps(
    world: World, max_window: int, status: int
) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(
        offer,
        min_window=15,
        max_window=max_window,
        max_dispute_timeout=30,
        max_first_commit=300,
        max_price_per_segment=TUSD,
    )
    order_id = (await world.place(order, offer)).json()["order_id"]
    claim = (await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")).json()
    terms = world.terms(order, offer, dispute_timeout=30)
    body = {
        "terms": terms.to_json(),
        "signature": world.signed(terms, OPERATOR),
        "lock_token": claim["lock_token"],
    }
    answer = await world.request(OPERATOR, "POST", f"/orders/{order_id}/terms", json=body)
    assert answer.status_code == status
    if status != 200:
        assert "do not keep the order's max_window" in answer.json()["error"]["message"]


async def test_when_terms_are_signed_by_another_key_then_they_are_refused(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order = world.order(offer)
    order_id = (await world.place(order, offer)).json()["order_id"]
    claim = (await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")).json()
    terms = world.terms(order, offer)
    body = {"terms": terms.to_json(), "lock_token": claim["lock_token"]}
    forged = body | {"signature": world.signed(terms, STRANGER)}
    path = f"/orders/{order_id}/terms"
    answer = await world.request(OPERATOR, "POST", path, json=forged)
    assert answer.json()["error"]["code"] == "signature_refused"
    stranger = await world.request(
        STRANGER, "POST", path, json=body | {"signature": world.signed(terms, OPERATOR)}
    )
    assert stranger.json()["error"]["code"] == "signature_refused"


async def test_when_an_order_is_withdrawn_then_its_operator_loses_the_inputs(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order_id = (await world.place(world.order(offer), offer)).json()["order_id"]
    claim = (await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")).json()
    manifest = f"/artifacts/{claim['artifacts']['manifest']}"
    assert (await world.request(OPERATOR, "GET", manifest)).status_code == 200
    answer = await world.request(RENTER, "DELETE", f"/orders/{order_id}")
    assert answer.json()["state"] == "withdrawn"
    assert (await world.request(OPERATOR, "GET", manifest)).status_code == 404
    job_id = answer.json()["job_id"]
    assert (await world.request(RENTER, "GET", f"/jobs/{job_id}")).json()["state"] == "cancelled"
    again = await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")
    assert again.json()["error"]["code"] == "order_over"


async def test_when_an_order_is_declined_then_its_renter_reads_why(world: World) -> None:
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    order_id = (await world.place(world.order(offer), offer)).json()["order_id"]
    body = {"code": "bundle_hash", "reason": "The bundle has another hash."}
    await world.request(OPERATOR, "POST", f"/orders/{order_id}/decline", json=body)
    order = (await world.request(RENTER, "GET", f"/orders/{order_id}")).json()
    assert (order["state"], order["decline"]) == ("declined", body)


async def test_when_the_lease_is_open_then_the_order_cannot_be_withdrawn(world: World) -> None:
    rented = await rent(world)
    answer = await world.request(RENTER, "DELETE", f"/orders/{rented.order_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "order_over")


async def test_when_the_listing_is_gone_then_orders_and_terms_are_refused(world: World) -> None:
    listing_id = await world.list_machine()
    offer = world.offer(listing_id)
    await world.publish(offer)
    order = world.order(offer)
    order_id = (await world.place(order, offer)).json()["order_id"]
    claim = (await world.request(OPERATOR, "POST", f"/orders/{order_id}/claim")).json()
    await world.apply(world.event("Delisted", listing_id=listing_id))
    late = await world.place(world.order(offer, nonce=2), offer)
    assert late.json()["error"]["code"] == "offer_ended"
    terms = world.terms(order, offer)
    answer = await world.request(
        OPERATOR,
        "POST",
        f"/orders/{order_id}/terms",
        json={
            "terms": terms.to_json(),
            "signature": world.signed(terms, OPERATOR),
            "lock_token": claim["lock_token"],
        },
    )
    assert answer.json()["error"]["code"] == "terms_refused"


async def test_when_a_worker_lists_orders_then_only_those_directed_at_it_are_there(
    world: World,
) -> None:
    # An order carries the wrapped job key and the addresses of the job's inputs.
    offer = world.offer(await world.list_machine())
    await world.publish(offer)
    await world.place(world.order(offer), offer)
    for account, seen in ((OPERATOR, 1), (STRANGER, 0)):
        answer = await world.request(account, "GET", "/worker/orders")
        assert len(answer.json()["orders"]) == seen
