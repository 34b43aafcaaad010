"""Sending through a node that fails in every way, without a clock."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from client_sdk.chain import reconcile
from client_sdk.chain import sender as sender_module
from client_sdk.chain.errors import (
    BadAnswer,
    CallReverted,
    ChainUnreachable,
    FeeTooHigh,
    InsufficientFunds,
    JournalUnusable,
    KeyConflict,
    NotConfirmed,
    RpcRefused,
    TransactionCancelled,
    TransactionReverted,
    UnknownKey,
    WrongChain,
)
from client_sdk.chain.journal import MOVES, TxState
from contracts.bindings import Call, LeaseEscrow
from contracts.codec import load_artifact

TARGET = "0x00000000000000000000000000000000000000A1"


def call(name: str) -> Call:
    return Call(TARGET, name.encode(), name=f"Test.{name}")


def revert_data(name: str) -> bytes:
    artifact = load_artifact("LeaseEscrow")
    return next(item.selector for item in artifact.errors.values() if item.name == name)


def test_when_a_call_is_sent_then_it_is_journaled_before_it_is_broadcast(
    node: Any, new_sender: Any
) -> None:
    node.overrides["eth_sendRawTransaction"] = ChainUnreachable("fake", "gone")
    sender = new_sender()
    tx_hash = sender.submit(call("a"), "a")
    assert sender.state("a") is TxState.SENT
    del node.overrides["eth_sendRawTransaction"]
    receipt = new_sender().wait("a")
    assert receipt.tx_hash == tx_hash
    assert node.executed(b"a") == 1


def test_when_the_broadcast_answer_is_lost_then_nothing_is_sent_twice(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.maintain()
    original = node._eth_sendRawTransaction

    def broadcast_and_break(raw: str) -> str:
        original(raw)
        raise ChainUnreachable("fake", "the connection broke")

    node.overrides["eth_sendRawTransaction"] = broadcast_and_break
    sender.submit(call("a"), "a")
    del node.overrides["eth_sendRawTransaction"]
    new_sender().send(call("a"), "a")
    assert node.executed(b"a") == 1


def test_when_the_node_refuses_the_broadcast_then_it_is_tried_again(
    node: Any, new_sender: Any
) -> None:
    node.overrides["eth_sendRawTransaction"] = RpcRefused("eth_sendRawTransaction", -1, "pool full")
    sender = new_sender()
    sender.submit(call("a"), "a")
    del node.overrides["eth_sendRawTransaction"]
    assert sender.wait("a").succeeded


def test_when_nothing_is_open_then_looking_after_it_is_one_request(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.send(call("a"), "a")
    node.requests.clear()
    sender.maintain()
    assert node.requests == ["eth_getTransactionCount"]


def test_when_a_confirmed_block_is_lost_then_the_call_is_sent_again(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    for name in "abc":
        sender.submit(call(name), name)
    for name in "abc":
        sender.wait(name)
    node.lose(10)
    assert node.executed(b"a") == 0
    new_sender().wait("c")
    assert [node.executed(name) for name in (b"a", b"b", b"c")] == [1, 1, 1]
    mined = [tx.data for block in node.blocks for tx in block.txs]
    assert mined == [b"a", b"b", b"c"]


def test_when_a_mined_block_is_lost_then_the_call_is_open_again(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    sender.send(call("a"), "a", confirmations=0)
    assert sender.state("a") is TxState.MINED
    node.lose(5)
    sender.maintain()
    assert sender.state("a") is TxState.SENT
    assert sender.wait("a").succeeded


def test_when_a_lost_call_builds_on_anothers_then_it_is_held_back(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.send(call("commit"), "commit")
    node.lose(10)
    node.refuse[b"commit"] = revert_data("LeaseNotActive")
    sender.maintain()
    sender.maintain()
    assert not node.pool
    del node.refuse[b"commit"]
    sender.maintain()
    assert len(node.pool) == 1
    assert sender.wait("commit").succeeded


def test_when_a_lost_call_stays_refused_then_it_goes_out_and_its_result_is_told(
    node: Any, new_sender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "HOLD_BACK_S", 0.0)
    sender = new_sender()
    sender.send(call("commit"), "commit")
    node.lose(10)
    node.refuse[b"commit"] = revert_data("LeaseNotActive") + bytes(64)
    with pytest.raises(TransactionReverted) as failure:
        sender.wait("commit")
    assert failure.value.name == "LeaseNotActive"
    assert failure.value.args_by_name == {"leaseId": bytes(32), "status": 0}
    with pytest.raises(TransactionReverted):
        new_sender().submit(call("commit"), "commit")
    node.refuse.clear()
    assert new_sender().send(call("commit"), "commit", retry=True).succeeded


def test_when_an_ending_is_not_final_then_a_retry_waits_for_it(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    node.refuse[b"a"] = b""
    with pytest.raises(TransactionReverted):
        sender.wait("a", confirmations=0)
    node.refuse.clear()
    assert sender.state("a") is TxState.MINED
    assert sender.send(call("a"), "a", retry=True).succeeded
    sender.submit(call("b"), "b")
    sender.cancel("b")
    assert sender.send(call("b"), "b", retry=True).succeeded
    assert (node.executed(b"a"), node.executed(b"b")) == (1, 1)


def test_when_a_retry_waits_too_long_then_it_is_told_why(
    new_sender: Any,
) -> None:
    sender = new_sender(settle_timeout_s=0)
    sender.submit(call("a"), "a")
    sender.cancel("a")
    with pytest.raises(TransactionCancelled):
        sender.submit(call("a"), "a", retry=True)


def test_when_no_reason_can_be_found_then_the_refusal_says_so(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    node.refuse[b"a"] = b""
    node.mine(3)
    node.refuse.clear()
    node.overrides["eth_call"] = RpcRefused("eth_call", -32602, "no such state")
    with pytest.raises(TransactionReverted, match="Unexplained"):
        sender.wait("a")


def test_when_the_contract_refuses_then_nothing_is_signed(node: Any, new_sender: Any) -> None:
    node.refuse[b"a"] = revert_data("AddressMissing")
    sender = new_sender()
    with pytest.raises(CallReverted) as failure:
        sender.submit(call("a"), "a")
    assert failure.value.name == "AddressMissing"
    assert "Nothing was sent" in failure.value.what_to_do
    assert sender.state("a") is None
    assert not node.pool


def test_when_an_earlier_call_waits_then_a_refused_one_waits_for_it(
    node: Any, new_sender: Any
) -> None:
    def mine_and_allow(_: float) -> None:
        node.mine()
        if node.executed(b"approve"):
            node.refuse.clear()

    sender = new_sender(sleep=mine_and_allow)
    sender.submit(call("approve"), "approve")
    node.refuse[b"open"] = revert_data("AmountMissing")
    assert sender.send(call("open"), "open").succeeded


def test_when_calls_do_not_build_on_each_other_then_a_refused_one_waits_for_none(
    node: Any, new_sender: Any
) -> None:
    pauses: list[float] = []
    sender = new_sender(settle_timeout_s=0, sleep=pauses.append)
    sender.submit(call("other"), "other")
    node.refuse[b"settle"] = revert_data("AmountMissing")
    with pytest.raises(CallReverted):
        sender.submit(call("settle"), "settle")
    assert pauses == []


def test_when_funds_or_fees_do_not_fit_then_nothing_is_signed(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    node.balance = 10
    with pytest.raises(InsufficientFunds) as poor:
        sender.submit(call("a"), "a")
    assert poor.value.needed > poor.value.balance == 10
    node.base_fee = 10**12
    with pytest.raises(FeeTooHigh) as dear:
        sender.submit(call("a"), "a")
    assert dear.value.fee > dear.value.cap
    node.base_fee = 1
    node.overrides["eth_estimateGas"] = hex(10**9)
    with pytest.raises(BadAnswer, match="more than a block holds"):
        sender.submit(call("a"), "a")
    assert sender.state("a") is None


def test_when_a_key_means_another_call_then_it_is_refused(new_sender: Any) -> None:
    sender = new_sender()
    sender.submit(call("a"), "key")
    with pytest.raises(KeyConflict, match=r"Test\.a"):
        sender.submit(call("b"), "key")
    with pytest.raises(UnknownKey):
        sender.wait("none")
    with pytest.raises(UnknownKey):
        sender.cancel("none")


def test_when_it_is_not_mined_in_time_then_the_caller_is_told(node: Any, new_sender: Any) -> None:
    sender = new_sender(sleep=lambda _: None)
    sender.submit(call("a"), "a")
    with pytest.raises(NotConfirmed) as failure:
        sender.wait("a", timeout_s=0.0)
    assert failure.value.key == "a"
    node.is_down = True
    with pytest.raises(ChainUnreachable):
        sender.wait("a", timeout_s=0.0)


def test_when_the_node_comes_back_during_a_wait_then_the_wait_goes_on(
    node: Any, new_sender: Any
) -> None:
    def come_back(_: float) -> None:
        node.is_down = False
        node.mine()

    sender = new_sender(sleep=come_back)
    sender.submit(call("a"), "a")
    node.is_down = True
    assert sender.wait("a").succeeded


def test_when_fees_rise_then_the_first_in_line_is_replaced(node: Any, new_sender: Any) -> None:
    sender = new_sender(bump_after_s=0.0)
    first = sender.submit(call("a"), "a")
    second = sender.submit(call("b"), "b")
    sender.maintain()
    assert sender.submit(call("a"), "a") != first
    assert sender.submit(call("b"), "b") == second
    assert len(node.pool) == 2
    sender.wait("b")
    assert (node.executed(b"a"), node.executed(b"b")) == (1, 1)


def test_when_fees_reach_the_cap_then_they_rise_no_more(node: Any, new_sender: Any) -> None:
    sender = new_sender(bump_after_s=0.0, max_fee_per_gas=3 * 10**9)
    first = sender.submit(call("a"), "a")
    sender.maintain()
    node.base_fee = 10**12
    sender.maintain()
    assert sender.submit(call("a"), "a") == first


def test_when_a_waiting_call_is_cancelled_then_a_no_op_takes_its_place(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    sender.submit(call("b"), "b")
    sender.cancel("a")
    sender.cancel("a")
    with pytest.raises(TransactionCancelled):
        sender.submit(call("a"), "a")
    with pytest.raises(TransactionCancelled):
        sender.wait("a")
    assert sender.wait("b").succeeded
    assert (node.executed(b"a"), node.executed(b"b")) == (0, 1)
    assert sender.state("a") is TxState.CANCELLED
    assert sender.send(call("a"), "a", retry=True).succeeded


def test_when_a_cancelled_call_wins_all_the_same_then_it_counts(node: Any, new_sender: Any) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    original, sent = dict(node.pool), set(node.pool)
    sender.cancel("a")
    node.pool = original
    node.mine()  # by somebody who never saw the replacement
    assert sender.wait("a").succeeded
    assert sender.submit(call("a"), "a") in sent
    sender.cancel("a")
    assert sender.state("a") is TxState.CONFIRMED


def test_when_a_stranger_takes_the_nonce_then_the_call_is_signed_anew(
    node: Any, new_sender: Any, account: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    node.pool.clear()
    node.put(account, 0)
    node.mine()
    assert sender.wait("a").succeeded
    assert node.executed(b"a") == 1


def test_when_a_stranger_takes_a_cancelled_nonce_then_nothing_is_left_to_do(
    node: Any, new_sender: Any, account: Any
) -> None:
    sender = new_sender()
    sender.submit(call("a"), "a")
    sender.cancel("a")
    node.pool.clear()
    node.put(account, 0)
    node.mine()
    with pytest.raises(TransactionCancelled):
        sender.wait("a")
    assert node.executed(b"a") == 0


def test_when_a_lower_nonce_is_unused_then_it_is_filled(
    node: Any, new_sender: Any, account: Any
) -> None:
    node.put(account, 0)
    sender = new_sender()
    sender.submit(call("a"), "a")  # takes nonce 1
    node.pool = {key: tx for key, tx in node.pool.items() if tx.nonce == 1}
    assert sender.wait("a").succeeded
    mined = [(tx.nonce, tx.data) for block in node.blocks for tx in block.txs]
    assert mined == [(0, b""), (1, b"a")]


def test_when_another_chain_answers_under_the_same_id_then_nothing_is_replayed(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.send(call("a"), "a")
    node.blocks = node.blocks[:1]
    node.blocks[0].hash = b"\x01" * 32  # the block of the deployment
    with pytest.raises(WrongChain):
        sender.maintain()
    fresh = new_sender()
    assert fresh.state("a") is None
    fresh.maintain()
    assert not node.pool


def test_when_a_receipt_goes_away_while_it_is_read_then_the_wait_goes_on(
    node: Any, new_sender: Any
) -> None:
    sender = new_sender()
    sender.send(call("a"), "a")
    answers = iter([None])
    node.overrides["eth_getTransactionReceipt"] = lambda tx_hash: next(
        answers, node._eth_getTransactionReceipt(tx_hash)
    )
    assert sender.wait("a").succeeded


def test_when_threads_share_a_sender_then_each_key_is_sent_once(node: Any, new_sender: Any) -> None:
    senders = [new_sender(), new_sender()]
    threads = [
        threading.Thread(target=senders[i % 2].submit, args=(call(f"k{i % 3}"), f"k{i % 3}"))
        for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    node.mine(3)
    assert [node.executed(f"k{i}".encode()) for i in range(3)] == [1, 1, 1]
    assert len(node.blocks[1].txs) == 3


def test_when_the_journal_cannot_be_used_then_the_error_names_it(
    new_sender: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(JournalUnusable, match=r"journal\.sqlite"):
        new_sender().maintain()
    monkeypatch.setattr(sender_module, "LOCK_TIMEOUT_S", 0.01)
    with (
        FileLock(f"{tmp_path}/journal.sqlite.lock"),
        pytest.raises(JournalUnusable, match="another process"),
    ):
        new_sender().maintain()


def test_when_shown_then_a_sender_tells_no_secret(new_sender: Any, account: Any) -> None:
    sender = new_sender()
    assert sender.address in repr(sender)
    assert bytes(account.key).hex() not in repr(sender)


def test_moves_are_total() -> None:
    assert set(MOVES) == set(TxState)
    assert all(TxState.SENT in targets for targets in MOVES.values())


def test_when_a_binding_is_sent_then_the_call_is_named_after_the_contract() -> None:
    assert LeaseEscrow(TARGET).pause().name == "LeaseEscrow.pause"
