"""Canonical bytes of JSON values, and the bulk hash over them.

Covered: one byte string for each value (RFC 8785), strict reading of JSON from strangers (size,
depth, duplicate keys, non-finite numbers, lone surrogates).
Not covered: hashes that a contract checks; see :mod:`client_sdk.protocol.keccak`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

import rfc8785
from blake3 import blake3

from client_sdk.protocol.errors import CanonicalError, MessageError, OutOfRange, WrongType

#: Bytes in every hash of the protocol.
HASH_BYTES: Final = 32
#: Hash value that means "none" or "any".
ZERO_HASH: Final = bytes(HASH_BYTES)
#: Deepest nesting of a message that is accepted.
MAX_DEPTH: Final = 32
#: Largest message, in bytes, that is accepted unless the caller states another bound.
MAX_MESSAGE_BYTES: Final = 1 << 20
#: Largest integer that JSON numbers carry exactly.
MAX_SAFE_INTEGER: Final = (1 << 53) - 1

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[][{}]")
_HASH_PATTERN: Final = re.compile(r"0x[0-9a-f]{64}")


def canonical_json(value: object) -> bytes:
    """Return the canonical bytes of a JSON value.

    Parameters
    ----------
    value
        Made of ``None``, ``bool``, ``int`` (within 2**53 - 1), finite ``float``, ``str``, ``list``,
        ``tuple`` and ``dict`` with ``str`` keys, nested at most :data:`MAX_DEPTH` deep.

    Raises
    ------
    CanonicalError
        When the value is made of anything else.

    Notes
    -----
    Source: RFC 8785 (JSON Canonicalization Scheme).
    """
    if not _depth_within(value, MAX_DEPTH):
        raise CanonicalError(f"nested deeper than {MAX_DEPTH} levels")
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # checked by the callee at run time
    except ValueError as error:
        raise CanonicalError(str(error)) from error


def parse_json(
    data: bytes | str, *, max_bytes: int = MAX_MESSAGE_BYTES, max_depth: int = MAX_DEPTH
) -> object:
    """Return the value of a JSON text that a stranger wrote.

    Parameters
    ----------
    data
        UTF-8 bytes or text.
    max_bytes
        Largest accepted size in bytes of UTF-8.
    max_depth
        Deepest accepted nesting.

    Raises
    ------
    MessageError
        When the text is not JSON, too large or too deep, repeats a key, or holds a number or a
        character that has no canonical form.
    """
    try:
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > max_bytes:
            raise OutOfRange("", f"{len(raw)} bytes, the largest accepted message has {max_bytes}")
        _refuse_depth(raw, max_depth)
        value: object = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except MessageError:
        raise
    except ValueError as error:
        raise MessageError("", f"not valid JSON: {error}") from error
    _refuse_surrogates(value)
    return value


def blake3_digest(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte BLAKE3 hash of ``data``: the hash of everything no contract checks."""
    return blake3(data).digest()


def canonical_digest(value: object) -> bytes:
    """Return the BLAKE3 hash of the canonical JSON of ``value``."""
    return blake3_digest(canonical_json(value))


def to_hex(value: bytes) -> str:
    """Return ``0x`` and lower-case hexadecimal digits."""
    return "0x" + value.hex()


def hash_from_hex(value: object, path: str = "") -> bytes:
    """Return the 32 bytes of a ``0x`` lower-case hexadecimal hash, and refuse all else."""
    if not isinstance(value, str):
        raise WrongType(path, "expected a 0x-hexadecimal hash")
    if _HASH_PATTERN.fullmatch(value) is None:
        raise OutOfRange(path, "expected 0x and 64 lower-case hexadecimal digits")
    return bytes.fromhex(value[2:])


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MessageError("", "a key appears twice in one object")
    return value


def _refuse_constant(text: str) -> object:
    raise OutOfRange("", f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise OutOfRange("", f"{text[:32]} is too large a number")
    return value


def _refuse_depth(raw: bytes, limit: int) -> None:
    """Refuse a JSON text that is nested too deep before it is parsed.

    The parser recurses in C: where the recursion limit was raised, depth would overflow its stack
    and end the process.
    """
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            raise OutOfRange("", f"nested deeper than {limit} levels")


def _depth_within(value: object, limit: int) -> bool:
    """Tell whether nesting is at most ``limit``; without recursion, so that depth cannot hurt."""
    level = [value]
    for _ in range(limit + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        if not inner:
            return True
        level = inner
    return False


def _refuse_surrogates(value: object) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
                raise OutOfRange("", "a text holds half a surrogate pair")
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
