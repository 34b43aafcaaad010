"""What a node answers, checked for shape, length and range before anything else sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from client_sdk.chain.errors import BadAnswer
from contracts.bindings import Event, Log
from contracts.codec import MAX_DATA_BYTES

MAX_TOPICS: Final = 4
_UINT256_DIGITS: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A block's header, as far as we need it."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    """Seconds since 1970, as the block's producer says."""

    base_fee: int
    """Wei per gas; 0 on chains from before EIP-1559."""

    gas_limit: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TxReceipt:
    """A mined transaction."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    effective_gas_price: int
    """Wei per gas, as paid."""

    contract_address: str | None
    """The created contract, for a creating transaction."""

    logs: tuple[Log, ...] = field(repr=False, default=())
    events: tuple[Event, ...] = ()
    """Events of the deployment's escrow, in order."""


def quantity(value: object, what: str, *, bits: int = 256) -> int:
    """A JSON-RPC quantity: 0x and hex digits, at most `bits` wide."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise BadAnswer(f"{what} is not a quantity")
    digits = value[2:]
    if not 1 <= len(digits) <= _UINT256_DIGITS or not _is_hex(digits):
        raise BadAnswer(f"{what} is not a quantity")
    number = int(digits, 16)
    if number >= 1 << bits:
        raise BadAnswer(f"{what} is larger than {bits} bits")
    return number


def data(value: object, what: str, *, length: int | None = None) -> bytes:
    """JSON-RPC data: 0x and pairs of hex digits, of exactly `length` bytes or of a sane length."""
    if not isinstance(value, str) or not value.startswith("0x") or len(value) % 2:
        raise BadAnswer(f"{what} is not 0x data")
    if len(value) > 2 + 2 * MAX_DATA_BYTES:
        raise BadAnswer(f"{what} is longer than {MAX_DATA_BYTES} bytes")
    if not _is_hex(value[2:]):
        raise BadAnswer(f"{what} is not 0x data")
    content = bytes.fromhex(value[2:])
    if length is not None and len(content) != length:
        raise BadAnswer(f"{what} has {len(content)} bytes, not {length}")
    return content


def hash32(value: object, what: str) -> bytes:
    return data(value, what, length=32)


def address(value: object, what: str) -> str:
    """A lower-case address; callers compare it, they do not show it."""
    return "0x" + data(value, what, length=20).hex()


def fields(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer(f"{what} is not an object")
    return value


def block(value: object) -> Block:
    raw = fields(value, "block")
    return Block(
        number=quantity(raw.get("number"), "block number", bits=53),
        hash=hash32(raw.get("hash"), "block hash"),
        parent_hash=hash32(raw.get("parentHash"), "parent hash"),
        timestamp=quantity(raw.get("timestamp"), "block timestamp", bits=40),
        base_fee=quantity(raw.get("baseFeePerGas", "0x0"), "base fee", bits=96),
        gas_limit=quantity(raw.get("gasLimit"), "gas limit", bits=53),
    )


def log(value: object) -> Log:
    raw = fields(value, "log")
    topics = raw.get("topics")
    if not isinstance(topics, list) or len(topics) > MAX_TOPICS:
        raise BadAnswer(f"a log's topics are not a list of at most {MAX_TOPICS}")
    if raw.get("removed") is True:
        raise BadAnswer("a log of a block that is no longer on the chain")
    return Log(
        address=address(raw.get("address"), "log address"),
        topics=tuple(hash32(topic, "log topic") for topic in topics),
        data=data(raw.get("data"), "log data"),
        block_number=quantity(raw.get("blockNumber"), "log block number", bits=53),
        block_hash=hash32(raw.get("blockHash"), "log block hash"),
        tx_hash=hash32(raw.get("transactionHash"), "log transaction hash"),
        log_index=quantity(raw.get("logIndex"), "log index", bits=32),
    )


def receipt(value: object, tx_hash: bytes) -> TxReceipt:
    """A receipt of exactly the transaction that was asked for; the caller fills in `events`."""
    raw = fields(value, "receipt")
    if hash32(raw.get("transactionHash"), "receipt's transaction hash") != tx_hash:
        raise BadAnswer("the receipt is of another transaction")
    logs = raw.get("logs")
    if not isinstance(logs, list):
        raise BadAnswer("a receipt's logs are not a list")
    created = raw.get("contractAddress")
    status = quantity(raw.get("status"), "receipt status", bits=8)
    if status > 1:
        raise BadAnswer(f"receipt status {status}")
    return TxReceipt(
        tx_hash=tx_hash,
        block_number=quantity(raw.get("blockNumber"), "receipt block number", bits=53),
        block_hash=hash32(raw.get("blockHash"), "receipt block hash"),
        succeeded=status == 1,
        gas_used=quantity(raw.get("gasUsed"), "gas used", bits=53),
        effective_gas_price=quantity(raw.get("effectiveGasPrice"), "gas price", bits=96),
        contract_address=None if created is None else address(created, "contract address"),
        logs=tuple(log(entry) for entry in logs),
    )


def _is_hex(digits: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in digits)
