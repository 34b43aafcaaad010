"""Reading a chain through a node that errs, lies, or is not there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode

from client_sdk.chain.chain import DEFAULT_PRIORITY_FEE_WEI, LOG_RANGE_BLOCKS, Chain
from client_sdk.chain.deployment import Deployment
from client_sdk.chain.errors import (
    BadAnswer,
    BeaconUnavailable,
    CallReverted,
    ChainUnreachable,
    RpcRefused,
    WrongChain,
)
from client_sdk.chain.rpc import HttpTransport, plain_text, read_answer
from client_sdk.protocol.keccak import keccak256
from contracts.bindings import Call
from contracts.codec import load_artifact
from contracts.events import Delisted

LISTING = b"\x0a" * 32
BLOCK_HASH = "0x" + "bb" * 32


def delisted_log(chain: Chain, **changes: Any) -> dict[str, Any]:
    item = next(i for i in load_artifact("LeaseEscrow").events.values() if i.name == "Delisted")
    return {
        "address": chain.escrow.address.lower(),
        "topics": ["0x" + item.topic.hex(), "0x" + LISTING.hex()],
        "data": "0x",
        "blockNumber": "0x3",
        "blockHash": BLOCK_HASH,
        "transactionHash": BLOCK_HASH,
        "logIndex": "0x0",
        **changes,
    }


def test_when_the_node_fits_the_deployment_then_the_check_passes(chain: Chain) -> None:
    chain.check()
    assert "http://fake" in repr(chain)
    with chain as same:
        assert same is chain


def test_when_the_node_serves_something_else_then_the_check_says_what(
    chain: Chain, node: Any
) -> None:
    node.overrides["eth_getCode"] = "0x"
    with pytest.raises(WrongChain, match="no contract at"):
        chain.check()
    node.overrides["eth_chainId"] = "0x1"
    with pytest.raises(WrongChain, match="serves chain 1, not chain 31337"):
        chain.check()
    node.overrides.clear()
    newer = Chain("http://fake", replace(chain.deployment, abi_version=4), transport=node)
    with pytest.raises(WrongChain, match="interface version 4"):
        newer.check()


def test_when_blocks_are_asked_for_then_number_and_depth_are_right(chain: Chain, node: Any) -> None:
    node.mine(5)
    assert chain.head() == 5
    assert chain.confirmed_block(2).number == 3
    assert chain.confirmed_block(50).number == 0
    assert chain.block(9) is None
    assert chain.now() == 1_700_000_005
    assert chain.latest().parent_hash == node.blocks[4].hash
    assert chain.identity() == node.blocks[0].hash
    later = Chain("http://fake", replace(chain.deployment, start_block=2), transport=node)
    assert later.identity() == node.blocks[2].hash
    public = replace(chain.deployment, start_block=2, chain_id=10)
    assert Chain("http://fake", public, transport=node).identity() == node.blocks[0].hash


def test_when_blocks_cannot_be_then_they_are_refused(chain: Chain, node: Any) -> None:
    node.mine(5)
    node.overrides["eth_getBlockByNumber"] = lambda *_: node._eth_getBlockByNumber("0x1", False)
    with pytest.raises(BadAnswer, match="block 1 in place of block 4"):
        chain.block(4)
    node.overrides["eth_getBlockByNumber"] = None
    with pytest.raises(WrongChain, match="no block 0"):
        chain.identity()
    for read in (chain.latest, lambda: chain.confirmed_block(1)):
        with pytest.raises(BadAnswer):
            read()


def test_when_a_view_answers_then_it_is_decoded(chain: Chain, node: Any) -> None:
    assert chain.view(chain.escrow.fee_bps()) == 1
    assert chain.token_balance(chain.deployment.tokens[0].address, chain.escrow.address) == 1
    assert chain.balance(chain.escrow.address) == 10**21
    node.overrides["eth_call"] = "0x" + encode(["(uint8)"], [(1,)]).hex()
    with pytest.raises(BadAnswer, match="leaseOf"):
        chain.lease(bytes(32))
    node.overrides["eth_call"] = "0x"
    with pytest.raises(WrongChain, match="no contract"):
        chain.lease(bytes(32))


@pytest.mark.parametrize(
    ("refusal", "name"),
    [
        (RpcRefused("eth_call", 3, "execution reverted", b"\x01\x02\x03\x04"), "Unexplained"),
        (RpcRefused("eth_call", -32000, "VM Exception: revert"), "Unexplained"),
        (RpcRefused("eth_call", -32015, "error", b""), "Unexplained"),
    ],
)
def test_when_nodes_tell_of_a_revert_in_their_ways_then_it_is_one(
    chain: Chain, node: Any, refusal: RpcRefused, name: str
) -> None:
    node.overrides["eth_call"] = node.overrides["eth_estimateGas"] = refusal
    call = Call(chain.escrow.address, b"x", name="Test.x")
    for attempt in (chain.simulate, chain.estimate_gas):
        with pytest.raises(CallReverted) as failure:
            attempt(call, chain.escrow.address)
        assert failure.value.name == name


def test_when_the_node_refuses_for_its_own_reasons_then_it_is_no_revert(
    chain: Chain, node: Any
) -> None:
    node.overrides["eth_call"] = RpcRefused("eth_call", -32005, "rate limit")
    node.overrides["eth_estimateGas"] = node.overrides["eth_call"]
    call = Call(chain.escrow.address, b"x", value=5, name="Test.x")
    for attempt in (chain.simulate, chain.estimate_gas):
        with pytest.raises(RpcRefused, match="rate limit"):
            attempt(call, chain.escrow.address)


def test_when_the_node_suggests_no_tip_then_the_default_is_offered(chain: Chain, node: Any) -> None:
    assert chain.priority_fee() == 10**9
    node.overrides["eth_maxPriorityFeePerGas"] = RpcRefused("x", -32601, "unknown method")
    assert chain.priority_fee() == DEFAULT_PRIORITY_FEE_WEI


def test_when_events_are_asked_for_then_they_are_decoded_in_ranges(chain: Chain, node: Any) -> None:
    asked: list[tuple[int, int]] = []

    def logs(criteria: dict[str, Any]) -> list[Any]:
        start, end = int(criteria["fromBlock"], 16), int(criteria["toBlock"], 16)
        asked.append((start, end))
        if end - start > 1500:
            raise RpcRefused("eth_getLogs", -32005, "range too long")
        other = delisted_log(chain, logIndex="0x1", topics=["0x" + "00" * 32, "0x" + "0a" * 32])
        return [delisted_log(chain), other] if start <= 3 <= end else []

    node.overrides["eth_getLogs"] = logs
    (event,) = chain.events(1, LOG_RANGE_BLOCKS + 10, topic=LISTING)
    assert isinstance(event, Delisted)
    assert (event.listing_id, event.block_number) == (LISTING, 3)
    assert asked == [(1, 2000), (1, 1000), (1001, 2000), (2001, 2010)]
    assert chain.events(5, 4) == []


def test_when_even_one_block_is_refused_then_the_refusal_is_told(chain: Chain, node: Any) -> None:
    node.overrides["eth_getLogs"] = RpcRefused("eth_getLogs", -32005, "no logs here")
    with pytest.raises(RpcRefused):
        chain.events(1, 2)


@pytest.mark.parametrize(
    ("logs", "complaint"),
    [
        ([{"blockNumber": "0x9"}], "outside"),
        ([{"address": "0x" + "11" * 20}], "another contract"),
        ([{"topics": ["0x" + "00" * 32, "0x" + "00" * 32]}], "another topic"),
        ([{}, {}], "not in order"),
        ([{"logIndex": "0x2"}, {"logIndex": "0x1"}], "not in order"),
        ([{"data": "0x01"}], None),
    ],
)
def test_when_logs_cannot_be_then_they_are_refused(
    chain: Chain, node: Any, logs: list[dict[str, Any]], complaint: str | None
) -> None:
    node.overrides["eth_getLogs"] = [delisted_log(chain, **change) for change in logs]
    if complaint is None:
        assert len(chain.events(1, 5, topic=LISTING)) == 1  # spare data harms nothing
        return
    with pytest.raises(BadAnswer, match=complaint):
        chain.events(1, 5, topic=LISTING)


def test_when_logs_are_no_list_or_do_not_decode_then_they_are_refused(
    chain: Chain, node: Any
) -> None:
    node.overrides["eth_getLogs"] = {"logs": []}
    with pytest.raises(BadAnswer, match="not a list"):
        chain.events(1, 5)
    bad = delisted_log(chain)
    bad["topics"] = bad["topics"][:1]
    node.overrides["eth_getLogs"] = [bad]
    with pytest.raises(BadAnswer, match="Delisted"):
        chain.events(1, 5)


def test_when_a_receipt_has_logs_of_others_then_only_ours_become_events(
    chain: Chain, node: Any
) -> None:
    foreign = delisted_log(chain, address="0x" + "11" * 20)
    node.overrides["eth_getTransactionReceipt"] = {
        "transactionHash": BLOCK_HASH,
        "blockNumber": "0x3",
        "blockHash": BLOCK_HASH,
        "status": "0x1",
        "gasUsed": "0x1",
        "effectiveGasPrice": "0x1",
        "contractAddress": None,
        "logs": [foreign, delisted_log(chain, logIndex="0x1")],
    }
    receipt = chain.receipt(b"\xbb" * 32)
    assert receipt is not None
    assert [type(event) for event in receipt.events] == [Delisted]


def test_when_the_beacon_block_is_deep_enough_then_its_value_is_known(
    chain: Chain, node: Any
) -> None:
    node.mine(6)
    assert chain.beacon(3) is None
    node.mine()
    assert chain.beacon(3) == keccak256(b"gridlease.dev-beacon" + node.blocks[5].hash)
    assert chain.beacon(100) is None


@pytest.mark.parametrize("change", [{"chain_id": 1}, {"beacon": None}])
def test_when_the_chain_may_not_use_the_beacon_then_it_is_refused(
    chain: Chain, node: Any, change: dict[str, Any]
) -> None:
    deployment: Deployment = replace(chain.deployment, **change)
    with pytest.raises(BeaconUnavailable):
        Chain("http://fake", deployment, transport=node).beacon(1)


def test_when_no_node_answers_then_the_error_shows_no_key_and_says_what_to_do() -> None:
    transport = HttpTransport("http://127.0.0.1:1/api-key", timeout_s=1)
    with pytest.raises(ChainUnreachable) as failure:
        transport.request("eth_chainId", [])
    assert "gridlease up" in failure.value.what_to_do
    for shown in (str(failure.value), repr(transport), failure.value.what_to_do):
        assert "api-key" not in shown
    transport.close()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [({}, "neither"), ({"error": "no"}, "not an object"), ({"error": []}, "not an object")],
)
def test_when_an_error_is_no_error_object_then_it_is_refused(
    answer: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadAnswer, match=complaint):
        read_answer("eth_call", answer)


@pytest.mark.parametrize(
    ("error", "code", "data"),
    [
        ({"code": 3, "message": "execution reverted", "data": "0x0102"}, 3, b"\x01\x02"),
        ({"code": 3, "message": "x", "data": {"data": "0x0102"}}, 3, b"\x01\x02"),
        ({"code": 3, "message": "x", "data": {"result": "0x0102"}}, 3, b"\x01\x02"),
        ({"code": "3", "message": 5, "data": "Reverted: prose"}, 0, None),
        ({"code": 10**30}, 0, None),
    ],
)
def test_when_nodes_put_revert_data_in_their_places_then_it_is_found(
    error: dict[str, Any], code: int, data: bytes | None
) -> None:
    with pytest.raises(RpcRefused) as failure:
        read_answer("eth_call", {"error": error})
    assert (failure.value.code, failure.value.data) == (code, data)


def test_when_the_node_writes_control_characters_then_they_do_not_reach_a_terminal() -> None:
    assert plain_text("a\x1b[2Jb\nc") == "a [2Jb c"
    assert len(plain_text("x" * 10_000)) == 300
