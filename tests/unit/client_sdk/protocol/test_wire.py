"""The strict reader of messages."""

from __future__ import annotations

import re

import pytest

from client_sdk.protocol.errors import (
    MessageError,
    MissingKey,
    OutOfRange,
    UnknownKey,
    WrongSchema,
    WrongType,
)
from client_sdk.protocol.wire import Reader, check_text, type_name


def identity(value, path):
    return value, path


@pytest.mark.parametrize("value", [None, 1, "x", [], True])
def test_when_a_message_is_not_an_object_then_it_is_refused(value):
    with pytest.raises(WrongType, match="expected an object"):
        Reader(value, "order")


def test_when_all_keys_are_read_then_the_message_is_accepted():
    reader = Reader({"schema": "s/1", "a": 1, "b": "5", "c": True, "d": 1.5, "e": None}, "m")
    reader.schema("s/1")
    assert reader.integer("a") == 1
    assert reader.amount("b") == 5
    assert reader.flag("c") is True
    assert reader.number("d") == 1.5
    assert not reader.has("e")
    assert not reader.has("f")
    assert reader.has("a")
    reader.finish()


def test_when_a_key_is_left_over_then_it_is_named():
    reader = Reader({"a": 1, "b": {}}, "m")
    reader.integer("a")
    with pytest.raises(UnknownKey) as caught:
        reader.finish()
    assert caught.value.path == "m.b"
    assert str(caught.value) == "m.b: unknown key"


def test_when_a_key_is_missing_then_it_is_named():
    with pytest.raises(MissingKey) as caught:
        Reader({}).text("name")
    assert caught.value.path == "name"


@pytest.mark.parametrize("schema", ["other/1", 5, None])
def test_when_the_schema_differs_then_the_message_is_refused(schema):
    with pytest.raises(WrongSchema):
        Reader({"schema": schema}).schema("s/1")


@pytest.mark.parametrize("value", [True, "1", 1.0, None])
def test_when_an_integer_has_another_type_then_it_is_refused(value):
    with pytest.raises(WrongType):
        Reader({"n": value}).integer("n")


@pytest.mark.parametrize("value", [-1, 2**53, 11])
def test_when_an_integer_is_out_of_bounds_then_it_is_refused(value):
    with pytest.raises(OutOfRange):
        Reader({"n": value}).integer("n", high=10)


@pytest.mark.parametrize("value", ["-1", "01", "+1", "1.0", "", " 1", "256", "9" * 79, "１"])
def test_when_an_amount_is_misspelt_or_too_large_then_it_is_refused(value):
    with pytest.raises(OutOfRange):
        Reader({"n": value}).amount("n", bits=8)
    assert Reader({"n": "255"}).amount("n", bits=8) == 255


def test_when_an_amount_is_a_number_then_it_is_refused():
    with pytest.raises(WrongType):
        Reader({"n": 5}).amount("n")


@pytest.mark.parametrize(
    ("value", "error"), [("1", WrongType), (True, WrongType), (2**53, OutOfRange)]
)
def test_when_a_number_is_unfit_then_it_is_refused(value, error):
    with pytest.raises(error):
        Reader({"n": value}).number("n")
    assert Reader({"n": 3}).number("n") == 3.0


def test_when_a_flag_is_a_number_then_it_is_refused():
    with pytest.raises(WrongType):
        Reader({"n": 1}).flag("n")


def test_when_text_breaks_a_bound_then_it_is_refused():
    with pytest.raises(WrongType):
        check_text(5, "p")
    with pytest.raises(OutOfRange, match="1 to 2 characters"):
        check_text("abc", "p", 2, 1)
    with pytest.raises(OutOfRange, match="1 to 2 characters"):
        check_text("", "p", 2, 1)
    with pytest.raises(OutOfRange, match="of the form"):
        check_text("a\n", "p", pattern=re.compile("a"))
    assert Reader({"t": "a"}).text("t", pattern=re.compile("a")) == "a"


def test_when_a_list_is_read_then_each_item_knows_its_path():
    reader = Reader({"l": [1, 2]}, "m")
    assert reader.items("l", identity) == ((1, "m.l[0]"), (2, "m.l[1]"))
    with pytest.raises(OutOfRange, match="at most 1"):
        Reader({"l": [1, 2]}).items("l", identity, max_items=1)
    with pytest.raises(WrongType):
        Reader({"l": {}}).items("l", identity)


def test_when_a_mapping_is_read_then_each_value_knows_its_path():
    assert Reader({"m": {"a": 1}}).mapping("m", identity) == {"a": (1, "m.a")}
    with pytest.raises(OutOfRange, match="at most 0"):
        Reader({"m": {"a": 1}}).mapping("m", identity, max_items=0)
    with pytest.raises(WrongType):
        Reader({"m": []}).mapping("m", identity)
    with pytest.raises(OutOfRange):
        Reader({"m": {"k" * 257: 1}}).mapping("m", identity)


def test_when_an_inner_object_is_read_then_its_path_continues():
    inner = Reader({"o": {"x": 1}}, "m").inner("o")
    assert inner.path == "m.o"
    with pytest.raises(MessageError, match=re.escape("m.o.x")):
        inner.finish()


def test_when_a_hash_is_read_then_its_path_is_known():
    with pytest.raises(OutOfRange, match=re.escape("m.h")):
        Reader({"h": "0x"}, "m").digest("h")


def test_when_types_are_named_then_json_words_are_used():
    assert [type_name(v) for v in (None, True, 1, 1.0, "", [], {})] == [
        "null",
        "a boolean",
        "a number",
        "a number",
        "text",
        "a list",
        "an object",
    ]
    assert type_name(b"") == "bytes"


def test_when_an_error_has_no_message_then_its_docstring_is_it():
    assert str(MessageError()) == "This message is malformed."
    assert str(UnknownKey("a")) == "a: A key that this message does not have."
