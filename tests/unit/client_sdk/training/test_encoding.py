"""State dictionaries survive encoding without losing a bit, or are refused by name."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.training.encoding import decode, encode
from client_sdk.training.errors import CheckpointBrokenError, UnsupportedValueError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


def round_trip(value: Any) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    encoded = json.loads(json.dumps(encode(value, "root", tensors), allow_nan=False))
    return decode(encoded, tensors)


@given(PLAIN)
def test_when_a_plain_value_is_encoded_then_it_comes_back_equal(value: Any) -> None:
    assert round_trip(value) == value


@pytest.mark.parametrize("value", [-0.0, math.inf, -math.inf, 5e-324, 0.1, 1e308])
def test_when_a_float_is_encoded_then_its_bits_come_back(value: float) -> None:
    assert round_trip(value).hex() == value.hex()


def test_when_nan_is_encoded_then_nan_comes_back() -> None:
    assert math.isnan(round_trip(math.nan))


def test_when_a_counter_is_encoded_then_a_counter_comes_back() -> None:
    back = round_trip({"milestones": Counter([3, 5, 5])})["milestones"]

    assert back == Counter([3, 5, 5])
    assert isinstance(back, Counter)


def test_when_a_text_key_looks_like_a_tag_then_it_is_kept_apart() -> None:
    assert round_trip({"$": "tuple", "v": [1]}) == {"$": "tuple", "v": [1]}


def test_when_tensors_and_arrays_are_inside_then_they_go_beside_the_json() -> None:
    value = OrderedDict(a=torch.arange(3), b=[np.arange(2.0)], c=np.float64(0.5))
    tensors: dict[str, torch.Tensor] = {}

    encoded = encode(value, "root", tensors)

    assert sorted(tensors) == ["root.a", "root.b.0"]
    back = decode(encoded, tensors)
    assert torch.equal(back["a"], torch.arange(3))
    assert np.array_equal(back["b"][0], np.arange(2.0))
    assert back["c"] == 0.5


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"f": lambda: None}, "root.f"),
        ([object()], "root.0"),
        ({"p": namedtuple("P", "x")(1)}, "root.p"),
        (np.array(["text"]), "root"),
        ({frozenset({1}): 1}, "root"),
    ],
)
def test_when_only_pickle_could_write_a_value_then_it_is_refused_by_name(
    value: Any, path: str
) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        encode(value, "root", {})

    assert caught.value.path.startswith(path)


@pytest.mark.parametrize(
    "broken",
    [
        {"$": "unknown", "v": 1},
        {"$": "float", "v": "no number"},
        {"$": "tensor", "v": "missing"},
        {"$": "float"},
        {"$": "tuple", "v": 3},
    ],
)
def test_when_a_tagged_value_is_broken_then_the_checkpoint_is_called_broken(broken: Any) -> None:
    with pytest.raises(CheckpointBrokenError):
        decode(broken, {})
