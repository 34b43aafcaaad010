"""What a node takes to carry, and what it tells about it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select

from client_sdk.chain.signing import sign
from client_sdk.protocol.consents import Stop
from client_sdk.protocol.terms import Terms
from marketplace.clock import now
from marketplace.context import Market
from marketplace.domain.states import OutboxState
from marketplace.errors import ConfigurationError, RelayRefused
from marketplace.models import Credit, OutboxItem
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import ASKED, RELAY_COLLECT, RELAY_OPEN, RELAY_STOP, RELAY_WITHDRAW
from marketplace.relays import service
from marketplace.relays.schemas import AuthorizationBody
from marketplace.relays.service import Asked
from marketplace.settings import RelayRates
from tests.support.market import (
    OPERATOR,
    OTHER,
    RENTER,
    STRANGER,
    TOKEN,
    World,
    open_world,
    rent,
    replaced,
)
from tests.unit.marketplace.relays.conftest import FEE, OTHER_TOKEN

SIGNATURE = "0x" + "11" * 65


async def agreed(world: World, **values: Any) -> Terms:
    return (await rent(world, opened=False, **values)).terms


def opening(world: World, terms: Terms, **values: Any) -> dict[str, Any]:
    authorization = {
        "relay_fee": str(FEE),
        "valid_after": 0,
        "valid_before": int(time.time()) + 100,
        "signature": SIGNATURE,
    }
    return {
        "terms": terms.to_json(),
        "terms_signature": world.signed(terms, OPERATOR),
        "authorization": authorization | values,
    }


async def ask(
    world: World, body: dict[str, Any], account: Any = RENTER, what: str = "openings"
) -> httpx.Response:
    return await world.request(account, "POST", f"/relays/{what}", json=body)


def stopping(world: World, terms: Terms) -> dict[str, Any]:
    consent = Stop(lease_id=terms.lease_id(world.market.domain))
    return {"terms": terms.to_json(), "signature": world.signed(consent, RENTER)}


async def end(world: World, state: OutboxState, **values: Any) -> None:
    """Let the delivery of the only relayed call end."""
    async with world.market.database.writing() as session:
        rows = await session.scalars(select(OutboxItem).where(OutboxItem.kind.startswith("relay.")))
        item = rows.one()
        claimed = await outbox.claim(session, item.item_id, now(), 30)
        assert claimed is not None
        assert await outbox.end(session, claimed, now(), state, **values)


async def test_when_a_market_is_asked_then_it_names_its_rates(world: World) -> None:
    market = (await world.request(None, "GET", "/market")).json()
    assert market["relay"] == [{"token": TOKEN, "open_fee": "500", "min_withdrawal": "10"}]


async def test_when_a_node_has_no_relayer_then_it_carries_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path, relay={"tUSD": {"open_fee": 1}}) as world:
        assert (await world.request(None, "GET", "/market")).json()["relay"] == []
        body = {"token": TOKEN, "key": "k"}
        answer = await ask(world, body, what="withdrawals")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "relay_closed")


async def test_when_the_settings_name_an_unknown_token_then_the_node_does_not_start(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigurationError, match="no token EURX"):
        async with open_world(tmp_path, relay={"EURX": {"open_fee": 1}}):
            pass


async def test_when_an_opening_is_asked_for_again_then_it_is_the_same(world: World) -> None:
    body = opening(world, await agreed(world))
    first = await ask(world, body)
    assert first.status_code == 202
    assert first.json() == {
        "request_id": first.json()["request_id"],
        "state": "queued",
        "transactions": [],
        "refusal": None,
        "problem": None,
    }
    assert (await ask(world, body)).json() == first.json()


async def test_when_a_lease_is_being_opened_then_another_authorization_gets_that_opening(
    world: World,
) -> None:
    terms = await agreed(world)
    first = (await ask(world, opening(world, terms))).json()
    dearer = opening(world, terms, relay_fee=str(FEE + 1))
    assert (await ask(world, dearer)).json() == first
    other = await ask(world, opening(world, replaced(terms, nonce=terms.nonce + 1)))
    assert other.json()["request_id"] != first["request_id"], "another lease"


async def test_when_an_opening_was_refused_then_another_authorization_is_carried(
    world: World,
) -> None:
    terms = await agreed(world)
    first = (await ask(world, opening(world, terms))).json()
    await end(world, OutboxState.DONE, result={"refused": "ERC3009InvalidSignature"})
    other = (await ask(world, opening(world, terms, relay_fee=str(FEE + 1)))).json()
    assert (other["state"], other["request_id"] == first["request_id"]) == ("queued", False)


async def test_when_the_same_signature_comes_in_other_letters_then_it_is_the_same(
    world: World,
) -> None:
    terms = await agreed(world)
    small, large = "0x" + "ab" * 65, "0x" + "AB" * 65
    valid_before = int(time.time()) + 100
    first = opening(world, terms, signature=small, valid_before=valid_before)
    asked = (await ask(world, first)).json()
    await end(world, OutboxState.DONE, result={"refused": "ERC3009InvalidSignature"})
    again = opening(world, terms, signature=large, valid_before=valid_before)
    assert (await ask(world, again)).json()["request_id"] == asked["request_id"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"relay_fee": str(FEE - 1)}, "relay_fee_too_low"),
        ({"valid_before": 1_700_000_000}, "relay_refused"),
        ({"relay_fee": "9" * 29}, "relay_refused"),
        ({"relay_fee": "-1"}, "request_invalid"),
        ({"signature": "0x11"}, "request_invalid"),
    ],
)
async def test_when_an_authorization_does_not_do_then_nothing_is_queued(
    world: World, values: dict[str, Any], code: str
) -> None:
    answer = await ask(world, opening(world, await agreed(world), **values))
    assert answer.json()["error"]["code"] == code
    async with world.market.database.reading() as session:
        found = await session.scalars(select(OutboxItem).where(OutboxItem.kind == "relay.open"))
        assert found.all() == []


@pytest.mark.parametrize(
    ("field", "last", "step"),
    # The token's own rule is `now < validBefore`, the escrow's is `now <= openBy`.
    [("valid_before", 1_001, -1), ("open_by", 1_000, -1), ("relay_fee", (1 << 96) - 1, 1)],
)
async def test_when_an_opening_is_one_beyond_a_limit_then_it_is_refused(
    world: World, field: str, last: int, step: int
) -> None:
    terms = await agreed(world)

    def asked(value: int) -> Asked:
        values = {"relay_fee": FEE, "valid_before": 2_000, "open_by": 2_000, field: value}
        given = AuthorizationBody(
            relay_fee=str(values["relay_fee"]),
            valid_after=0,
            valid_before=values["valid_before"],
            signature=SIGNATURE,
        )
        signed = replaced(terms, open_by=values["open_by"])
        moment = datetime.fromtimestamp(1_000, UTC)
        caller = RENTER.address.lower()
        return service.opening(world.market, signed, SIGNATURE, given, caller, moment)

    assert asked(last).kind == RELAY_OPEN
    with pytest.raises(RelayRefused):
        asked(last + step)


async def test_when_the_fee_is_too_low_then_the_node_says_what_it_asks(world: World) -> None:
    answer = await ask(world, opening(world, await agreed(world), relay_fee="0"))
    assert answer.json()["error"]["details"] == {"open_fee": "500"}


async def test_when_the_terms_are_not_the_operators_then_they_are_refused(world: World) -> None:
    terms = await agreed(world)
    forged = replaced(terms, price_per_segment=1)
    body = opening(world, terms) | {"terms": forged.to_json()}
    assert (await ask(world, body)).json()["error"]["code"] == "signature_refused"


@pytest.mark.parametrize("account", [OTHER, STRANGER])
async def test_when_the_lease_is_somebody_elses_then_it_is_not_carried(
    world: World, account: Any
) -> None:
    terms = await agreed(world)
    answer = await ask(world, opening(world, terms), account)
    assert answer.json()["error"]["code"] == "signature_refused"
    consent = Stop(lease_id=terms.lease_id(world.market.domain))
    for signer in (RENTER, account):
        body = {"terms": terms.to_json(), "signature": world.signed(consent, signer)}
        answer = await ask(world, body, account, "stops")
        assert answer.json()["error"]["code"] == "signature_refused"


async def test_when_another_token_is_named_then_it_is_not_carried(world: World) -> None:
    terms = replaced(await agreed(world), token=STRANGER.address)
    consent = Stop(lease_id=terms.lease_id(world.market.domain))
    bodies = {
        "openings": opening(world, terms),
        "stops": {"terms": terms.to_json(), "signature": world.signed(consent, RENTER)},
        "withdrawals": {"token": STRANGER.address, "key": "k"},
    }
    for what, body in bodies.items():
        answer = await ask(world, body, what=what)
        assert answer.json()["error"]["code"] == "relay_closed"


async def test_when_a_stop_is_for_another_lease_then_it_is_refused(world: World) -> None:
    terms = await agreed(world)
    other = Stop(lease_id=dataclasses.replace(terms, nonce=9).lease_id(world.market.domain))
    signature = "0x" + sign(other, world.market.domain, RENTER).hex()
    body = {"terms": terms.to_json(), "signature": signature}
    assert (await ask(world, body, what="stops")).json()["error"]["code"] == "signature_refused"


async def test_when_a_stop_is_asked_for_again_then_it_is_the_same(world: World) -> None:
    terms = await agreed(world)
    await world.open(terms)
    body = stopping(world, terms)
    first = (await ask(world, body, what="stops")).json()
    await end(world, OutboxState.DONE, result={"transactions": ["0xaa"]})
    body["signature"] = "0x" + body["signature"][2:].upper()
    again = (await ask(world, body, what="stops")).json()
    assert (again["request_id"], again["state"]) == (first["request_id"], "confirmed")


@pytest.mark.parametrize(
    ("state", "values"),
    [
        (OutboxState.DONE, {"result": {"refused": "NotActive"}}),
        (OutboxState.DONE, {"result": {"refused": "NotActive", "transactions": ["0xaa"]}}),
        (OutboxState.FAILED, {"error": "ChainUnreachable: for a day"}),
    ],
)
async def test_when_a_stop_was_refused_or_failed_then_it_is_tried_again_when_asked_for(
    world: World, state: OutboxState, values: dict[str, Any]
) -> None:
    terms = await agreed(world)
    await world.open(terms)
    body = stopping(world, terms)
    first = (await ask(world, body, what="stops")).json()
    assert (await ask(world, body, what="stops")).json() == first
    await end(world, state, **values)
    again = (await ask(world, body, what="stops")).json()
    assert (again["state"], again["request_id"] == first["request_id"]) == ("queued", False)
    async with world.market.database.reading() as session:
        found = await session.scalars(select(OutboxItem).where(OutboxItem.kind == RELAY_STOP))
        keys = {item.payload["key"] for item in found}
    assert len(keys) == 2, "the sender's journal would give back the old receipt"


async def test_when_an_account_asks_too_often_then_it_has_to_wait(world: World) -> None:
    codes = [
        (await ask(world, {"token": TOKEN, "key": "k"}, what="withdrawals")).status_code
        for _ in range(6)
    ]
    assert codes == [202] * 5 + [429]
    body = {"token": TOKEN, "key": "k"}
    assert (await ask(world, body, OTHER, "withdrawals")).status_code == 202


async def test_when_all_accounts_together_have_used_the_hour_then_the_node_says_so(
    world: World,
) -> None:
    terms = await agreed(world)
    bodies = [opening(world, replaced(terms, nonce=number)) for number in range(4)]
    for body in bodies[:3]:
        assert (await ask(world, body)).status_code == 202
    answer = await ask(world, bodies[3])
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "relays_spent")
    assert answer.headers["retry-after"] == "60"
    assert (await ask(world, bodies[0])).status_code == 202, "nothing new is carried"
    withdrawal = {"token": TOKEN, "key": "k"}
    answer = await ask(world, withdrawal, OTHER, "withdrawals")
    assert answer.status_code == 202, "no kind of call takes the place of another"


async def test_when_the_index_shows_a_call_to_be_in_vain_then_it_takes_no_place(
    world: World,
) -> None:
    terms = await agreed(world)
    ways: list[tuple[str, dict[str, Any], Any]] = [("stops", stopping(world, terms), RENTER)]
    for change in ({"listing_id": bytes(32)}, {"operator": OTHER.address}):
        forged = replaced(terms, **change)
        signature = world.signed(forged, OTHER if "operator" in change else OPERATOR)
        ways.append(("openings", opening(world, forged) | {"terms_signature": signature}, RENTER))
    ways.append(("withdrawals", {"token": TOKEN, "key": "k"}, STRANGER))
    await assert_in_vain(world, ways)


async def test_when_a_lease_is_over_or_its_machine_delisted_then_no_call_for_it_takes_a_place(
    world: World,
) -> None:
    terms = await agreed(world)
    await world.open(terms)
    assert (await ask(world, stopping(world, terms), what="stops")).status_code == 202
    await end(world, OutboxState.DONE, result={"refused": "NotActive"})
    lease_id = "0x" + terms.lease_id(world.market.domain).hex()
    delisted = world.event("Delisted", listing_id="0x" + terms.listing_id.hex())
    await world.apply(world.event("Closed", lease_id=lease_id, cause=1, refund="1"), delisted)
    ways = [("stops", stopping(world, terms), RENTER)]
    ways.append(("openings", opening(world, replaced(terms, nonce=terms.nonce + 1)), RENTER))
    await assert_in_vain(world, ways)


async def assert_in_vain(world: World, ways: list[tuple[str, dict[str, Any], Any]]) -> None:
    async with world.market.database.reading() as session:
        before = await outbox.num_sent(session, ASKED, now() - timedelta(hours=1))
    for what, body, account in ways:
        answer = await ask(world, body, account, what)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "relay_refused"), what
    async with world.market.database.reading() as session:
        assert await outbox.num_sent(session, ASKED, now() - timedelta(hours=1)) == before


async def test_when_a_call_was_taken_then_asking_again_tells_of_it_whatever_the_index_shows(
    world: World,
) -> None:
    body = {"token": TOKEN, "key": "k"}
    first = (await ask(world, body, what="withdrawals")).json()
    await end(world, OutboxState.DONE, result={"transactions": ["0xaa"]})
    async with world.market.database.writing() as session:
        await session.execute(delete(Credit))
    again = (await ask(world, body, what="withdrawals")).json()
    assert (again["request_id"], again["state"]) == (first["request_id"], "confirmed")


@pytest.mark.parametrize(
    ("result", "counts"),
    [
        ({"refused": "BelowMinWithdrawal"}, False),
        ({"refused": "LeaseExists", "transactions": ["0xaa"]}, True),
        ({"transactions": ["0xaa"]}, True),
    ],
)
async def test_when_a_call_cost_no_gas_then_it_does_not_count_among_the_hours_calls(
    world: World, result: dict[str, Any], counts: bool
) -> None:
    await ask(world, {"token": TOKEN, "key": "k"}, what="withdrawals")
    await end(world, OutboxState.DONE, result=result)
    moment = now()
    async with world.market.database.reading() as session:
        assert await outbox.num_sent(session, ASKED, moment - timedelta(hours=1)) == counts
        assert await outbox.num_sent(session, ASKED, moment) == 0, "an hour later"


async def test_when_a_withdrawal_has_the_same_key_then_it_is_the_same(world: World) -> None:
    asked = [
        (await ask(world, {"token": token, "key": "a"}, what="withdrawals")).json()["request_id"]
        for token in (TOKEN, TOKEN.lower())
    ]
    assert asked[0] == asked[1]


def test_when_a_key_is_used_in_two_tokens_then_they_are_two_withdrawals(
    with_another_token: Callable[[RelayRates | None], Market],
) -> None:
    market = with_another_token(RelayRates(open_fee=1))
    calls = [service.withdrawal(market, token, "k", "0xaa") for token in (TOKEN, OTHER_TOKEN)]
    assert calls[0].effect != calls[1].effect
    assert [call.payload["token"] for call in calls] == [TOKEN, OTHER_TOKEN]


async def test_when_a_withdrawal_is_on_its_way_then_one_under_another_key_is_refused(
    world: World,
) -> None:
    first = (await ask(world, {"token": TOKEN, "key": "a"}, what="withdrawals")).json()
    second = {"token": TOKEN.lower(), "key": "b"}
    answer = await ask(world, second, what="withdrawals")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "relay_in_flight")
    assert answer.json()["error"]["details"] == {"request_id": first["request_id"]}
    assert (await ask(world, second, OTHER, "withdrawals")).status_code == 202
    async with world.market.database.reading() as session:
        found = await session.scalars(
            select(OutboxItem.payload).where(OutboxItem.kind == RELAY_WITHDRAW)
        )
        assert sorted(item["account"] for item in found) == sorted(
            account.address.lower() for account in (RENTER, OTHER)
        )


async def test_when_a_withdrawal_has_ended_then_one_under_another_key_is_carried(
    world: World,
) -> None:
    first = (await ask(world, {"token": TOKEN, "key": "a"}, what="withdrawals")).json()
    await end(world, OutboxState.DONE, result={"transactions": ["0xaa"]})
    second = (await ask(world, {"token": TOKEN, "key": "b"}, what="withdrawals")).json()
    assert first["request_id"] != second["request_id"]
    async with world.market.database.reading() as session:
        items = (await session.scalars(select(OutboxItem))).all()
    # The sender's journal knows calls by it: one of the first's key would never be sent.
    assert [item.payload["key"] for item in items] == [item.key for item in items]
    assert len({item.key for item in items}) == 2


async def test_when_another_account_asks_where_a_call_is_then_it_is_not_told(world: World) -> None:
    asked = (await ask(world, {"token": TOKEN, "key": "k"}, what="withdrawals")).json()
    async with world.market.database.writing() as session:
        await outbox.add(session, RELAY_COLLECT, "collect", {"slot": 1}, now=now())
        collecting = await outbox.find(session, "collect")
        assert collecting is not None
    for account, request_id in ((OTHER, asked["request_id"]), (RENTER, collecting.item_id)):
        answer = await world.request(account, "GET", f"/relays/{request_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "relay_unknown")


@pytest.mark.parametrize(
    ("state", "values", "shown"),
    [
        (OutboxState.QUEUED, {"result": {"transactions": ["0xaa"]}}, ("sent", ["0xaa"], None)),
        (OutboxState.DONE, {"result": {"transactions": ["0xaa"]}}, ("confirmed", ["0xaa"], None)),
        (OutboxState.DONE, {"result": {"refused": "LeaseExists"}}, ("refused", [], "LeaseExists")),
        (OutboxState.FAILED, {"error": "ChainUnreachable: http://c"}, ("failed", [], None)),
    ],
)
async def test_when_a_call_goes_on_then_its_account_reads_where_it_is(
    world: World, state: OutboxState, values: dict[str, Any], shown: tuple[Any, ...]
) -> None:
    asked = (await ask(world, {"token": TOKEN, "key": "k"}, what="withdrawals")).json()
    await end(world, state, **values)
    path = f"/relays/{asked['request_id']}"
    told = (await world.request(RENTER, "GET", path)).json()
    assert (told["state"], told["transactions"], told["refusal"]) == shown


async def test_when_the_relayer_is_broke_then_only_the_kind_of_problem_is_shown(
    world: World,
) -> None:
    asked = (await ask(world, {"token": TOKEN, "key": "k"}, what="withdrawals")).json()
    problem = "InsufficientFunds: 0xabc holds 0 wei"
    await end(world, OutboxState.QUEUED, error=problem, failed=True)
    told = (await world.request(RENTER, "GET", f"/relays/{asked['request_id']}")).json()
    assert (told["state"], told["problem"]) == ("queued", "InsufficientFunds")
