"""Depth of JSON from strangers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import plain_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)


@given(VALUES)
def test_when_json_is_honest_then_it_is_parsed(value: object) -> None:
    assert plain_json.parse(json.dumps(value).encode()) == value


def test_when_brackets_are_many_but_flat_then_it_is_parsed() -> None:
    assert plain_json.parse(b"[" + b"{}," * 500 + b"{}]") == [{}] * 501
    text = json.dumps("[{" * 500 + '"').encode()
    assert plain_json.parse(text) == "[{" * 500 + '"'


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 101 + b"]" * 101])
def test_when_it_nests_too_deep_then_it_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="nested deeper"):
        plain_json.parse(content)


def test_when_the_ethereum_libraries_are_loaded_then_deep_json_raises_and_does_not_crash() -> None:
    program = (
        "import eth_account, contracts, json\n"
        "try: json.loads('[' * 200_000)\n"
        "except RecursionError: print('refused')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stdout == "refused\n", run.returncode
