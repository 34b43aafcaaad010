"""Checkpoints read outside the sandbox, as what they are: bytes that a stranger's program wrote.

*Covered:* sizes, the safetensors header (types, shapes, gaps, overlaps), JSON bounds, and that the
state hash is that of the bytes. *Not covered:* whether training can resume from the state; the
runtime checks that in its sandbox.

Nothing here imports torch, and no tensor is copied: hashing reads the mapped file.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from client_sdk.protocol.canonical import parse_json
from client_sdk.protocol.checkpoint import STATE_NAME, STATE_SCHEMA, TENSORS_NAME
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.statehash import StateHasher

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_STATE_BYTES: Final = 16 * 1024 * 1024
_MAX_TENSORS: Final = 1_000_000
_TYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Names of element types: in safetensors, and in the protocol."""


class BadCheckpoint(ValueError):
    """The checkpoint is not one."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def checkpoint_hash(folder: Path) -> bytes:
    """Compute the state hash of a checkpoint folder from its bytes.

    Parameters
    ----------
    folder:
        Holds ``checkpoint.safetensors`` and ``state.json``; what the latter says the hash is plays
        no part.

    Raises
    ------
    BadCheckpoint
        A file is missing, malformed or too large.
    """
    try:
        state = _read_state(folder / STATE_NAME)
        return _hash_tensors(folder / TENSORS_NAME, state)
    except OSError as error:
        raise BadCheckpoint(f"a file cannot be read: {error.strerror}") from error
    except (ProtocolError, ValueError, RecursionError) as error:
        raise BadCheckpoint(str(error)) from error


def _read_state(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_STATE_BYTES:
        raise BadCheckpoint(f"{STATE_NAME} is larger than {MAX_STATE_BYTES} bytes")
    document = parse_json(path.read_bytes(), max_bytes=MAX_STATE_BYTES)
    if not isinstance(document, dict) or document.get("schema") != STATE_SCHEMA:
        raise BadCheckpoint(f"{STATE_NAME} is not of schema {STATE_SCHEMA}")
    state = document.get("state")
    if not isinstance(state, dict):
        raise BadCheckpoint(f"{STATE_NAME} holds no state")
    return state


def _hash_tensors(path: Path, state: dict[str, Any]) -> bytes:
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < 8:
            raise BadCheckpoint(f"{TENSORS_NAME} is cut short")
        # Never closed by hand: an error on its way out may still hold a view of it.
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        header_bytes = int.from_bytes(view[:8], "little")
        if header_bytes > min(MAX_HEADER_BYTES, size - 8):
            raise BadCheckpoint(f"the header of {TENSORS_NAME} is too large")
        start = 8 + header_bytes
        return _digest(_parse_header(bytes(view[8:start]), size - start), view[start:], state)


def _digest(tensors: list[_Tensor], data: memoryview, state: dict[str, Any]) -> bytes:
    hasher = StateHasher(state)
    for tensor in sorted(tensors, key=lambda item: item.name.encode()):
        # A size that does not fit shape and type is refused by the hasher.
        hasher.add(tensor.name, _TYPES[tensor.dtype], tensor.shape, data[tensor.start : tensor.end])
    return hasher.digest()


def _parse_header(header: bytes, data_bytes: int) -> list[_Tensor]:
    """Read the header; its tensors must cover the data exactly, without gap or overlap."""
    document = parse_json(header, max_bytes=MAX_HEADER_BYTES)
    if not isinstance(document, dict) or len(document) > _MAX_TENSORS:
        raise BadCheckpoint(f"the header of {TENSORS_NAME} is not an object of tensors")
    tensors = [
        _parse_tensor(name, value) for name, value in document.items() if name != "__metadata__"
    ]
    position = 0
    for tensor in sorted(tensors, key=lambda item: (item.start, item.end)):
        if tensor.start != position:
            raise BadCheckpoint(f"tensor {tensor.name[:80]!r} does not start where another ends")
        position = tensor.end
    if position != data_bytes:
        raise BadCheckpoint(f"{TENSORS_NAME} has {data_bytes} bytes of data, not {position}")
    return tensors


def _parse_tensor(name: str, value: object) -> _Tensor:
    try:
        assert isinstance(value, dict)
        dtype, shape = value["dtype"], value["shape"]
        start, end = value["data_offsets"]
        if not all(type(item) is int and item >= 0 for item in (*shape, start, end)):
            raise ValueError("negative or no whole number")
        if end < start or dtype not in _TYPES:
            raise ValueError("negative size or unknown type")
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"tensor {name[:80]!r} is malformed: {error!r}") from error
    return _Tensor(name, dtype, tuple(shape), start, end)
