"""ABI encoding and decoding of one contract, from its committed ABI file.

Everything that comes in here (return data, log data, revert data) was chosen by an RPC node or by
another contract: it is decoded strictly, and whatever does not fit its type raises
:class:`BadChainData`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

ABI_FOLDER: Final = Path(__file__).parent / "abi"

MAX_DATA_BYTES: Final = 256 * 1024
"""Longest return, log or revert data that is decoded; the longest honest one is a `Listed` event of
some 1.5 KiB.
"""


K = TypeVar("K")


class BadChainData(ValueError):
    """The node returned data that does not fit the contract's interface."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One function, event or error of an ABI."""

    name: str
    inputs: tuple[str, ...]
    """Canonical types, structs as `(..)`."""

    input_names: tuple[str, ...]
    indexed: tuple[bool, ...] = ()
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    mutates: bool = True

    @property
    def signature(self) -> str:
        return f"{self.name}({','.join(self.inputs)})"

    @property
    def topic(self) -> bytes:
        return keccak(text=self.signature)

    @property
    def selector(self) -> bytes:
        return self.topic[:4]


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One compiled contract: its interface, and the code that creates it."""

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    deployed_bytecode: bytes
    solc: str
    functions: Mapping[str, Item]
    events: Mapping[bytes, Item]
    """By first topic."""

    errors: Mapping[bytes, Item]
    """By selector."""

    constructor: tuple[str, ...]

    def encode_call(self, function: str, *args: Any) -> bytes:
        item = self.functions[function]
        return item.selector + abi_encode(item.inputs, args)

    def decode_result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Decode what `function` returned; addresses come back checksummed."""
        return decode(self.functions[function].outputs, data)

    def creation_code(self, *args: Any) -> bytes:
        return self.bytecode + abi_encode(self.constructor, args)


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Decode untrusted ABI data strictly; addresses come back checksummed.

    Raises
    ------
    BadChainData
        The data is too long, too short, badly padded, or not of these types.
    """
    if len(data) > MAX_DATA_BYTES:
        raise BadChainData(f"{len(data)} bytes of data, more than {MAX_DATA_BYTES}")
    try:
        values = abi_decode(types, data)
    except (DecodingError, OverflowError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadChainData(f"data does not decode as ({','.join(types)}): {error}") from error
    return tuple(_normalise(kind, value) for kind, value in zip(types, values, strict=True))


def split_tuple(kind: str) -> list[str]:
    """Component types of a struct type such as `(address,(uint8,bytes32)[])`."""
    parts: list[str] = []
    depth, start = 0, 1
    for position, letter in enumerate(kind):
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
        if (letter == "," and depth == 1) or (letter == ")" and depth == 0):
            parts.append(kind[start:position])
            start = position + 1
            if depth == 0:
                break
    return [part for part in parts if part]


def _normalise(kind: str, value: Any) -> Any:
    if kind == "address":
        return to_checksum_address(value)
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return tuple(_normalise(inner, entry) for entry in value)
    if kind.startswith("("):
        return tuple(
            _normalise(part, entry) for part, entry in zip(split_tuple(kind), value, strict=True)
        )
    return value


@lru_cache(maxsize=8)
def load_artifact(name: str) -> Artifact:
    """Read `abi/<name>.json`, which `python -m contracts.build` generates from the sources."""
    raw = json.loads((ABI_FOLDER / f"{name}.json").read_bytes())
    abi: list[dict[str, Any]] = raw["abi"]
    constructor: dict[str, Any] = next(
        (entry for entry in abi if entry["type"] == "constructor"), {"inputs": []}
    )
    return Artifact(
        name=name,
        abi=tuple(abi),
        bytecode=_from_hex(raw["bytecode"]),
        deployed_bytecode=_from_hex(raw["deployedBytecode"]),
        solc=raw["solc"],
        functions=_items(abi, "function", lambda item: item.name),
        events=_items(abi, "event", lambda item: item.topic),
        errors=_items(abi, "error", lambda item: item.selector),
        constructor=tuple(_type_of(entry) for entry in constructor["inputs"]),
    )


def _items(abi: list[dict[str, Any]], kind: str, key: Callable[[Item], K]) -> dict[K, Item]:
    found: dict[K, Item] = {}
    for entry in abi:
        if entry["type"] != kind:
            continue
        outputs = entry.get("outputs", [])
        item = Item(
            name=entry["name"],
            inputs=tuple(_type_of(part) for part in entry["inputs"]),
            input_names=tuple(part["name"] for part in entry["inputs"]),
            indexed=tuple(bool(part.get("indexed")) for part in entry["inputs"]),
            outputs=tuple(_type_of(part) for part in outputs),
            output_names=tuple(part["name"] for part in outputs),
            mutates=entry.get("stateMutability") not in ("view", "pure"),
        )
        assert key(item) not in found, f"{item.name} is overloaded: bindings name functions by name"
        found[key(item)] = item
    return found


def _type_of(entry: dict[str, Any]) -> str:
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type_of(part) for part in entry['components'])}){kind[len('tuple') :]}"


def _from_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
