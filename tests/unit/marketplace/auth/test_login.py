"""Logging in: each message counts once, here only, and only for its signer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.signing import sign_text
from client_sdk.protocol.login import LoginMessage
from marketplace.auth import repository, service
from marketplace.models import AccessToken, LoginNonce
from tests.support.market import CHAIN_ID, OTHER, RENTER, World, open_world


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


async def test_when_a_nonce_is_too_old_then_it_counts_no_more(world: World) -> None:
    settings = world.market.settings
    moment = datetime.now(UTC)
    for age_s, good in ((settings.nonce_ttl_s - 1, True), (settings.nonce_ttl_s + 1, False)):
        async with world.market.database.writing() as session:
            nonce, _ = await service.issue_nonce(session, world.market, moment)
            later = moment + timedelta(seconds=age_s)
            assert await repository.use_nonce(session, nonce, later) is good


async def test_when_a_token_has_expired_then_it_stands_for_nobody_before_the_upkeep_too(
    world: World,
) -> None:
    token = (await log_in(world, await message(world))).json()["token"]
    lifetime = timedelta(seconds=world.market.settings.token_ttl_s)
    async with world.market.database.reading() as session:
        for age, account in (
            (lifetime - timedelta(minutes=1), RENTER.address.lower()),
            (lifetime + timedelta(minutes=1), None),
        ):
            moment = datetime.now(UTC) + age
            assert await service.authenticate(session, token, moment) == account


async def test_when_one_host_logs_in_too_often_then_it_waits(tmp_path: Path) -> None:
    async with open_world(tmp_path, logins_per_minute=2) as world:
        body = {"message": "", "signature": "0x" + "00" * 65}
        codes = [
            (await world.client.post("/v1/auth/login", json=body)).status_code for _ in range(3)
        ]
        assert codes == [401, 401, 429]
        assert (await world.client.post("/v1/auth/nonce")).status_code == 429
