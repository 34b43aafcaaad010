"""Canonical bytes and strict reading of JSON."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.canonical import (
    MAX_DEPTH,
    blake3_digest,
    canonical_digest,
    canonical_json,
    hash_from_hex,
    parse_json,
    to_hex,
)
from client_sdk.protocol.errors import CanonicalError, MessageError, OutOfRange, WrongType

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    # A larger whole number is written without an exponent and would come back as an integer.
    | st.floats(-(2**53), 2**53, exclude_min=True, exclude_max=True)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_when_the_example_of_the_standard_is_given_then_its_bytes_come_out():
    # RFC 8785, section 3.2.2 and 3.2.3
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\x0f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert canonical_json(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@given(JSON)
def test_when_canonical_bytes_are_read_then_they_are_written_alike_again(value):
    data = canonical_json(value)
    assert canonical_json(parse_json(data)) == data
    assert canonical_digest(value) == blake3_digest(data)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**53, b"bytes", {1: "key"}, {"\ud800": 1}, "\udfff", object(), {1, 2}],
)
def test_when_a_value_has_no_canonical_form_then_it_is_refused(value):
    with pytest.raises(CanonicalError):
        canonical_json(value)


def test_when_a_value_is_nested_too_deep_then_it_is_refused():
    assert canonical_json(nested(MAX_DEPTH)) == b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH
    with pytest.raises(CanonicalError, match="deeper"):
        canonical_json(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1,"a":2}', "twice"),
        ("NaN", "not a JSON number"),
        ("[-Infinity]", "not a JSON number"),
        ("1e999", "too large"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ('[["\\ud800"]]', "surrogate"),
        ("{", "not valid JSON"),
        ("1" * 5000, "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ("\ud800", "not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "deeper"),
        (json.dumps(nested(MAX_DEPTH + 1)), "deeper"),
    ],
)
def test_when_json_is_hostile_then_it_is_refused(text, reason):
    with pytest.raises(MessageError, match=reason):
        parse_json(text)


def test_when_json_is_larger_than_the_bound_then_it_is_refused():
    assert parse_json("[1]", max_bytes=3) == [1]
    with pytest.raises(OutOfRange, match="largest"):
        parse_json('"€"', max_bytes=4)


def test_when_text_is_not_ascii_then_it_is_kept():
    assert parse_json('{"é": ["\\ud83d\\ude00"]}') == {"é": ["\U0001f600"]}


@pytest.mark.parametrize("value", ["0x12", "12" * 32, "0x" + "AB" * 32, "0x" + "zz" * 32, ""])
def test_when_a_hash_is_misspelt_then_it_is_refused(value):
    with pytest.raises(OutOfRange):
        hash_from_hex(value, "root")
    assert hash_from_hex(to_hex(bytes(32))) == bytes(32)


def test_when_a_hash_is_not_text_then_its_type_is_refused():
    with pytest.raises(WrongType) as caught:
        hash_from_hex(5, "root")
    assert caught.value.path == "root"
