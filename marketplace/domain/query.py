"""The search query: Vast.ai's grammar, as renters of GPUs already know it.

A query is a row of clauses, all of which an offer must meet::

    gpu_name=RTX_4090 num_gpus>=2 dph<0.8 region in [eu-west,eu-north] isolation!=weak

Operators are ``= == != > >= < <= eq neq gt gte lt lte in notin``; underscores in a value stand for
spaces; quotes keep spaces; ``field=any`` drops a clause. An order is ``dph`` (rising) or ``dph-``
(falling), several separated by commas.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from marketplace.domain.fields import FIELDS, Field, FieldKind

MAX_QUERY_CHARS: Final = 2_000
MAX_CLAUSES: Final = 40


class QueryError(ValueError):
    """The query cannot be read."""


class Operator(StrEnum):
    """How a clause compares."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    NOT_IN = "notin"


_WORDS: Final = {
    "==": Operator.EQ,
    "eq": Operator.EQ,
    "neq": Operator.NE,
    "ne": Operator.NE,
    "lt": Operator.LT,
    "lte": Operator.LE,
    "gt": Operator.GT,
    "gte": Operator.GE,
    "not in": Operator.NOT_IN,
    "nin": Operator.NOT_IN,
} | {op.value: op for op in Operator}

_CLAUSE: Final = re.compile(
    r"""\s*(?P<field>[A-Za-z][A-Za-z0-9_]*)
        (?:\s*(?P<sign>==|!=|>=|<=|=|>|<)\s*
          |\s+(?P<word>neq|eq|ne|gte|gt|lte|lt|notin|nin|not\s+in|in)(?=[\s\["'])\s*)
        (?P<value>\[[^\]]*\]|"[^"]*"|'[^']*'|[^\s\[\]"'=<>!][^\s\[\]"']*)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition: a field, an operator and one value, or several for ``in`` and ``notin``."""

    field: str
    operator: Operator
    values: tuple[float | str, ...]

    def __str__(self) -> str:
        """Write the clause as the grammar has it."""
        texts = [v if isinstance(v, str) else f"{v:g}" for v in self.values]
        if self.operator in (Operator.IN, Operator.NOT_IN):
            return f"{self.field} {self.operator} [{','.join(texts)}]"
        return f"{self.field}{self.operator}{texts[0]}"


@dataclass(frozen=True, slots=True)
class SortKey:
    """One field to sort by."""

    field: str
    falling: bool


def parse_query(text: str) -> tuple[Clause, ...]:
    """Read a query.

    Raises
    ------
    QueryError
        A field or an operator is unknown, or a value does not fit its field.
    """
    if len(text) > MAX_QUERY_CHARS:
        raise QueryError(f"a query has at most {MAX_QUERY_CHARS} characters")
    clauses: list[Clause] = []
    position = 0
    while text[position:].strip():
        match = _CLAUSE.match(text, position)
        if match is None:
            rest = text[position:].strip()[:40]
            raise QueryError(f"cannot read {rest!r}: expected a clause such as num_gpus>=2")
        position = match.end()
        clause = _clause(match)
        if clause is not None:
            clauses.append(clause)
    if len(clauses) > MAX_CLAUSES:
        raise QueryError(f"a query has at most {MAX_CLAUSES} clauses")
    return tuple(clauses)


def parse_order(text: str) -> tuple[SortKey, ...]:
    """Read an order such as ``num_gpus-,dph``.

    Raises
    ------
    QueryError
        A field is unknown.
    """
    keys = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name = part.rstrip("+-")
        keys.append(SortKey(find_field(name).name, falling=part.endswith("-")))
    if len(keys) > MAX_CLAUSES:
        raise QueryError(f"an order has at most {MAX_CLAUSES} fields")
    return tuple(keys)


def find_field(name: str) -> Field:
    """Return the field of this name or alias, or say which one may be meant."""
    field = FIELDS.get(name.lower())
    if field is None:
        close = difflib.get_close_matches(name.lower(), FIELDS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise QueryError(f"there is no field {name[:40]!r}{hint}")
    return field


def _clause(match: re.Match[str]) -> Clause | None:
    field = find_field(match["field"])
    word = match["sign"] or re.sub(r"\s+", " ", match["word"].lower())
    operator = _WORDS[word]
    raw = match["value"]
    if raw.strip("\"'").lower() in ("any", "*"):
        return None
    many = operator in (Operator.IN, Operator.NOT_IN)
    if raw.startswith("[") != many:
        need = "a list such as [a,b]" if many else "one value"
        raise QueryError(f"{field.name} {operator}: expected {need}, got {raw[:40]}")
    parts = [p.strip() for p in raw[1:-1].split(",")] if many else [raw]
    values = tuple(_value(field, part) for part in parts if part)
    if not values:
        raise QueryError(f"{field.name} {operator}: the list is empty")
    if field.kind is FieldKind.TEXT and operator not in (
        Operator.EQ,
        Operator.NE,
        Operator.IN,
        Operator.NOT_IN,
    ):
        raise QueryError(f"{field.name} is a text: compare it with =, !=, in or notin")
    return Clause(field.name, operator, values)


def _value(field: Field, raw: str) -> float | str:
    text = raw.strip().strip("\"'")
    if field.kind is FieldKind.TEXT:
        return normal_text(text)
    if field.kind is FieldKind.FLAG:
        flags = {"true": 1.0, "1": 1.0, "yes": 1.0, "false": 0.0, "0": 0.0, "no": 0.0}
        if text.lower() not in flags:
            raise QueryError(f"{field.name} is true or false, not {text[:40]!r}")
        return flags[text.lower()]
    try:
        value = float(text)
    except ValueError:
        raise QueryError(f"{field.name} is a number, not {text[:40]!r}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise QueryError(f"{field.name} is a finite number")
    return value


def normal_text(text: str) -> str:
    """Return text as it is compared: lower-case, underscores as spaces."""
    return text.replace("_", " ").strip().lower()
