"""Several marketplace nodes, some of which lie."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from client_sdk.errors import InputRejected, MarketUnreachable
from client_sdk.markets import Markets, signature_from_hex
from client_sdk.policy import Policy, Rule
from client_sdk.transports import MarketNode, Timeouts
from tests.support.sdk import (
    DOMAIN,
    LISTING,
    MACHINE,
    MARKET_FACTS,
    NOW,
    OFFER,
    STRANGER,
    FakeFacts,
    served,
    transport,
)

QUICK = Timeouts(patience_s=0)


def node(*offers, name: str = "one") -> MarketNode:
    routes = {"/v1/offers": {"offers": list(offers), "hint": None}}
    return MarketNode(f"http://{name}.test", QUICK, transport(routes))


def dead(name: str = "dead") -> MarketNode:
    def refuse(request):
        raise httpx.ConnectError("refused")

    return MarketNode(f"http://{name}.test", QUICK, transport(refuse))


def markets(*nodes: MarketNode, facts=None) -> Markets:
    return Markets(
        nodes,
        facts=facts or FakeFacts(),
        domain=DOMAIN,
        market=MARKET_FACTS,
        policy=Policy(),
    )


def find(*nodes: MarketNode, **options):
    return markets(*nodes, **options).offers("", order="dph", limit=50)


def test_when_two_nodes_serve_one_offer_then_it_is_merged():
    one, two = node(served()), node(served(), name="two")
    (offer,) = find(one, two).offers
    assert offer.offer == OFFER
    assert offer.nodes == (one, two)
    assert offer.machine == MACHINE


def test_when_nodes_serve_different_offers_then_all_are_shown():
    other = replace(OFFER, nonce=2)
    found = find(node(served()), node(served(other), name="two"))
    assert {offer.offer for offer in found.offers} == {OFFER, other}


FORGED = {
    "signed by a stranger": (served(key=STRANGER), {Rule.SIGNATURE}),
    "cheaper than signed": (
        served(OFFER) | {"offer": replace(OFFER, price_per_hour=1).to_json()},
        {Rule.DIGEST, Rule.SIGNATURE},
    ),
    "its own operator": (
        served(replace(OFFER, operator=STRANGER.address), key=STRANGER),
        {Rule.OPERATOR},
    ),
    "its own provider": (served(replace(OFFER, provider=STRANGER.address)), {Rule.LISTING}),
    "another arbiter": (served(replace(OFFER, arbiter=STRANGER.address)), {Rule.ARBITER}),
    "another token": (
        served(replace(OFFER, token=STRANGER.address)),
        {Rule.TOKEN},
    ),
    "an unlisted machine": (served(replace(OFFER, listing_id=b"\x01" * 32)), {Rule.LISTING}),
    "another class": (served(replace(OFFER, hardware_class=b"\x01" * 32)), {Rule.MACHINE}),
    "a better machine": (served(machine=replace(MACHINE, cpu_count=64)), {Rule.MACHINE}),
    "expired": (served(replace(OFFER, expires_at=NOW)), {Rule.EXPIRY}),
    "dearer than listed": (served(replace(OFFER, price_per_hour=1_200_001)), {Rule.PRICE}),
    "a greedy fee": (served(replace(OFFER, fee_bps=501)), {Rule.FEE}),
    "another id": (served(digest="0x" + "11" * 32), {Rule.DIGEST}),
    "no signature": (served(signature="0x00"), {Rule.DIGEST}),
    "no document": (served(listing={}), {Rule.DIGEST}),
    "nonsense": ("nonsense", {Rule.DIGEST}),
}


@pytest.mark.parametrize("kind", FORGED)
def test_when_a_second_node_forges_an_offer_then_only_the_honest_one_is_left(kind):
    forged, rules = FORGED[kind]
    honest, liar = node(served(replace(OFFER, nonce=9))), node(forged, name="liar")
    found = find(honest, liar)
    assert [offer.nodes for offer in found.offers] == [(honest,)]
    (refused,) = found.refused
    assert refused.node == liar.url
    assert {finding.rule for finding in refused.findings} == rules
    assert "liar.test" in str(refused)


def test_when_the_machine_was_delisted_then_its_offers_are_refused():
    found = find(node(served()), facts=FakeFacts(replace(LISTING, active=False)))
    assert found.offers == ()
    assert {finding.rule for finding in found.refused[0].findings} == {Rule.LISTING}


def test_when_one_node_is_dead_then_the_others_answer():
    found = find(dead(), node(served()))
    assert len(found.offers) == 1
    assert found.silent == ("http://dead.test",)


def test_when_all_nodes_are_dead_then_it_is_said():
    with pytest.raises(MarketUnreachable, match=r"dead\.test, http://two\.test"):
        find(dead(), dead("two"))


def test_when_the_query_is_malformed_then_the_nodes_advice_is_passed_on():
    error = {"error": {"code": "query_invalid", "message": "no field x", "what_to_do": "dph<1"}}
    refusing = MarketNode(
        "http://one.test",
        QUICK,
        transport({"/v1/offers": lambda request: httpx.Response(422, json=error)}),
    )
    with pytest.raises(InputRejected, match="no field x") as caught:
        find(refusing)
    assert caught.value.what_to_do == "dph<1"


def test_when_a_limit_is_given_then_it_bounds_the_answer():
    many = [served(replace(OFFER, nonce=number)) for number in range(5)]
    assert len(markets(node(*many)).offers("", order=None, limit=3).offers) == 3


def test_when_no_node_is_named_then_it_is_refused():
    with pytest.raises(InputRejected, match="no marketplace node"):
        markets()


def test_when_a_jobs_node_is_not_named_any_more_then_the_first_one_is_asked():
    one, two = node(name="one"), node(name="two")
    group = markets(one, two)
    assert group.node("http://two.test") is two
    assert group.node("http://gone.test") is one


@pytest.mark.parametrize("text", [None, 1, "", "0x", "0x" + "zz" * 65, "00" * 65, "0x" + "0" * 128])
def test_when_a_signature_is_malformed_then_it_is_refused(text):
    with pytest.raises(ValueError, match=r"signature|hexadecimal"):
        signature_from_hex(text)
