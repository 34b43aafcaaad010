"""Reading a job spec so that every problem is found, said once, and comes with what to do.

Unlike :mod:`client_sdk.protocol.wire`, which stops at the first fault of a stranger's message, this
goes on after a fault: a person wrote the spec and wants to mend it in one go.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeVar

from client_sdk.protocol.errors import Problem, UnitError
from client_sdk.protocol.units import parse_duration, parse_size
from client_sdk.protocol.wire import type_name

E = TypeVar("E", bound=StrEnum)

#: What other tools call the keys; difflib would not find these.
SYNONYMS: Final[Mapping[str, str]] = {
    "accelerators": "resources.gpu and resources.gpu_count",
    "command": "entry",
    "commands": "entry",
    "run": "entry",
    "script": "entry",
    "workdir": "code",
    "working_dir": "code",
    "envs": "env",
    "environment": "env",
    "file_mounts": "data",
    "volumes": "data",
    "mounts": "data",
    "setup": "image",
    "packages": "image",
    "requirements": "image",
    "timeout": "max_duration",
    "duration": "max_duration",
    "price": "budget",
    "max_price": "budget",
    "cpus": "cpu",
    "mem": "memory",
    "ram": "memory",
    "gpus": "gpu_count",
    "num_gpus": "gpu_count",
    "disk_size": "disk",
}


class Section:
    """One mapping of the spec; remembers its problems in the list that all sections share."""

    def __init__(
        self, value: object, path: str, keys: Sequence[str], problems: list[Problem]
    ) -> None:
        self.path = path
        self._keys = keys
        self._problems = problems
        self._value: Mapping[object, object] = {}
        if not isinstance(value, dict):
            self._add(
                path,
                f"expected a mapping, got {type_name(value)}",
                f"give it the keys {', '.join(keys)}",
            )
            return
        self._value = value
        for key in value:
            if key not in keys:
                self._unknown(key)

    def at(self, key: str) -> str:
        """Return the path of ``key``."""
        return f"{self.path}.{key}" if self.path else key

    def problem(self, key: str, message: str, suggestion: str = "") -> None:
        """Remember a problem with ``key``."""
        self._add(self.at(key), message, suggestion)

    def given(self, key: str) -> bool:
        """Tell whether ``key`` has a value."""
        return self._value.get(key) is not None

    def require(self, key: str, suggestion: str) -> None:
        """Remember a problem when ``key`` has no value."""
        if not self.given(key):
            self.problem(key, "missing", suggestion)

    def section(self, key: str, keys: Sequence[str]) -> Section:
        """Return the mapping under ``key``; an empty one when it is not given."""
        value = self._value[key] if self.given(key) else {}
        return Section(value, self.at(key), keys, self._problems)

    def text(
        self,
        key: str,
        default: str = "",
        *,
        pattern: re.Pattern[str] | None = None,
        hint: str = "",
        max_length: int = 4096,
    ) -> str:
        """Return a text; ``hint`` says how a value looks that ``pattern`` accepts."""
        if not self.given(key):
            return default
        text = self._text(self._value[key], self.at(key), max_length)
        if text is not None and pattern is not None and pattern.fullmatch(text) is None:
            self.problem(key, f"{text[:60]!r} cannot be used here", hint)
            return default
        return default if text is None else text

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        if not self.given(key):
            return default
        value = self._value[key]
        if isinstance(value, bool) or not isinstance(value, int):
            shown = f" {value[:40]!r}" if isinstance(value, str) else ""
            self.problem(
                key,
                f"expected a whole number, got {type_name(value)}{shown}",
                f"write a number from {low} to {high}, without quotes",
            )
            return default
        if not low <= value <= high:
            self.problem(key, f"{value} is out of range", f"use {low} to {high}")
            return default
        return value

    def size(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a size in bytes."""
        return self._measure(key, default, (low, high), parse_size, "2GiB, 512MiB or 10GB")

    def duration(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a duration in seconds."""
        return self._measure(key, default, (low, high), parse_duration, "90s, 30m, 1h30m or 7d")

    def choice(self, key: str, kind: type[E], default: E) -> E:
        """Return one of the values of an enumeration."""
        if not self.given(key):
            return default
        text = self._text(self._value[key], self.at(key), 64)
        values = [member.value for member in kind]
        if text is None:
            return default
        if text not in values:
            close = difflib.get_close_matches(text.lower(), values, 1)
            suggestion = f"did you mean {close[0]}?" if close else f"use {' or '.join(values)}"
            self.problem(key, f"{text!r} is not known", suggestion)
            return default
        return kind(text)

    def texts(self, key: str, *, max_items: int, max_length: int = 4096) -> tuple[str, ...]:
        """Return a list of texts."""
        if not self.given(key):
            return ()
        value = self._value[key]
        if not isinstance(value, list | tuple):
            self.problem(key, f"expected a list, got {type_name(value)}", "write [a, b]")
            return ()
        if len(value) > max_items:
            self.problem(key, f"{len(value)} items", f"at most {max_items} are possible")
            return ()
        texts = [
            self._text(item, f"{self.at(key)}[{i}]", max_length) for i, item in enumerate(value)
        ]
        return tuple(text for text in texts if text is not None)

    def mapping(
        self, key: str, *, names: re.Pattern[str], hint: str, max_items: int, max_length: int = 4096
    ) -> dict[str, str]:
        """Return a mapping of texts to texts whose every key ``names`` accepts."""
        if not self.given(key):
            return {}
        value = self._value[key]
        if not isinstance(value, dict):
            self.problem(key, f"expected a mapping, got {type_name(value)}", "write name: value")
            return {}
        if len(value) > max_items:
            self.problem(key, f"{len(value)} entries", f"at most {max_items} are possible")
            return {}
        found: dict[str, str] = {}
        for name, item in value.items():
            path = f"{self.at(key)}.{name}"
            if not isinstance(name, str) or names.fullmatch(name) is None:
                self._add(path, f"{str(name)[:60]!r} cannot be a name here", hint)
                continue
            text = self._text(item, path, max_length)
            if text is not None:
                found[name] = text
        return found

    def _measure(
        self,
        key: str,
        default: int,
        bounds: tuple[int, int],
        parse: Callable[[str], int],
        example: str,
    ) -> int:
        if not self.given(key):
            return default
        value = self._value[key]
        if not isinstance(value, str):
            self.problem(
                key, f"expected text with a unit, got {type_name(value)}", f"write {example}"
            )
            return default
        try:
            measure = parse(value.strip())
        except UnitError as error:
            self.problem(key, str(error), f"write {example}")
            return default
        if not bounds[0] <= measure <= bounds[1]:
            less = measure < bounds[0]
            self.problem(
                key, f"{value} is too {'small' if less else 'large'}", "nobody can run that"
            )
            return default
        return measure

    def _text(self, value: object, path: str, max_length: int) -> str | None:
        if isinstance(value, str):
            if len(value) > max_length:
                self._add(path, f"{len(value)} characters", f"at most {max_length} are possible")
                return None
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                self._add(path, "holds a character that no program can be given")
                return None
            return value
        quotable = isinstance(value, int | float) and not isinstance(value, bool)
        shown = value if quotable else str(value).lower() if isinstance(value, bool) else None
        suggestion = f'quote it: "{shown}"' if shown is not None else "write plain text"
        self._add(path, f"expected text, got {type_name(value)}", suggestion)
        return None

    def _unknown(self, key: object) -> None:
        name = str(key)[:64]
        if key == "seed":
            message = "a seed cannot be chosen"
            suggestion = (
                "remove it: it comes from public randomness after the lease is open, so that "
                "nobody can choose the outcome"
            )
        else:
            message = "unknown key"
            close = difflib.get_close_matches(name.lower(), self._keys, 1)
            meant = SYNONYMS.get(name.lower()) if not close else close[0]
            suggestion = f"did you mean {meant}?" if meant else f"known: {', '.join(self._keys)}"
        self._add(self.at(name), message, suggestion)

    def _add(self, path: str, message: str, suggestion: str = "") -> None:
        self._problems.append(Problem(path, message, suggestion))
