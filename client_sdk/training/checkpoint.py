"""Checkpoints on disk: ``checkpoint.safetensors`` and ``state.json`` in a folder, never pickle.

``state.json`` is ``{"schema", "state_hash", "state"}``; the state hash is taken over the tensors
(element types, shapes, raw little-endian bytes) and over ``state``, so that it can be
recomputed from the two files alone, without torch.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from client_sdk.protocol.checkpoint import RECORD_NAME, STATE_NAME, STATE_SCHEMA, TENSORS_NAME
from client_sdk.protocol.trace import state_hash
from client_sdk.training.errors import (
    CheckpointBrokenError,
    CheckpointMismatchError,
    OutputWriteError,
    UnsupportedValueError,
)
from client_sdk.training.state import CapturedState, restore_module

# Element types that both a state hash and a safetensors file have a name for.
DTYPE_NAMES = {
    getattr(torch, name): name
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    )
}


def to_cpu(captured: CapturedState) -> CapturedState:
    """The same state with plain, contiguous tensors in main memory that share no storage.

    Tensors that are so already are not copied: write them before training goes on.

    Raises
    ------
    UnsupportedValueError
        For sparse, quantised or meta tensors, and types that safetensors has no name for.
    """
    seen: set[int] = set()
    tensors = {}
    for name, tensor in captured.tensors.items():
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype not in DTYPE_NAMES:
            raise UnsupportedValueError(name, f"{tensor.layout} tensor of {tensor.dtype}")
        plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
        if plain.numel() and plain.untyped_storage().data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        tensors[name] = plain
    return CapturedState(tensors, captured.tree)


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """View of a contiguous CPU tensor's bytes; no copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def hash_state(captured: CapturedState) -> bytes:
    """State hash of a state whose tensors went through `to_cpu`; 32 bytes."""
    return state_hash(_entries(captured.tensors), captured.tree)


def size_of(captured: CapturedState) -> int:
    """Bytes of all tensors."""
    return sum(tensor.nbytes for tensor in captured.tensors.values())


def write_folder(
    folder: Path, captured: CapturedState, digest: bytes, record: Mapping[str, Any] | None
) -> None:
    """Write a checkpoint so that `folder` is either complete or absent, also after a kill.

    Parameters
    ----------
    folder
        Where it will lie; replaced when there is one.
    captured
        State that went through `to_cpu`.
    digest
        Its state hash.
    record
        Content of ``record.json``, or None for no such file.

    Raises
    ------
    OutputWriteError
        When the disk or the number of files is at its limit.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        save_file(captured.tensors, unfinished / TENSORS_NAME)
        _sync(unfinished / TENSORS_NAME)
        document = {
            "schema": STATE_SCHEMA,
            "state_hash": f"0x{digest.hex()}",
            "state": captured.tree,
        }
        write_json(unfinished / STATE_NAME, document)
        if record is not None:
            write_json(unfinished / RECORD_NAME, record)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OutputWriteError(f"{folder.name} cannot be written: {error}") from error


def read_folder(folder: Path) -> tuple[CapturedState, bytes]:
    """Read a checkpoint and the state hash that its file names.

    The hash is not recomputed here: whoever restores the state compares it with the hash of what
    was restored, which covers a broken file as well.

    Raises
    ------
    CheckpointBrokenError
        When a file is missing, cut short, or of another schema.
    """
    try:
        document = json.loads((folder / STATE_NAME).read_bytes())
        # Cloned, because the loaded tensors are views of the file, with the file's alignment.
        tensors = {n: t.clone() for n, t in load_file(folder / TENSORS_NAME).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointBrokenError(f"the checkpoint cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != STATE_SCHEMA:
        raise CheckpointBrokenError(f"{STATE_NAME} is not of schema {STATE_SCHEMA}")
    try:
        digest = bytes.fromhex(document["state_hash"].removeprefix("0x"))
        return CapturedState(tensors, dict(document["state"])), digest
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointBrokenError(f"{STATE_NAME} is not complete: {error}") from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON and make it durable."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, separators=(",", ":"), allow_nan=False)
        file.flush()
        os.fsync(file.fileno())


def _entries(
    tensors: Mapping[str, torch.Tensor],
) -> Iterator[tuple[str, str, tuple[int, ...], memoryview]]:
    for name, tensor in tensors.items():
        yield name, DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), raw_bytes(tensor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_model(model: nn.Module, path: Path, *, name: str = "model") -> None:
    """Load a module's parameters and buffers from a checkpoint, for evaluation.

    Parameters
    ----------
    model
        A module built like the one that was trained. Its train/eval flags become those of the
        checkpoint: call ``model.eval()`` afterwards.
    path
        The checkpoint's folder, or a file in it.
    name
        Name under which the module was given to the run.

    Raises
    ------
    CheckpointBrokenError, CheckpointMismatchError
        When the checkpoint cannot be read or is of another model.
    """
    saved, _ = read_folder(path if path.is_dir() else path.parent)
    if name not in saved.tree["modules"]:
        raise CheckpointMismatchError(f"the checkpoint holds no module {name!r}")
    restore_module(model, name, saved.tree["modules"][name], saved.tensors)
