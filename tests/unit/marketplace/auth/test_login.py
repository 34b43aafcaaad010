"""Logging in: each message counts once, here only, and only for its signer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.signing import sign_text
from client_sdk.protocol.login import LoginMessage
from marketplace.auth import repository
from marketplace.models import AccessToken, LoginNonce
from tests.support.market import CHAIN_ID, OTHER, RENTER, World


async def message(world: World, **values: Any) -> str:
    nonce = (await world.client.post("/v1/auth/nonce")).json()["nonce"]
    defaults: dict[str, Any] = {
        "domain": "market.test",
        "address": RENTER.address,
        "uri": "http://market.test",
        "chain_id": CHAIN_ID,
        "nonce": nonce,
        "issued_at": datetime.now(UTC),
    }
    return LoginMessage(**(defaults | values)).text()


async def log_in(world: World, text: str, signer: Any = RENTER) -> Any:
    body = {"message": text, "signature": "0x" + sign_text(text, signer).hex()}
    return await world.client.post("/v1/auth/login", json=body)


async def test_when_a_message_is_used_twice_then_the_second_is_refused(world: World) -> None:
    text = await message(world)
    assert (await log_in(world, text)).status_code == 200
    again = await log_in(world, text)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "login_refused")


@pytest.mark.parametrize(
    "values",
    [
        {"domain": "evil.test"},
        {"uri": "http://evil.test"},
        {"chain_id": 1},
        {"nonce": "0123456789abcdef"},
        {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"issued_at": datetime(2100, 1, 1, tzinfo=UTC)},
        {"not_before": datetime(2100, 1, 1, tzinfo=UTC)},
    ],
)
async def test_when_a_message_is_not_for_us_now_then_it_is_refused(
    world: World, values: dict[str, Any]
) -> None:
    answer = await log_in(world, await message(world, **values))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "login_refused")


async def test_when_another_key_signed_then_the_login_is_refused(world: World) -> None:
    answer = await log_in(world, await message(world), OTHER)
    assert answer.json()["error"]["code"] == "login_refused"


async def test_when_the_text_is_no_login_message_then_it_is_refused(world: World) -> None:
    for text in ("", "hello", "x" * 4_000):
        assert (await log_in(world, text)).json()["error"]["code"] == "login_refused"


async def test_when_a_token_is_stored_then_only_its_hash_is(world: World) -> None:
    token = (await log_in(world, await message(world))).json()["token"]
    async with world.market.database.reading() as session:
        (row,) = (await session.scalars(select(AccessToken))).all()
    assert token not in repr(vars(row))
    assert row.address == RENTER.address.lower()


async def test_when_a_token_expires_or_is_given_up_then_it_no_longer_holds(world: World) -> None:
    assert (await world.request(RENTER, "GET", "/jobs")).status_code == 200
    await world.request(RENTER, "POST", "/auth/logout")
    answer = await world.request(RENTER, "GET", "/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    world.tokens.clear()
    await world.login(RENTER)
    later = datetime.now(UTC) + timedelta(days=8)
    async with world.market.database.writing() as session:
        await repository.drop_expired(session, later)
    assert (await world.request(RENTER, "GET", "/jobs")).status_code == 401
    async with world.market.database.reading() as session:
        assert (await session.scalars(select(LoginNonce))).all() == []


async def test_when_a_token_is_made_up_then_it_is_refused_also_on_public_routes(
    world: World,
) -> None:
    headers = {"authorization": "Bearer glm_made_up"}
    for path in ("/jobs", "/offers", "/market"):
        assert (await world.client.get(f"/v1{path}", headers=headers)).status_code == 401
