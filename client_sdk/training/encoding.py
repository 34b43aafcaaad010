"""State dictionaries as JSON plus named tensors, without pickle and without losing a bit.

A value becomes a JSON value in which everything that JSON cannot hold exactly is a tagged
object ``{"$": tag, "v": ...}``:

=========== ==================================================================
tag         value
=========== ==================================================================
``float``   ``float.hex()`` (keeps the sign of zero, infinities and NaN)
``int``     decimal text, for integers beyond 2**53
``tuple``   list of encoded values
``dict``    list of [key, value] pairs in insertion order, for keys that are not all texts
``counter`` same, a ``collections.Counter``
``tensor``  the name under which the tensor lies in the tensor file
``numpy``   same, a numpy array
``bytes``   hex text
=========== ==================================================================
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import torch

from client_sdk.training.errors import CheckpointBrokenError, UnsupportedValueError

# JSON numbers are exact up to here in every reader.
MAX_EXACT_INT = 2**53 - 1

JsonValue = Any


def encode(value: object, path: str, tensors: MutableMapping[str, torch.Tensor]) -> JsonValue:
    """Encode `value`; tensors found inside go into `tensors` under their path.

    Parameters
    ----------
    value
        Anything a ``state_dict()`` may hold.
    path
        Dotted name of the value, used for tensor names and in errors.
    tensors
        Receives every tensor, as it is (not copied, on its own device).

    Raises
    ------
    UnsupportedValueError
        For values that only pickle could write, such as functions.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, torch.Tensor):
        tensors[path] = value
        return {"$": "tensor", "v": path}
    if isinstance(value, np.ndarray):
        return _encode_array(value, path, tensors)
    if isinstance(value, np.generic):
        return encode(value.item(), path, tensors)
    if isinstance(value, int | float | bytes):
        return _encode_plain(value)
    if isinstance(value, Mapping):
        return _encode_mapping(value, path, tensors)
    # Exact types only: a subclass (a named tuple, say) would come back as something else.
    if type(value) is list:
        return [encode(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
    if type(value) is tuple:
        items = [encode(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
        return {"$": "tuple", "v": items}
    raise UnsupportedValueError(path, type(value).__qualname__)


def decode(value: JsonValue, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Turn what `encode` wrote back into the same value.

    Raises
    ------
    CheckpointBrokenError
        When a tag is unknown or a tensor is missing.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: decode(item, tensors) for key, item in value.items()}
    try:
        return _decode_tagged(value["$"], value["v"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointBrokenError(
            f"state.json holds a value that cannot be read: {error}"
        ) from None


def _encode_plain(value: float | bytes) -> JsonValue:
    if isinstance(value, bytes):
        return {"$": "bytes", "v": value.hex()}
    if isinstance(value, float):
        return {"$": "float", "v": float(value).hex()}
    if abs(value) > MAX_EXACT_INT:
        return {"$": "int", "v": str(int(value))}
    return int(value)


def _encode_array(
    value: np.ndarray[Any, Any], path: str, tensors: MutableMapping[str, torch.Tensor]
) -> JsonValue:
    try:
        tensors[path] = torch.from_numpy(np.ascontiguousarray(value))
    except TypeError:
        raise UnsupportedValueError(path, f"numpy array of {value.dtype}") from None
    return {"$": "numpy", "v": path}


def _encode_mapping(
    value: Mapping[Any, Any], path: str, tensors: MutableMapping[str, torch.Tensor]
) -> JsonValue:
    if type(value) not in (dict, OrderedDict, defaultdict, Counter):
        raise UnsupportedValueError(path, type(value).__qualname__)
    if (
        all(isinstance(key, str) for key in value)
        and "$" not in value
        and type(value) is not Counter
    ):
        return {key: encode(item, f"{path}.{key}", tensors) for key, item in value.items()}
    pairs = []
    for key, item in value.items():
        if not isinstance(key, str | int | float | bool | tuple | None):
            raise UnsupportedValueError(f"{path}, key {key!r}", type(key).__qualname__)
        pairs.append([encode(key, path, {}), encode(item, f"{path}.{key}", tensors)])
    return {"$": "counter" if type(value) is Counter else "dict", "v": pairs}


def _decode_tagged(tag: str, value: JsonValue, tensors: Mapping[str, torch.Tensor]) -> Any:
    match tag:
        case "float":
            return float.fromhex(value)
        case "int":
            return int(value)
        case "bytes":
            return bytes.fromhex(value)
        case "tuple":
            return tuple(decode(item, tensors) for item in value)
        case "dict" | "counter":
            pairs = {decode(key, tensors): decode(item, tensors) for key, item in value}
            return Counter(pairs) if tag == "counter" else pairs
        case "tensor":
            return tensors[value]
        case "numpy":
            return tensors[value].numpy()
        case _:
            raise ValueError(f"unknown tag {tag!r}")
