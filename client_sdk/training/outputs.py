"""Files that a script hands back besides its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from client_sdk.training.errors import OptionError, OutputWriteError


def write_output(folder: Path, name: str, value: Any) -> Path:
    """Write `value` to ``folder/name`` through a temporary name.

    Parameters
    ----------
    folder
        The outputs folder.
    name
        Relative path without ``..``.
    value
        A dictionary of tensors (written as safetensors), text, bytes, or a JSON value.

    Raises
    ------
    OptionError
        When the name leads outside, or the value has no form for a file.
    OutputWriteError
        When the disk is full.
    """
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise OptionError(f"output name {name!r} must be a relative path below the outputs folder")
    content = _content(name, value)
    path = folder / relative
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.rename(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OutputWriteError(f"output {name} cannot be written: {error}") from error
    return path


def _content(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    try:
        if isinstance(value, dict) and any(isinstance(v, torch.Tensor) for v in value.values()):
            return save({key: tensor.detach().cpu().contiguous() for key, tensor in value.items()})
        return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
    except (AttributeError, TypeError, ValueError, SafetensorError) as error:
        raise OptionError(f"output {name}: {error}") from error
