"""From an order to a funded lease, with a scripted node and a scripted chain."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from client_sdk.chain.errors import CallReverted
from client_sdk.chain.signing import is_signed_by, sign
from client_sdk.errors import (
    ChainFailed,
    InsufficientFunds,
    MarketMisbehaved,
    OrderDeclined,
    OrderTimedOut,
    TermsRejected,
)
from client_sdk.markets import VerifiedOffer
from client_sdk.ordering import GAS_RESERVE_WEI, Agreed, Demand, Ordering
from client_sdk.policy import Policy, Rule
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification
from client_sdk.transports import MarketNode, Timeouts
from contracts.bindings import Call, LeaseEscrow, LeaseStatus, Source, Token
from tests.support.sdk import (
    ARBITER,
    DOMAIN,
    ESCROW,
    LISTING,
    LISTING_ID,
    MACHINE,
    MARKET_FACTS,
    NOW,
    OFFER,
    OPERATOR,
    PROVIDER,
    RENTER,
    STRANGER,
    TOKEN,
    FakeFacts,
    transport,
)

JOB_HASH = b"\x0a" * 32
FOUND = VerifiedOffer(
    offer_id=OFFER.offer_id(DOMAIN),
    offer=OFFER,
    signature=b"",
    machine=MACHINE,
    listing=LISTING,
    nodes=(),
)
DEMAND = Demand(
    job_hash=JOB_HASH,
    token=TOKEN,
    decimals=6,
    symbol="tUSD",
    budget=1_000_000,
    max_duration_s=1800,
    segments=30,
    verification=Verification.REPLAY,
    audit={"mode": "market", "auditors": []},
)
TERMS = Terms(
    renter=RENTER.address,
    provider=PROVIDER,
    operator=OPERATOR.address,
    token=TOKEN,
    arbiter=ARBITER,
    listing_id=LISTING_ID,
    machine_hash=MACHINE.machine_hash(),
    job_hash=JOB_HASH,
    price_per_segment=1_000,
    bond=30_000,
    segments=30,
    fee_bps=200,
    audit_bps=300,
    window=20,
    commit_grace=15,
    dispute_timeout=400,
    open_by=NOW + 60,
    first_commit_within=600,
    max_duration=1800,
    min_segment_seconds=1,
    nonce=3,
)


class Inputs:
    """Sealed inputs that were uploaded."""

    def addresses(self):
        return {"manifest": "aa", "bundle": "bb", "data": {}}

    def key_for(self, recipient):
        assert recipient == MACHINE.encryption_key
        return b"wrapped"


class Receipt:
    tx_hash = b"\x0b" * 32


class Sender:
    """Records what is sent."""

    def __init__(self, refuse: bool = False) -> None:
        self.sent: list[tuple[Call, str]] = []
        self.refuse = refuse

    def send(self, call, key):
        if self.refuse:
            raise CallReverted(call.name, "ListingInactive", {})
        self.sent.append((call, key))
        return Receipt()


class Chain:
    """A chain with one renter's balances."""

    domain = DOMAIN
    escrow = LeaseEscrow(ESCROW)

    def __init__(
        self, tokens=10**9, coins=10**18, allowance=0, status=LeaseStatus.NONE, credit=0
    ) -> None:
        self.tokens, self.coins, self.allowance, self.status = tokens, coins, allowance, status
        self.credit = credit

    def token_balance(self, token, address):
        return self.tokens

    def balance(self, address):
        return self.coins

    def view(self, view):
        answers = {
            self.escrow.credit_of(TOKEN, RENTER.address).data: self.credit,
            Token(TOKEN).allowance(RENTER.address, ESCROW).data: self.allowance,
        }
        return answers[view.data]

    def lease(self, lease_id):
        return self


class Node:
    """A node with one order, whose states are scripted."""

    def __init__(self, *views) -> None:
        self.views = list(views)
        self.posted = None
        self.withdrawn = False
        routes = {
            "POST /v1/orders": self.post,
            "GET /v1/orders/ord_1": self.view,
            "DELETE /v1/orders/ord_1": self.withdraw,
        }
        self.node = MarketNode("http://m.test", Timeouts(patience_s=0), transport(routes))

    def post(self, request):
        self.posted = json.loads(request.content)
        return httpx.Response(201, json={"order_id": "ord_1", "job_id": "job_1"})

    def view(self, request):
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        return httpx.Response(200, json=view)

    def withdraw(self, request):
        self.withdrawn = True
        return httpx.Response(204)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def ordering(chain=None, sender=None, facts=None) -> Ordering:
    clock = Clock()
    return Ordering(
        account=RENTER,
        chain=chain or Chain(),
        facts=facts or FakeFacts(),
        sender=sender or Sender(),
        market=MARKET_FACTS,
        policy=Policy(),
        sleep=clock.sleep,
        clock=clock,
    )


def signed(terms: Terms = TERMS, key=OPERATOR):
    return {
        "state": "terms_signed",
        "terms": terms.to_json(),
        "terms_signature": to_hex(sign(terms, DOMAIN, key)),
        "probe": {"step_seconds": 0.02},
    }


def agree(server: Node, **options):
    maker = ordering(**options)
    placed = maker.place(server.node, FOUND, DEMAND, Inputs())
    return maker.await_terms(placed, FOUND, Verification.REPLAY)


@contextmanager
def refused(server: Node, *rules: Rule):
    with pytest.raises(TermsRejected) as caught:
        yield
    assert {finding.rule for finding in caught.value.findings} == set(rules)
    assert server.withdrawn


def test_when_the_provider_signs_good_terms_then_they_are_agreed():
    server = Node({"state": "pending"}, {"state": "claimed"}, signed())
    agreed = agree(server)
    assert agreed.terms == TERMS
    assert agreed.lease_id == TERMS.lease_id(DOMAIN)
    assert agreed.step_seconds == 0.02
    assert not server.withdrawn


def test_when_an_order_is_placed_then_it_is_signed_and_bound_to_the_offer():
    server = Node(signed())
    ordering().place(server.node, FOUND, DEMAND, Inputs())
    order = Order.from_json(server.posted["order"])
    assert is_signed_by(
        order, DOMAIN, bytes.fromhex(server.posted["signature"][2:]), RENTER.address
    )
    assert (order.offer, order.listing_id) == (FOUND.offer_id, LISTING_ID)
    assert (order.budget, order.segments) == (1_000_000, 30)
    assert order.max_price_per_hour == OFFER.price_per_hour
    assert server.posted["audit"] == {"mode": "market", "auditors": []}


def test_when_a_least_bond_is_wanted_then_the_order_says_so():
    server = Node(signed())
    ordering().place(server.node, FOUND, replace(DEMAND, min_bond=20_000), Inputs())
    assert Order.from_json(server.posted["order"]).min_bond == 20_000


def test_when_the_terms_were_tampered_with_then_they_are_refused():
    server = Node(signed() | {"terms": replace(TERMS, price_per_segment=999).to_json()})
    with refused(server, Rule.SIGNATURE):
        agree(server)


def test_when_the_terms_are_dearer_than_the_budget_then_they_are_refused():
    long = {"window": 600, "dispute_timeout": 15_000, "min_segment_seconds": 100}
    dear = replace(TERMS, price_per_segment=40_000, bond=1_200_000, **long)
    server = Node(signed(dear))
    with refused(server, Rule.PRICE):
        agree(server)


def test_when_the_terms_have_expired_then_they_are_refused():
    server = Node(signed(replace(TERMS, open_by=NOW - 1)))
    with refused(server, Rule.EXPIRY):
        agree(server)


def test_when_the_machine_was_delisted_meanwhile_then_the_terms_are_refused():
    server = Node(signed())
    with refused(server, Rule.LISTING):
        agree(server, facts=FakeFacts(replace(LISTING, active=False)))


def test_when_the_terms_name_another_arbiter_then_they_are_refused():
    server = Node(signed(replace(TERMS, arbiter=STRANGER.address)))
    with refused(server, Rule.ARBITER):
        agree(server)


def test_when_the_provider_declines_then_its_reason_is_passed_on():
    server = Node(
        {"state": "declined", "decline": {"code": "bad_inputs", "reason": "hash differs"}}
    )
    with pytest.raises(OrderDeclined, match=r"bad_inputs.*hash differs"):
        agree(server)


@pytest.mark.parametrize("state", ["expired", "withdrawn", "nonsense"])
def test_when_the_order_ends_without_terms_then_it_is_said(state):
    with pytest.raises(OrderTimedOut, match=state):
        agree(Node({"state": state}))


def test_when_no_worker_answers_then_the_order_is_withdrawn():
    server = Node({"state": "pending"})
    with pytest.raises(OrderTimedOut, match="no terms came"):
        agree(server)
    assert server.withdrawn


@pytest.mark.parametrize("change", [{"terms": None}, {"terms_signature": "0x"}, {"terms": {}}])
def test_when_the_terms_are_malformed_then_the_node_misbehaves(change):
    with pytest.raises(MarketMisbehaved, match="malformed terms"):
        agree(Node(signed() | change))


def funded(chain: Chain):
    ordering(chain=chain).check_funds(TOKEN, 1_500_000, decimals=6, symbol="tUSD")


def test_when_the_wallet_holds_enough_then_nothing_is_said():
    funded(Chain())


def test_when_the_wallet_holds_too_little_then_the_amounts_are_said():
    with pytest.raises(InsufficientFunds, match=r"holds 1\.00 tUSD; this lease may take 1\.50"):
        funded(Chain(tokens=1_000_000))


def test_when_credit_pays_for_what_the_wallet_lacks_then_nothing_is_said():
    funded(Chain(tokens=1_000_000, credit=500_000))
    with pytest.raises(InsufficientFunds, match=r"holds 1\.49 tUSD"):
        funded(Chain(tokens=1_000_000, credit=490_000))


def test_when_a_node_opens_the_lease_then_credit_does_not_count():
    chain = Chain(tokens=1_000_000, credit=500_000)
    with pytest.raises(InsufficientFunds, match=r"holds 1\.00 tUSD"):
        ordering(chain=chain).check_funds(TOKEN, 1_500_000, decimals=6, symbol="tUSD", relayed=True)


def test_when_the_wallet_cannot_pay_fees_then_it_is_said():
    with pytest.raises(InsufficientFunds, match="cannot pay the chain's fees"):
        funded(Chain(coins=GAS_RESERVE_WEI - 1))


AGREED = Agreed(terms=TERMS, signature=b"", lease_id=b"\x0c" * 32, step_seconds=None)
LEASE = AGREED.lease_id.hex()


def test_when_a_lease_is_opened_then_the_exact_cost_is_approved_first():
    sender = Sender()
    assert ordering(sender=sender).open(AGREED) == Receipt.tx_hash
    opening = Chain.escrow.open_from(TERMS.abi_tuple(), AGREED.signature, Source.CREDIT, 0, b"")
    assert sender.sent == [
        (Token(TOKEN).approve(ESCROW, TERMS.cost), f"approve:{LEASE}"),
        (opening, f"open:{LEASE}"),
    ]


@pytest.mark.parametrize(
    "chain", [Chain(allowance=30_000), Chain(status=LeaseStatus.ACTIVE)], ids=["approved", "open"]
)
def test_when_a_crash_came_after_a_step_then_it_is_not_repeated(chain):
    sender = Sender()
    ordering(chain=chain, sender=sender).open(AGREED)
    assert [call.name for call, _ in sender.sent] == ["LeaseEscrow.openFrom"]


def test_when_the_contract_refuses_then_nothing_was_spent():
    with pytest.raises(ChainFailed, match="ListingInactive") as caught:
        ordering(chain=Chain(allowance=30_000), sender=Sender(refuse=True)).open(AGREED)
    assert "Nothing has been spent" in caught.value.what_to_do
