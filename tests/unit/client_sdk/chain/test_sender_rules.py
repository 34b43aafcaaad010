"""The sender's rules one by one: which nonce, when to sign again, and when not to."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from client_sdk.chain.errors import InsufficientFunds, KeyConflict, RpcRefused, TransactionReverted
from client_sdk.chain.journal import TxState
from client_sdk.chain.reconcile import GAP_BLOCKS, TAKEN_BLOCKS
from contracts.bindings import Call
from tests.unit.client_sdk.chain.test_sender import TARGET, call, revert_data

SEND = "eth_sendRawTransaction"


class Killed(BaseException):
    """The process ends here."""


def waiting(node: Any) -> list[tuple[int, bytes]]:
    """Nonce and data of what the node has waiting."""
    return sorted((tx.nonce, tx.data) for tx in node.pool.values())


def test_when_the_process_is_killed_after_a_broadcast_then_the_call_is_known(
    node: Any, new_sender: Any
) -> None:
    broadcast = node._eth_sendRawTransaction

    def broadcast_and_die(raw: str) -> None:
        broadcast(raw)
        raise Killed

    node.overrides[SEND] = broadcast_and_die
    with pytest.raises(Killed):
        new_sender().submit(call("a"), "a")
    del node.overrides[SEND]
    new_sender().send(call("a"), "a")
    assert node.executed(b"a") == 1


def test_when_the_node_takes_nothing_then_the_journal_counts_the_nonces(
    node: Any, new_sender: Any
) -> None:
    node.overrides[SEND] = RpcRefused(SEND, -1, "pool full")
    sender = new_sender()
    sender.submit(call("a"), "a")
    sender.submit(call("b"), "b")
    for _ in range(GAP_BLOCKS + 2):
        node.mine()
        sender.maintain()
    del node.overrides[SEND]
    sender.maintain()
    assert waiting(node) == [(0, b"a"), (1, b"b")]


def test_when_a_key_means_the_same_call_with_other_money_then_it_is_refused(
    new_sender: Any,
) -> None:
    sender = new_sender()
    sender.submit(Call(TARGET, b"a", value=1, name="Test.a"), "a")
    with pytest.raises(KeyConflict):
        sender.submit(Call(TARGET, b"a", value=2, name="Test.a"), "a")


def test_when_the_balance_is_just_enough_then_it_is_sent(node: Any, new_sender: Any) -> None:
    # Gas: 50 000, half of it and 100 000; fees: twice the base fee of 1 gwei and the tip of 1.
    needed = 175_000 * 3 * 10**9 + 5
    node.balance = needed - 1
    with pytest.raises(InsufficientFunds):
        new_sender().submit(Call(TARGET, b"a", value=5, name="Test.a"), "a")
    node.balance = needed
    new_sender().submit(Call(TARGET, b"a", value=5, name="Test.a"), "a")
    assert [tx.value for tx in node.pool.values()] == [5]


def test_when_blocks_lie_on_top_then_as_many_as_wanted_make_it_final(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender(confirmations=2)
    sender.submit(call("a"), "a")
    states = []
    for _ in range(3):
        node.mine()
        sender.maintain()
        states.append(sender.state("a"))
    assert states == [TxState.MINED, TxState.MINED, TxState.CONFIRMED]


def test_when_waiting_for_confirmations_then_not_for_one_more(node: Any, new_sender: Any) -> None:
    receipt = new_sender().send(call("a"), "a", confirmations=3)
    assert node.blocks[-1].number - receipt.block_number == 3


def test_when_a_call_is_mined_again_and_refused_then_the_refusal_is_told(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    sent = dict(node.pool)
    sender.wait("a")
    node.lose(10)
    node.refuse[b"a"] = revert_data("LeaseNotActive")
    node.pool = sent
    node.mine(5)
    with pytest.raises(TransactionReverted, match="is refused by the contract"):
        sender.wait("a")


def test_when_a_call_is_mined_then_cancelling_sends_nothing(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    sender.send(call("a"), "a", confirmations=0)
    node.requests.clear()
    sender.cancel("a")
    assert SEND not in node.requests


def test_when_a_call_is_cancelled_twice_then_one_no_op_is_sent(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    node.requests.clear()
    sender.cancel("a")
    sender.cancel("a")
    assert node.requests.count(SEND) == 1


def test_when_a_call_is_young_then_its_fees_are_left_alone(node: Any, new_sender: Any) -> None:
    sender = new_sender(bump_after_s=3_600.0)
    first = sender.submit(call("a"), "a")
    node.base_fee *= 2
    sender.maintain()
    assert list(node.pool) == [first]


def test_when_fees_of_a_no_op_rise_then_it_stays_a_no_op(node: Any, new_sender: Any) -> None:
    sender = new_sender(bump_after_s=0.0)
    sender.submit(call("a"), "a")
    sender.cancel("a")
    sender.maintain()
    sender.maintain()
    assert waiting(node) == [(0, b"")]


def test_when_a_no_op_is_lost_then_it_goes_out_though_its_call_is_refused(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    sender.cancel("a")
    node.pool.clear()
    node.refuse[b"a"] = revert_data("LeaseNotActive")
    sender.maintain()
    assert waiting(node) == [(0, b"")]


@pytest.mark.parametrize("confirmations", [2, TAKEN_BLOCKS + 3])
def test_when_a_nonce_looks_taken_then_it_is_signed_anew_only_when_that_is_final(
    node: Any, new_sender: Any, account: Any, confirmations: int
) -> None:
    sender = new_sender(confirmations=confirmations)
    sender.submit(call("a"), "a")
    node.pool.clear()
    node.put(account, 0)
    node.mine()
    sender.maintain()
    blocks = 0
    while not node.pool:
        node.mine()
        blocks += 1
        sender.maintain()
    assert blocks == max(TAKEN_BLOCKS, confirmations)
    assert waiting(node) == [(1, b"a")]


def test_when_a_nonce_is_taken_then_the_new_one_is_behind_our_own(
    node: Any, new_sender: Any, account: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    sender.submit(call("b"), "b")
    node.pool.clear()
    node.put(account, 0)
    node.mine()
    for _ in range(TAKEN_BLOCKS + 1):
        node.pool.clear()  # no node remembers what waits
        sender.maintain()
        node.mine(with_pool=False)
    assert waiting(node) == [(1, b"b"), (2, b"a")]


def test_when_a_nonce_is_taken_then_the_new_one_is_behind_the_strangers(
    node: Any, new_sender: Any, account: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    node.pool.clear()
    for nonce in range(3):
        node.put(account, nonce)
    node.mine()
    for _ in range(TAKEN_BLOCKS + 1):
        sender.maintain()
        node.mine(with_pool=False)
    assert waiting(node) == [(3, b"a")]


def test_when_a_lower_nonce_is_unused_then_its_owner_is_given_time(
    node: Any, new_sender: Any, account: Any
) -> None:
    node.put(account, 0)
    sender = new_sender()
    sender.submit(call("a"), "a")  # takes nonce 1
    stranger = {key: tx for key, tx in node.pool.items() if tx.nonce == 0}
    ours = {key: tx for key, tx in node.pool.items() if tx.nonce == 1}
    node.pool = dict(ours)
    sender.maintain()
    for _ in range(GAP_BLOCKS - 1):
        node.mine()
        sender.maintain()
    assert waiting(node) == [(1, b"a")]
    node.pool = stranger | ours  # it broadcasts again: nothing is to be filled any more
    for _ in range(GAP_BLOCKS + 1):
        node.mine(with_pool=False)
        sender.maintain()
    assert waiting(node) == [(0, b"foreign"), (1, b"a")]
    node.pool = dict(ours)
    sender.maintain()
    for _ in range(GAP_BLOCKS):
        node.mine()
        sender.maintain()
    assert [dataclasses.astuple(tx)[2:4] for block in node.blocks for tx in block.txs] == []
    assert waiting(node) == [(0, b""), (1, b"a")]
