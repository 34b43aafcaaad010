"""The hash of a training state.

Preimage: one byte stream, cut into chunks of 4 MiB (the last one shorter), the chunks being the
entries of an RFC 6962 tree with BLAKE3 (:mod:`client_sdk.protocol.merkle`)::

    stream = "gridlease/state/1\\n"
             || u64(len(meta)) || meta                      canonical JSON of the meta object
             || for each tensor, by ascending UTF-8 name:
                  0x01 || u64(len(head)) || head            canonical JSON {"dtype","name","shape"}
                       || u64(len(raw)) || raw              little-endian, C-contiguous elements
             || 0x00 || u64(number of tensors)

Integers are big-endian. ``meta`` holds all that is not a tensor: hyper-parameters of the optimizer,
scheduler, data cursor, step. Every length is written before its bytes, so two different states
cannot have one stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from blake3 import blake3

from client_sdk.protocol.canonical import canonical_json
from client_sdk.protocol.errors import FieldError
from client_sdk.protocol.merkle import root_of_hashes

#: Bytes of one chunk of the stream.
CHUNK_BYTES: Final = 4 << 20
#: Element sizes in bytes by the name of the element type; no other type can be in a state.
ITEM_BYTES: Final[Mapping[str, int]] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint32": 4,
    "int32": 4,
    "uint64": 8,
    "int64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
_TAG: Final = b"gridlease/state/1\n"

Buffer = bytes | bytearray | memoryview
#: Name, element type, shape, raw little-endian C-contiguous bytes.
TensorEntry = tuple[str, str, Sequence[int], Buffer]


def state_hash(tensors: Iterable[TensorEntry], meta: Mapping[str, object]) -> bytes:
    """Return the 32-byte hash of a training state; preimage in the module's text.

    Parameters
    ----------
    tensors
        Entries in any order; each name once. Parameters, buffers, optimizer state and random
        generators, under names that tell them apart.
    meta
        All the rest, as a canonical JSON object.

    Raises
    ------
    FieldError
        When a name comes twice, an element type is unknown, or the bytes do not fit the shape.
    CanonicalError
        When ``meta`` has no canonical JSON.
    """
    hasher = StateHasher(meta)
    for name, dtype, shape, raw in sorted(tensors, key=lambda entry: entry[0].encode()):
        hasher.add(name, dtype, shape, raw)
    return hasher.digest()


class StateHasher:
    """The same hash, fed one tensor at a time, so that a state need not be in memory at once."""

    def __init__(self, meta: Mapping[str, object], *, num_threads: int = 1) -> None:
        """Start with ``meta``; ``num_threads`` of BLAKE3 change the speed, never the hash."""
        self._num_threads = num_threads
        self._chunks: list[bytes] = []
        self._count = 0
        self._last_name: bytes | None = None
        self._start_chunk()
        body = canonical_json(dict(meta))
        self._feed(_TAG + _u64(len(body)) + body)

    def add(self, name: str, dtype: str, shape: Sequence[int], raw: Buffer) -> None:
        """Add the next tensor; names must come in ascending order of their UTF-8 bytes."""
        key = name.encode()
        if self._last_name is not None and key <= self._last_name:
            raise FieldError(name[:64], "tensors must come in ascending order, each name once")
        view = memoryview(raw).cast("B")
        _check_size(name, dtype, shape, len(view))
        self._last_name = key
        self._count += 1
        head = canonical_json({"name": name, "dtype": dtype, "shape": list(shape)})
        self._feed(b"\x01" + _u64(len(head)) + head + _u64(len(view)))
        self._feed(view)

    def digest(self) -> bytes:
        """Finish and return the hash; the hasher cannot be used after."""
        self._feed(b"\x00" + _u64(self._count))
        return root_of_hashes([*self._chunks, self._hasher.digest()])

    def _feed(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            if self._room == 0:
                self._chunks.append(self._hasher.digest())
                self._start_chunk()
            part, view = view[: self._room], view[self._room :]
            self._hasher.update(part)
            self._room -= len(part)

    def _start_chunk(self) -> None:
        self._hasher = blake3(b"\x00", max_threads=self._num_threads)
        self._room = CHUNK_BYTES


def _check_size(name: str, dtype: str, shape: Sequence[int], size: int) -> None:
    if dtype not in ITEM_BYTES:
        raise FieldError(name[:64], f"unknown element type {dtype[:32]}")
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in shape):
        raise FieldError(name[:64], "a shape is made of non-negative integers")
    expected = math.prod(shape) * ITEM_BYTES[dtype]
    if size != expected:
        raise FieldError(name[:64], f"{size} bytes where its shape and type need {expected}")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")
