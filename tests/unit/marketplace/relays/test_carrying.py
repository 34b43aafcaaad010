"""What is sent for an account, and what is collected; with a scripted sender."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client_sdk.chain.errors import CallReverted, NotConfirmed, TransactionReverted
from client_sdk.chain.journal import TxState
from client_sdk.protocol.terms import Terms
from contracts.bindings import Call, LeaseEscrow
from contracts.codec import decode, load_artifact
from marketplace.context import Market
from marketplace.outbox.kinds import RELAY_COLLECT, RELAY_OPEN, RELAY_STOP, RELAY_WITHDRAW
from marketplace.outbox.relay import Relay
from marketplace.outbox.service import Again, Done
from marketplace.relays.tasks import handlers
from marketplace.settings import RelayRates
from tests.support.market import ESCROW, RENTER, STRANGER, TOKEN, World, rent
from tests.unit.marketplace.relays.conftest import OTHER_TOKEN

HASH = bytes([7]) * 32
SIGNATURE = "0x" + "ab" * 32 + "cd" * 32 + "1b"


class Chain:
    """A chain that knows credits, by token and account, and what has accrued in every token."""

    escrow = LeaseEscrow(ESCROW)

    def __init__(self) -> None:
        self.credit: dict[tuple[str, str], int] = {}
        self.accrued = (0, 0)
        self.refusal: CallReverted | None = None
        self.tried: list[str] = []

    def view(self, view: Any) -> Any:
        function = view.name.partition(".")[2]
        if function == "accruedOf":
            return self.accrued
        item = load_artifact("LeaseEscrow").functions[function]
        token, account = decode(item.inputs, view.data[4:])
        return self.credit.get((token.lower(), account.lower()), 0)

    def simulate(self, call: Call, sender: str) -> bytes:
        self.tried.append(call.name)
        if self.refusal is not None:
            raise self.refusal
        return b""


class Sender:
    """Remembers what it was given."""

    address = STRANGER.address

    def __init__(self) -> None:
        self.sent: dict[str, Call] = {}
        self.ending: Exception | None = None

    def state(self, key: str) -> TxState | None:
        return TxState.SENT if key in self.sent else None

    def submit(self, call: Call, key: str) -> bytes:
        self.sent.setdefault(key, call)
        return HASH

    def wait(self, key: str, *, timeout_s: float) -> SimpleNamespace:
        if self.ending is not None:
            raise self.ending
        return SimpleNamespace(tx_hash=HASH)


class Node:
    """The handlers of one node."""

    def __init__(self, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chain, self.sender = Chain(), Sender()
        relay = Relay(market, self.chain, Path("relayer.key"))  # type: ignore[arg-type]
        monkeypatch.setattr(relay, "_open", lambda: self.sender)
        self.handlers = handlers(market, self.chain, relay)  # type: ignore[arg-type]

    def hold(self, account: Any, credit: int, token: str = TOKEN) -> None:
        self.chain.credit[token.lower(), account.address.lower()] = credit

    async def carry(self, kind: str, **payload: Any) -> Any:
        return await self.handlers[kind]({"account": RENTER.address.lower(), **payload})


@pytest.fixture
def node(world: World, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(world.market, monkeypatch)


def arguments(call: Call) -> tuple[Any, ...]:
    item = load_artifact("LeaseEscrow").functions[call.name.partition(".")[2]]
    return decode(item.inputs, call.data[4:])


async def opening(node: Node, world: World, **values: Any) -> Any:
    terms: Terms = (await rent(world, opened=False)).terms
    return terms, await node.carry(
        RELAY_OPEN,
        key="open",
        terms=terms.to_json(),
        terms_signature=SIGNATURE,
        relay_fee="500",
        valid_after=0,
        valid_before=1_900_000_000,
        signature=SIGNATURE,
        **values,
    )


async def test_when_an_opening_is_carried_then_it_is_what_was_signed(
    node: Node, world: World
) -> None:
    terms, outcome = await opening(node, world)
    assert outcome == Done({"transactions": ["0x" + HASH.hex()]})
    packed, signature, authorization = arguments(node.sender.sent["open"])
    assert tuple(packed) == terms.abi_tuple()
    assert signature == bytes.fromhex(SIGNATURE[2:])
    assert authorization == (500, 0, 1_900_000_000, 27, b"\xab" * 32, b"\xcd" * 32)
    assert node.chain.tried == ["LeaseEscrow.openWithAuthorization"]


async def test_when_the_contract_refuses_then_nothing_is_sent(node: Node, world: World) -> None:
    node.chain.refusal = CallReverted("open", "ERC3009InvalidSignature")
    _, outcome = await opening(node, world)
    assert outcome == Done({"refused": "ERC3009InvalidSignature"})
    assert node.sender.sent == {}


async def test_when_it_was_sent_before_a_crash_then_it_is_not_tried_again(
    node: Node, world: World
) -> None:
    node.sender.submit(node.chain.escrow.pause(), "open")
    node.chain.refusal = CallReverted("open", "LeaseExists")
    _, outcome = await opening(node, world)
    assert outcome == Done({"transactions": ["0x" + HASH.hex()]})
    assert node.chain.tried == []


async def test_when_it_is_on_its_way_then_it_is_looked_at_again(node: Node, world: World) -> None:
    node.sender.ending = NotConfirmed("open", HASH, 0)
    _, outcome = await opening(node, world)
    assert isinstance(outcome, Again)
    assert outcome.result == {"transactions": ["0x" + HASH.hex()]}


async def test_when_it_was_mined_and_refused_then_both_are_told(node: Node, world: World) -> None:
    node.sender.ending = TransactionReverted("open", "LeaseExists", {}, HASH)
    _, outcome = await opening(node, world)
    assert outcome == Done({"refused": "LeaseExists", "transactions": ["0x" + HASH.hex()]})


async def test_when_a_stop_is_carried_then_it_has_the_renters_signature(
    node: Node, world: World
) -> None:
    terms = (await rent(world)).terms
    await node.carry(RELAY_STOP, key="stop", terms=terms.to_json(), signature=SIGNATURE)
    call = node.sender.sent["stop"]
    assert call.name == "LeaseEscrow.stopFor"
    packed, signature = arguments(call)
    assert (tuple(packed), signature) == (terms.abi_tuple(), bytes.fromhex(SIGNATURE[2:]))


async def test_when_the_contract_refuses_what_costs_its_account_nothing_then_no_gas_is_spent(
    node: Node, world: World
) -> None:
    terms = (await rent(world)).terms.to_json()
    node.hold(RENTER, 10)
    node.chain.refusal = CallReverted("call", "LeaseNotActive")
    for kind, payload in (
        (RELAY_STOP, {"terms": terms, "signature": SIGNATURE}),
        (RELAY_WITHDRAW, {"token": TOKEN}),
    ):
        outcome = await node.carry(kind, key=kind, **payload)
        assert outcome == Done({"refused": "LeaseNotActive"})
    assert node.sender.sent == {}


async def test_when_credit_is_below_the_minimum_then_it_is_not_worth_the_gas(node: Node) -> None:
    node.hold(RENTER, 9)
    outcome = await node.carry(RELAY_WITHDRAW, key="w", token=TOKEN)
    assert (outcome, node.sender.sent) == (Done({"refused": "BelowMinWithdrawal"}), {})
    node.hold(RENTER, 10)
    outcome = await node.carry(RELAY_WITHDRAW, key="w", token=TOKEN)
    assert outcome == Done({"transactions": ["0x" + HASH.hex()]})
    assert node.sender.sent == {"w": node.chain.escrow.withdraw_to(TOKEN, RENTER.address)}


async def test_when_a_token_is_not_carried_any_more_then_what_was_queued_in_it_is_refused(
    node: Node,
) -> None:
    node.hold(RENTER, 10, token=OTHER_TOKEN)
    outcome = await node.carry(RELAY_WITHDRAW, key="w", token=OTHER_TOKEN)
    assert (outcome, node.sender.sent) == (Done({"refused": "BelowMinWithdrawal"}), {})


async def test_when_a_withdrawal_is_on_its_way_then_the_empty_credit_is_no_refusal(
    node: Node,
) -> None:
    node.sender.submit(node.chain.escrow.withdraw_to(TOKEN, RENTER.address), "w")
    outcome = await node.carry(RELAY_WITHDRAW, key="w", token=TOKEN)
    assert outcome == Done({"transactions": ["0x" + HASH.hex()]})


@pytest.mark.parametrize(
    ("accrued", "own", "sent"),
    [
        ((99, 0), 99, []),
        ((60, 40), 0, ["collect"]),
        ((0, 0), 100, ["withdraw"]),
        ((100, 0), 100, ["collect", "withdraw"]),
    ],
)
async def test_when_shares_are_worth_the_gas_then_they_are_collected(
    node: Node, accrued: tuple[int, int], own: int, sent: list[str]
) -> None:
    calls = {
        "collect": node.chain.escrow.collect(TOKEN),
        "withdraw": node.chain.escrow.withdraw_to(TOKEN, STRANGER.address),
    }
    node.chain.accrued = accrued
    node.hold(STRANGER, own)
    await node.carry(RELAY_COLLECT, slot=7)
    assert list(node.sender.sent.values()) == [calls[name] for name in sent]
    node.chain.accrued, node.chain.credit = (0, 0), {}
    outcome = await node.carry(RELAY_COLLECT, slot=7)
    assert isinstance(outcome, Done)
    assert len(outcome.result["transactions"]) == len(sent), "those of this slot, and no others"


@pytest.mark.parametrize(
    ("rates", "collected"),
    [
        (None, [TOKEN]),
        (RelayRates(open_fee=1), [TOKEN]),
        (RelayRates(open_fee=1, min_collect=100), [TOKEN, OTHER_TOKEN]),
    ],
    ids=["not carried", "never collected", "collected"],
)
async def test_when_there_are_several_tokens_then_shares_are_collected_in_each_that_says_so(
    with_another_token: Callable[[RelayRates | None], Market],
    monkeypatch: pytest.MonkeyPatch,
    rates: RelayRates | None,
    collected: list[str],
) -> None:
    node = Node(with_another_token(rates), monkeypatch)
    node.chain.accrued = (100, 0)
    await node.carry(RELAY_COLLECT, slot=7)
    wanted = [node.chain.escrow.collect(token) for token in collected]
    assert list(node.sender.sent.values()) == wanted
