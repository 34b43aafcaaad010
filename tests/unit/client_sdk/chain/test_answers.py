"""Answers of nodes: honest ones pass, all others are refused without harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.chain import answers
from client_sdk.chain.errors import BadAnswer
from contracts.codec import MAX_DATA_BYTES

HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "cd" * 20
BLOCK = {
    "number": "0x5",
    "hash": HASH,
    "parentHash": HASH,
    "timestamp": "0x65",
    "baseFeePerGas": "0x7",
    "gasLimit": "0x1c9c380",
}
LOG = {
    "address": ADDRESS,
    "topics": [HASH],
    "data": "0x01",
    "blockNumber": "0x5",
    "blockHash": HASH,
    "transactionHash": HASH,
    "logIndex": "0x0",
    "removed": False,
}
RECEIPT = {
    "transactionHash": HASH,
    "blockNumber": "0x5",
    "blockHash": HASH,
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x3",
    "contractAddress": ADDRESS,
    "logs": [LOG],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(HASH),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*RECEIPT]), inner),
    max_leaves=8,
)


def test_when_answers_are_honest_then_they_are_read() -> None:
    block = answers.block(BLOCK)
    assert (block.number, block.timestamp, block.base_fee) == (5, 0x65, 7)
    assert answers.block({k: v for k, v in BLOCK.items() if k != "baseFeePerGas"}).base_fee == 0
    receipt = answers.receipt(RECEIPT, bytes.fromhex(HASH[2:]))
    assert receipt.succeeded
    assert (receipt.gas_used, receipt.effective_gas_price) == (21_000, 3)
    assert receipt.contract_address == ADDRESS
    assert receipt.logs[0].data == b"\x01"
    assert answers.receipt(RECEIPT | {"contractAddress": None, "logs": []}, receipt.tx_hash)


@pytest.mark.parametrize(
    "value",
    [None, 5, "5", "0x", "0xzz", "0x_1", "0x" + "f" * 65, "0x-1", "0x 1", "0x\u0663"],
)
def test_when_a_quantity_is_none_then_it_is_refused(value: Any) -> None:
    with pytest.raises(BadAnswer):
        answers.quantity(value, "it")


def test_when_a_quantity_is_too_wide_then_it_is_refused() -> None:
    assert answers.quantity("0xff", "it", bits=8) == 255
    with pytest.raises(BadAnswer, match="larger than 8 bits"):
        answers.quantity("0x100", "it", bits=8)


@pytest.mark.parametrize(
    "value", [None, b"", "", "12", "0x1", "0xz1", "0x" + "00" * (MAX_DATA_BYTES + 1), "0x 0"]
)
def test_when_data_is_none_then_it_is_refused(value: Any) -> None:
    with pytest.raises(BadAnswer):
        answers.data(value, "it")


def test_when_data_has_another_length_then_it_is_refused() -> None:
    with pytest.raises(BadAnswer, match="31 bytes, not 32"):
        answers.hash32("0x" + "00" * 31, "it")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"transactionHash": "0x" + "00" * 32}, "another transaction"),
        ({"status": "0x2"}, "status"),
        ({"status": None}, "status"),
        ({"logs": None}, "not a list"),
        ({"logs": ["x"]}, "not an object"),
        ({"logs": [LOG | {"topics": [HASH] * 5}]}, "topics"),
        ({"logs": [LOG | {"topics": None}]}, "topics"),
        ({"logs": [LOG | {"removed": True}]}, "no longer"),
        ({"blockNumber": hex(2**60)}, "53 bits"),
    ],
)
def test_when_a_receipt_cannot_be_then_it_is_refused(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadAnswer, match=complaint):
        answers.receipt(RECEIPT | change, bytes.fromhex(HASH[2:]))


@given(JSON)
def test_when_an_answer_is_anything_then_only_bad_answer_is_raised(value: Any) -> None:
    for read in (answers.block, answers.log, lambda raw: answers.receipt(raw, b"\xab" * 32)):
        with pytest.raises(BadAnswer):
            read(value)
