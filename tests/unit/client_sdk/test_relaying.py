"""Calls carried by marketplace nodes, with scripted nodes and a scripted chain."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from client_sdk.carrying import CONFIRMATIONS
from client_sdk.chain.errors import CallReverted, ChainUnreachable
from client_sdk.chain.signing import recover, sign, split
from client_sdk.errors import ChainFailed, NoRelay, RelayFailed
from client_sdk.ordering import GAS_RESERVE_WEI, Agreed
from client_sdk.policy import Policy
from client_sdk.protocol.addresses import address_bytes
from client_sdk.protocol.authorizations import ReceiveWithAuthorization
from client_sdk.protocol.consents import Stop
from client_sdk.protocol.eip712 import Domain
from client_sdk.relaying import AUTHORIZATION_S, CALL_TIMEOUT_S, Carrier, Relays, Way
from client_sdk.transports import MarketNode, Timeouts
from contracts.bindings import Call, LeaseEscrow, LeaseStatus
from contracts.events import Opened, Stopped, Withdrawn
from tests.support.sdk import DOMAIN, ESCROW, NOW, OPERATOR, RENTER, STRANGER, TOKEN
from tests.unit.client_sdk.test_ordering import TERMS

LEASE_ID = TERMS.lease_id(DOMAIN)
AGREED = Agreed(
    terms=TERMS, signature=sign(TERMS, DOMAIN, OPERATOR), lease_id=LEASE_ID, step_seconds=None
)
TOKEN_DOMAIN = Domain(31337, TOKEN, name="USD Coin", version="2")
FEE = 700


class Deployment:
    chain_id = 31337
    start_block = 1


@dataclass
class Chain:
    """A chain that grows by a block a second; nodes put events into it."""

    coins: int = 0
    log: list[Any] = field(default_factory=list)
    number: int = 100
    silent: int = 0
    status: LeaseStatus = LeaseStatus.NONE
    stopped_at: int = 0
    asked: list[int] = field(default_factory=list)
    tried: list[Call] = field(default_factory=list)
    refusal: str | None = None

    domain = DOMAIN
    escrow = LeaseEscrow(ESCROW)
    deployment = Deployment()

    def balance(self, address):
        return self.coins

    def now(self):
        return NOW

    def head(self):
        if self.silent:
            self.silent -= 1
            raise ChainUnreachable("http://c.test", "restarting")
        return self.number

    def lease(self, lease_id):
        assert lease_id == LEASE_ID
        return self

    def view(self, view):
        names = {"name": TOKEN_DOMAIN.name, "DOMAIN_SEPARATOR": TOKEN_DOMAIN.separator}
        return names[view.name.partition(".")[2]]

    def simulate(self, call, sender):
        assert sender == RENTER.address
        self.tried.append(call)
        if self.refusal is not None:
            raise CallReverted(call.name, self.refusal)

    def events(self, first, last, *, topic):
        self.asked.append(first)
        return [e for e in self.log if first <= e.block_number <= last and topic_of(e) == topic]

    def put(self, kind, **values):
        place = {
            "block_number": self.number + 1,
            "block_hash": bytes(32),
            "tx_hash": bytes([len(self.log) + 1]) * 32,
            "log_index": 0,
        }
        self.log.append(kind(**values, **place))


def topic_of(event):
    """First indexed argument, as the chain files it."""
    return (
        event.lease_id
        if hasattr(event, "lease_id")
        else address_bytes(event.token).rjust(32, b"\0")
    )


class Node:
    """A node whose answers about a call are scripted."""

    def __init__(self, chain, name="a", *, fee=FEE, does=None, states=("queued",), status=202):
        self.chain, self.does, self.states = chain, does, list(states)
        self.rates = [{"token": TOKEN, "open_fee": str(fee), "min_withdrawal": "1"}]
        self.status, self.asked = status, []
        self.node = MarketNode(
            f"http://{name}.test",
            Timeouts(patience_s=0),
            httpx.MockTransport(self.handle),
            sleep=lambda seconds: None,
            clock=iter(range(1_000)).__next__,
        )

    def handle(self, request):
        if request.url.path == "/v1/market":
            return httpx.Response(200, json={"relay": self.rates})
        if request.method == "POST":
            self.asked.append((request.url.path, json.loads(request.content)))
            if self.does is not None:
                self.does()
            error = {"error": {"code": "relay_refused", "message": "no"}}
            body = error if self.status >= 400 else {"request_id": "evt_1", "state": "queued"}
            return httpx.Response(self.status, json=body)
        assert request.url.path == "/v1/relays/evt_1"
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "away":
            return httpx.Response(503)
        return httpx.Response(200, json={"state": state, "refusal": "LeaseExists"})


class Clock:
    """Each sleep of half a second is half a block."""

    def __init__(self, chain):
        self.time, self.chain = 0.0, chain

    def __call__(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        self.chain.number = 100 + int(self.time)


def relays(chain, *nodes, policy=None, relay=None):
    clock = Clock(chain)
    made = Relays(
        account=RENTER,
        chain=chain,
        nodes=[node.node for node in nodes],
        policy=policy or Policy(),
        relay=relay,
        sleep=clock.sleep,
        clock=clock,
    )
    made.clock = clock
    return made


def opens(chain):
    values = {"lease_id": LEASE_ID, "renter": TERMS.renter, "provider": TERMS.provider}
    return lambda: chain.put(Opened, **values, terms=())


def way(*nodes, fee=FEE):
    return Way(tuple(Carrier(node.node, fee) for node in nodes))


# Which way, and for how much


@pytest.mark.parametrize(
    ("coins", "relay", "wanted"),
    [
        (0, None, True),
        (GAS_RESERVE_WEI - 1, None, True),
        (GAS_RESERVE_WEI, None, False),
        (0, False, False),
        (10**18, True, True),
    ],
)
def test_when_the_wallet_cannot_pay_the_chain_then_nodes_carry_its_calls(coins, relay, wanted):
    chain = Chain(coins=coins)
    made = relays(chain, Node(chain), relay=relay)
    assert made.wanted is wanted
    assert made.way(TOKEN).relayed is wanted


def test_when_a_way_is_told_then_it_says_what_it_costs():
    chain = Chain()
    cheap, dear = Node(chain, fee=700), Node(chain, "b", fee=900)
    found = relays(chain, cheap, dear).way(TOKEN)
    assert [carrier.open_fee for carrier in found.carriers] == [700, 900]
    assert "relay fee of at most 0.0009 tUSD" in found.text(6, "tUSD")
    assert "pays the chain's fees" in Way().text(6, "tUSD")
    assert Way().fee == 0


def test_when_every_fee_is_above_the_policy_then_nothing_is_signed():
    chain = Chain()
    node = Node(chain, fee=1_001)
    with pytest.raises(NoRelay, match="asks a relay fee of 1001 units; allowed are 1000"):
        relays(chain, node, policy=Policy(max_relay_fee=1_000)).way(TOKEN)
    assert node.asked == []


def test_when_one_fee_is_above_the_policy_then_the_other_node_carries():
    chain = Chain()
    dear, fair = Node(chain, fee=1_001), Node(chain, "b", fee=1_000)
    found = relays(chain, dear, fair, policy=Policy(max_relay_fee=1_000)).way(TOKEN)
    assert found == way(fair, fee=1_000)


@pytest.mark.parametrize(
    "rates",
    [[], [{"token": ESCROW, "open_fee": "1"}], [{}], [{"token": TOKEN, "open_fee": "-1"}],
     [{"token": TOKEN, "open_fee": "x"}], [{"token": TOKEN, "open_fee": str(1 << 96)}], 3],
)  # fmt: skip
def test_when_a_node_names_no_usable_rate_then_it_carries_nothing(rates):
    chain = Chain()
    node = Node(chain)
    node.rates = rates
    with pytest.raises(NoRelay):
        relays(chain, node).way(TOKEN)


# Opening


def test_when_a_node_opens_a_lease_then_the_chain_says_so():
    chain = Chain()
    node = Node(chain, does=opens(chain))
    made = relays(chain, node)
    assert made.open(AGREED, way(node)) == b"\x01" * 32
    assert chain.number == chain.log[0].block_number + CONFIRMATIONS, "under enough blocks"


def test_when_a_lease_is_opened_then_what_is_signed_is_good_for_it_alone():
    chain = Chain()
    node = Node(chain, does=opens(chain))
    relays(chain, node).open(AGREED, way(node))
    ((path, body),) = node.asked
    assert path == "/v1/relays/openings"
    assert body["terms"] == TERMS.to_json()
    given = body["authorization"]
    signed = ReceiveWithAuthorization(
        from_=RENTER.address,
        to=ESCROW,
        value=TERMS.cost + FEE,
        valid_after=0,
        valid_before=TERMS.open_by + 1,
        nonce=LEASE_ID,
    )
    signature = bytes.fromhex(given.pop("signature")[2:])
    assert recover(signed, TOKEN_DOMAIN, signature) == RENTER.address
    assert given == {"relay_fee": str(FEE), "valid_after": 0, "valid_before": TERMS.open_by + 1}
    assert body["terms_signature"] == "0x" + AGREED.signature.hex()
    authorization = (FEE, 0, TERMS.open_by + 1, *split(signature))
    call = chain.escrow.open_with_authorization(TERMS.abi_tuple(), AGREED.signature, authorization)
    assert chain.tried == [call], "the contract is asked about what the node gets"


def test_when_terms_stay_open_for_long_then_the_authorization_does_not():
    chain = Chain()
    terms = replace(TERMS, open_by=NOW + 3_000)
    node = Node(chain, states=["refused"])
    with pytest.raises(RelayFailed):
        relays(chain, node).open(replace(AGREED, terms=terms), way(node))
    assert node.asked[0][1]["authorization"]["valid_before"] == NOW + AUTHORIZATION_S


def test_when_an_authorization_outlives_other_calls_then_it_is_waited_until_it_is_void():
    chain = Chain()
    terms = replace(TERMS, open_by=NOW + 3_000)
    node = Node(chain)
    made = relays(chain, node)
    with pytest.raises(RelayFailed, match="did not confirm it in time"):
        made.open(replace(AGREED, terms=terms), way(node))
    assert made.clock.time == AUTHORIZATION_S > CALL_TIMEOUT_S


def test_when_nodes_ask_different_fees_then_each_gets_an_authorization_over_its_own():
    chain = Chain()
    cheap, dear = Node(chain, states=["refused"]), Node(chain, "b", does=opens(chain))
    carriers = Carrier(cheap.node, 700), Carrier(dear.node, 900)
    relays(chain, cheap, dear).open(AGREED, Way(carriers))
    for node, fee in ((cheap, 700), (dear, 900)):
        given = node.asked[0][1]["authorization"]
        signed = ReceiveWithAuthorization(
            from_=RENTER.address,
            to=ESCROW,
            value=TERMS.cost + fee,
            valid_after=0,
            valid_before=given["valid_before"],
            nonce=LEASE_ID,
        )
        signature = bytes.fromhex(given["signature"][2:])
        assert recover(signed, TOKEN_DOMAIN, signature) == RENTER.address
        assert given["relay_fee"] == str(fee)


def test_when_the_contract_would_refuse_an_opening_then_no_node_gets_the_signature():
    chain = Chain(refusal="ListingInactive")
    node = Node(chain, does=opens(chain))
    with pytest.raises(ChainFailed, match="ListingInactive") as caught:
        relays(chain, node).open(AGREED, way(node))
    assert "Nothing has been spent" in caught.value.what_to_do
    assert (node.asked, len(chain.tried)) == ([], 1)


@pytest.mark.parametrize(
    "first",
    [
        {"status": 400},
        {"status": 503},
        {"states": ["queued", "refused"]},
        {"states": ["sent", "failed"]},
        {"states": ["queued"]},
        {"states": ["confirmed"]},
    ],
    ids=["refuses", "dead", "the contract refuses", "gives up", "does nothing", "lies"],
)
def test_when_a_node_does_not_do_it_then_the_next_is_asked(first):
    chain = Chain()
    bad, good = Node(chain, **first), Node(chain, "b", does=opens(chain))
    assert relays(chain, bad, good).open(AGREED, way(bad, good)) == b"\x01" * 32
    assert bad.asked
    assert len(good.asked) == 1


def test_when_a_node_only_says_that_it_is_done_then_nothing_is_believed():
    chain = Chain()
    node = Node(chain, states=["confirmed"])
    with pytest.raises(RelayFailed, match="says it is done, the chain does not") as caught:
        relays(chain, node).open(AGREED, way(node))
    assert "Nothing has been spent" in caught.value.what_to_do


def test_when_nodes_stay_silent_then_it_is_waited_until_nothing_can_be_opened_any_more():
    chain = Chain()
    nodes = Node(chain), Node(chain, "b")
    made = relays(chain, *nodes)
    with pytest.raises(RelayFailed, match=r"a\.test did not confirm .*b\.test did not confirm"):
        made.open(AGREED, way(*nodes))
    assert made.clock.time >= TERMS.open_by + 1 - NOW


def test_when_the_first_node_is_only_late_then_the_lease_is_opened_once():
    chain = Chain()
    late = Node(chain)
    other = Node(chain, "b", does=opens(chain), states=["refused"])
    assert relays(chain, late, other).open(AGREED, way(late, other)) == b"\x01" * 32


def test_when_the_lease_is_open_already_then_nobody_is_asked():
    chain = Chain(status=LeaseStatus.ACTIVE)
    opens(chain)()
    node = Node(chain)
    assert relays(chain, node).open(AGREED, way(node)) == b"\x01" * 32
    assert node.asked == []
    assert chain.asked[0] == 1, "it may have been opened long ago"


def test_when_the_chain_restarts_meanwhile_then_it_is_asked_again():
    chain = Chain()

    def restart():
        opens(chain)()
        chain.silent = 3

    node = Node(chain, does=restart)
    assert relays(chain, node).open(AGREED, way(node)) == b"\x01" * 32


def test_when_a_reorganisation_takes_the_opening_back_then_the_node_is_looked_at_again():
    chain = Chain()
    node = Node(chain, does=opens(chain), states=["sent", "refused"])
    made = relays(chain, node)
    sleep = made.clock.sleep

    def lose(seconds):
        sleep(seconds)
        chain.log.clear()

    made._carrying._sleep = lose
    with pytest.raises(RelayFailed, match="refused"):
        made.open(AGREED, way(node))


@pytest.mark.parametrize("what", ["opening", "stop"])
def test_when_a_reorganisation_moves_a_call_to_an_earlier_block_then_it_is_still_found(what):
    chain = Chain()
    kinds = {
        "opening": (Opened, {"renter": TERMS.renter, "provider": TERMS.provider, "terms": ()}),
        "stop": (Stopped, {"stopped_at": 1}),
    }

    def does():
        kind, values = kinds[what]
        chain.put(kind, lease_id=LEASE_ID, **values)
        chain.log[0] = replace(chain.log[0], block_number=chain.number - 60)

    node = Node(chain, does=does)
    made = relays(chain, node)
    found = made.open(AGREED, way(node)) if what == "opening" else made.stop(TERMS, first=node.node)
    assert found == b"\x01" * 32


@pytest.mark.parametrize(
    ("block_s", "state"),
    [(1, "away"), (9, "refused"), (50, "queued")],
    ids=["the node's word", "the node's word against the chain's", "the wait for its block"],
)
def test_when_a_call_is_in_a_block_then_only_more_blocks_are_waited_for(block_s, state):
    chain = Chain()
    node = Node(chain, does=lambda: chain.put(Stopped, lease_id=LEASE_ID, stopped_at=1))
    node.states = [state]
    made = relays(chain, node)

    def sleep(seconds):
        made.clock.time += seconds
        chain.number = 100 + int(made.clock.time) // block_s

    made._carrying._sleep = sleep
    assert made.stop(TERMS, first=node.node) == b"\x01" * 32
    assert made.clock.time == (1 + CONFIRMATIONS) * block_s


# Stopping and withdrawing


def test_when_a_lease_is_stopped_then_the_node_of_the_job_is_asked_first():
    chain = Chain()
    other = Node(chain, "b")
    node = Node(chain, does=lambda: chain.put(Stopped, lease_id=LEASE_ID, stopped_at=1))
    assert relays(chain, other, node).stop(TERMS, first=node.node) == b"\x01" * 32
    ((path, body),) = node.asked
    assert (path, other.asked) == ("/v1/relays/stops", [])
    signature = bytes.fromhex(body["signature"][2:])
    assert recover(Stop(lease_id=LEASE_ID), DOMAIN, signature) == RENTER.address


def test_when_the_contract_would_refuse_a_stop_then_no_node_is_asked():
    chain = Chain(refusal="AfterCommitDeadline")
    node = Node(chain)
    with pytest.raises(CallReverted, match="AfterCommitDeadline"):
        relays(chain, node).stop(TERMS, first=node.node)
    call = chain.escrow.stop_for(TERMS.abi_tuple(), sign(Stop(lease_id=LEASE_ID), DOMAIN, RENTER))
    assert (node.asked, chain.tried) == ([], [call])


def test_when_nobody_stops_it_then_it_is_said_in_time():
    chain = Chain()
    nodes = Node(chain), Node(chain, "b", status=404)
    made = relays(chain, *nodes)
    with pytest.raises(RelayFailed, match="did not confirm it"):
        made.stop(TERMS, first=nodes[0].node)
    assert made.clock.time <= CALL_TIMEOUT_S
    assert [len(node.asked) for node in nodes] == [1, 1], "each once"


def test_when_the_lease_was_stopped_before_then_nobody_is_asked():
    chain = Chain(stopped_at=5)
    chain.put(Stopped, lease_id=LEASE_ID, stopped_at=5)
    node = Node(chain)
    assert relays(chain, node).stop(TERMS, first=node.node) == b"\x01" * 32
    assert node.asked == []
    assert chain.asked[0] == 1, "it may have been stopped long ago"


def test_when_the_chain_stands_still_then_it_is_not_waited_for_ever():
    chain = Chain(stopped_at=5)
    chain.put(Stopped, lease_id=LEASE_ID, stopped_at=5)
    made = relays(chain, Node(chain))
    made._carrying._sleep = lambda seconds: setattr(made.clock, "time", 1e9)
    with pytest.raises(RelayFailed, match="the chain did not confirm it in time"):
        made.stop(TERMS, first=made._nodes[0])


def test_when_credit_is_withdrawn_then_only_the_own_withdrawal_counts():
    chain = Chain()

    def pay(account, amount, token=TOKEN):
        chain.put(Withdrawn, token=token, account=account, to=account, amount=amount)

    pay(RENTER.address, 4)
    chain.number += 1  # so that it is one of before

    def pay_all():
        pay(STRANGER.address, 5)
        pay(RENTER.address, 6, token=ESCROW)
        pay(RENTER.address, 7)

    node = Node(chain, does=pay_all)
    assert relays(chain, node).withdraw(TOKEN, "k") == 7
    assert node.asked == [("/v1/relays/withdrawals", {"token": TOKEN, "key": "k"})]


def test_when_the_credit_is_not_worth_the_gas_then_it_stays():
    chain = Chain()
    node = Node(chain, states=["refused"])
    with pytest.raises(RelayFailed, match="refused") as caught:
        relays(chain, node).withdraw(TOKEN, "k")
    assert "safe in the escrow" in caught.value.what_to_do
