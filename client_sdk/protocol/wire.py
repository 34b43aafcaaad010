"""Strict reading of JSON objects that strangers wrote.

Every key is read once with its type and bounds; :meth:`Reader.finish` refuses what is left over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from client_sdk.protocol.canonical import MAX_SAFE_INTEGER, hash_from_hex
from client_sdk.protocol.errors import MissingKey, OutOfRange, UnknownKey, WrongSchema, WrongType

JsonObject = dict[str, object]
T = TypeVar("T")

#: Decimal text of an integer that JSON numbers cannot carry; no sign, no leading zero.
_AMOUNT: Final = re.compile(r"0|[1-9][0-9]{0,77}")
#: Longest text accepted where the caller states no other bound, in characters.
MAX_TEXT: Final = 4096
#: Longest list accepted where the caller states no other bound.
MAX_ITEMS: Final = 4096


class Reader:
    """One JSON object on its way to becoming a message."""

    __slots__ = ("_left", "_value", "path")

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise WrongType(path, f"expected an object, got {type_name(value)}")
        self.path = path
        self._value: dict[str, object] = value
        self._left = set(value)

    def at(self, key: str) -> str:
        """Return the path of ``key``."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Tell whether ``key`` is there and not ``null``; a ``null`` counts as read."""
        if self._value.get(key) is None:
            self._left.discard(key)
            return False
        return True

    def raw(self, key: str) -> object:
        """Return the value of a required key as it is."""
        if key not in self._value:
            raise MissingKey(self.at(key), "missing")
        self._left.discard(key)
        return self._value[key]

    def schema(self, expected: str) -> None:
        """Require the ``schema`` key to name this kind and version of message."""
        found = self.raw("schema")
        if found != expected:
            shown = found[:64] if isinstance(found, str) else type_name(found)
            raise WrongSchema(self.at("schema"), f"expected {expected}, got {shown}")

    def text(
        self,
        key: str,
        *,
        max_length: int = MAX_TEXT,
        min_length: int = 0,
        pattern: re.Pattern[str] | None = None,
    ) -> str:
        """Return a text of bounded length that matches ``pattern`` as a whole."""
        value = self.raw(key)
        return check_text(value, self.at(key), max_length, min_length, pattern)

    def integer(self, key: str, *, low: int = 0, high: int = MAX_SAFE_INTEGER) -> int:
        """Return an integer that is written as a JSON number."""
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongType(self.at(key), f"expected a whole number, got {type_name(value)}")
        if not low <= value <= high:
            raise OutOfRange(self.at(key), f"expected a number from {low} to {high}")
        return value

    def amount(self, key: str, *, bits: int = 256) -> int:
        """Return a non-negative integer of at most ``bits`` that is written as decimal text."""
        value = self.raw(key)
        if not isinstance(value, str):
            raise WrongType(self.at(key), f"expected decimal text, got {type_name(value)}")
        if _AMOUNT.fullmatch(value) is None or int(value) >= 1 << bits:
            raise OutOfRange(self.at(key), f"expected decimal digits below 2**{bits}")
        return int(value)

    def number(self, key: str) -> float:
        """Return a number, whole or not, as a float."""
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongType(self.at(key), f"expected a number, got {type_name(value)}")
        if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
            raise OutOfRange(self.at(key), "expected a number within 2**53")
        return float(value)

    def flag(self, key: str) -> bool:
        """Return a boolean."""
        value = self.raw(key)
        if not isinstance(value, bool):
            raise WrongType(self.at(key), f"expected true or false, got {type_name(value)}")
        return value

    def digest(self, key: str) -> bytes:
        """Return a 32-byte hash that is written as ``0x`` and lower-case hexadecimal digits."""
        return hash_from_hex(self.raw(key), self.at(key))

    def inner(self, key: str) -> Reader:
        """Return a reader of the object under ``key``; the caller finishes it."""
        return Reader(self.raw(key), self.at(key))

    def items(
        self, key: str, read: Callable[[object, str], T], *, max_items: int = MAX_ITEMS
    ) -> tuple[T, ...]:
        """Return a list whose every item ``read(value, path)`` accepts."""
        value = self.raw(key)
        if not isinstance(value, list):
            raise WrongType(self.at(key), f"expected a list, got {type_name(value)}")
        if len(value) > max_items:
            raise OutOfRange(self.at(key), f"{len(value)} items, at most {max_items} are accepted")
        return tuple(read(item, f"{self.at(key)}[{i}]") for i, item in enumerate(value))

    def mapping(
        self, key: str, read: Callable[[object, str], T], *, max_items: int = MAX_ITEMS
    ) -> dict[str, T]:
        """Return an object with free keys whose every value ``read(value, path)`` accepts."""
        value = self.raw(key)
        if not isinstance(value, dict):
            raise WrongType(self.at(key), f"expected an object, got {type_name(value)}")
        if len(value) > max_items:
            raise OutOfRange(self.at(key), f"{len(value)} keys, at most {max_items} are accepted")
        return {
            check_text(name, self.at(key), 256): read(item, f"{self.at(key)}.{name[:64]}")
            for name, item in value.items()
        }

    def finish(self) -> None:
        """Refuse the message when it holds a key that nobody read."""
        for key in sorted(self._left):
            raise UnknownKey(self.at(key[:64]), "unknown key")


def check_text(
    value: object,
    path: str,
    max_length: int = MAX_TEXT,
    min_length: int = 0,
    pattern: re.Pattern[str] | None = None,
) -> str:
    """Return ``value`` when it is a text within the bounds that matches ``pattern`` as a whole."""
    if not isinstance(value, str):
        raise WrongType(path, f"expected text, got {type_name(value)}")
    if not min_length <= len(value) <= max_length:
        raise OutOfRange(path, f"expected {min_length} to {max_length} characters")
    if pattern is not None and pattern.fullmatch(value) is None:
        raise OutOfRange(path, f"expected text of the form {pattern.pattern}")
    return value


def type_name(value: object) -> str:
    """Return the word that JSON has for the type of ``value``."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
