"""A columnar index of offers in memory: one array a field, rows in the order of their price.

Rows are partitioned by GPU model, because nearly every query names one. A scan goes block by block
and stops at the first clause that leaves nothing, so a query is a few vector comparisons. The
database stays the truth; an index is built, never changed.

Deterministic: equal rows and an equal query give an equal page; ties are broken by the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketplace.domain.fields import ALL_FIELDS, FieldKind
from marketplace.domain.query import Clause, Operator, SortKey, normal_text

Row = Mapping[str, float | str]
Mask = NDArray[np.bool_]
_BLOCK_ROWS = 4_096
_PRICE = "dph"
_MODEL = "gpu_name"


@dataclass(frozen=True, slots=True)
class Page:
    """Digests that match, in order, and how many match in all."""

    digests: tuple[str, ...]
    matched: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Offers of one GPU model, cheapest first."""

    numbers: dict[str, NDArray[np.float64]]
    codes: dict[str, NDArray[np.int32]]
    digests: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.digests)


class Columns:
    """An immutable index over rows of offers.

    Parameters
    ----------
    rows
        One mapping an offer, with a value for every field of `marketplace.domain.fields`.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._words: dict[str, dict[str, int]] = {
            f.name: {} for f in ALL_FIELDS if f.kind is FieldKind.TEXT
        }
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(normal_text(str(row[_MODEL])), []).append(row)
        self._parts = {model: self._part(group) for model, group in sorted(groups.items())}

    def __len__(self) -> int:
        """Return the number of offers."""
        return sum(len(part) for part in self._parts.values())

    def search(
        self, clauses: Sequence[Clause], order: Sequence[SortKey] = (), limit: int = 64
    ) -> Page:
        """Return the first offers that meet all clauses.

        Parameters
        ----------
        clauses
            Conditions, all of which must hold.
        order
            Fields to sort by; the price, rising, where it is empty or ties.
        limit
            Most offers of the page.
        """
        parts = self._chosen(clauses)
        rest = [c for c in clauses if not _names_model(c)]
        hits = [(part, self._matching(part, rest)) for part in parts]
        matched = sum(len(rows) for _, rows in hits)
        if limit <= 0 or not matched:
            return Page((), matched)
        if not order or (order[0].field == _PRICE and not order[0].falling):
            # Rows lie in price order already: no more than a page of each part can be on the page.
            hits = [(part, _page_rows(part, rows, limit)) for part, rows in hits]
        return Page(self._ordered(hits, order, limit), matched)

    def explain(self, clauses: Sequence[Clause]) -> str | None:
        """Say which clause keeps everything out, when nothing matches."""
        if not len(self):
            return "there are no offers at the moment"
        best: tuple[int, Clause] | None = None
        for dropped in clauses:
            matched = self.search([c for c in clauses if c is not dropped], limit=0).matched
            if matched and (best is None or matched > best[0]):
                best = (matched, dropped)
        if best is None:
            return f"{len(self)} offers, but each is kept out by more than one clause"
        return f"without {best[1]} there would be {best[0]}"

    def _part(self, rows: list[Row]) -> _Part:
        rows.sort(key=lambda r: (float(r[_PRICE]), str(r["digest"])))
        numbers, codes = {}, {}
        for field in ALL_FIELDS:
            values = [row[field.name] for row in rows]
            if field.kind is FieldKind.TEXT:
                words = self._words[field.name]
                codes[field.name] = np.fromiter(
                    (words.setdefault(normal_text(str(v)), len(words)) for v in values),
                    dtype=np.int32,
                    count=len(values),
                )
            else:
                numbers[field.name] = np.asarray(values, dtype=np.float64)
        digests = np.asarray([str(r["digest"]) for r in rows], dtype=object)
        return _Part(numbers, codes, digests)

    def _chosen(self, clauses: Sequence[Clause]) -> list[_Part]:
        chosen = self._parts
        for clause in clauses:
            if _names_model(clause):
                wanted = clause.operator in (Operator.EQ, Operator.IN)
                chosen = {m: p for m, p in chosen.items() if (m in clause.values) == wanted}
        return list(chosen.values())

    def _matching(self, part: _Part, clauses: Sequence[Clause]) -> NDArray[np.intp]:
        if not clauses:
            return np.arange(len(part), dtype=np.intp)
        found = []
        for start in range(0, len(part), _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, len(part)))
            mask = np.ones(block.stop - block.start, dtype=np.bool_)
            for clause in clauses:
                mask &= self._holds(part, clause, block)
                if not mask.any():
                    break
            found.append(np.flatnonzero(mask) + start)
        return np.concatenate(found) if found else np.empty(0, dtype=np.intp)

    def _holds(self, part: _Part, clause: Clause, block: slice) -> Mask:
        if clause.field in part.codes:
            words = self._words[clause.field]
            wanted = [words.get(str(v), -1) for v in clause.values]
            inside: Mask = np.isin(part.codes[clause.field][block], wanted)
            return ~inside if clause.operator in (Operator.NE, Operator.NOT_IN) else inside
        column = part.numbers[clause.field][block]
        return _compare(column, clause.operator, [float(v) for v in clause.values])

    def _ordered(
        self, hits: list[tuple[_Part, NDArray[np.intp]]], order: Sequence[SortKey], limit: int
    ) -> tuple[str, ...]:
        keys = [*order, SortKey(_PRICE, falling=False)]
        digests = np.concatenate([part.digests[rows] for part, rows in hits])
        columns = [digests.astype(str)]
        for key in reversed(keys):
            column = np.concatenate([self._sortable(part, rows, key) for part, rows in hits])
            columns.append(-column if key.falling else column)
        ranked = np.lexsort(columns)[:limit]
        return tuple(str(d) for d in digests[ranked])

    def _sortable(self, part: _Part, rows: NDArray[np.intp], key: SortKey) -> NDArray[np.float64]:
        if key.field in part.numbers:
            return part.numbers[key.field][rows]
        words = self._words[key.field]
        rank = np.empty(len(words), dtype=np.float64)
        for place, word in enumerate(sorted(words)):
            rank[words[word]] = place
        return rank[part.codes[key.field][rows]]


def _page_rows(part: _Part, rows: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    # Rows of one price may be ordered by a further key, so all of the last price stay in.
    if len(rows) <= limit:
        return rows
    prices = part.numbers[_PRICE]
    last = prices[rows[limit - 1]]
    return rows[: int(np.searchsorted(prices[rows], last, side="right"))]


def _names_model(clause: Clause) -> bool:
    return clause.field == _MODEL


def _compare(column: NDArray[np.float64], operator: Operator, values: Sequence[float]) -> Mask:
    first = values[0]
    if operator is Operator.IN or operator is Operator.NOT_IN:
        inside: Mask = np.isin(column, values)
        return inside if operator is Operator.IN else ~inside
    result: Mask
    if operator is Operator.EQ:
        result = column == first
    elif operator is Operator.NE:
        result = column != first
    elif operator is Operator.LT:
        result = column < first
    elif operator is Operator.LE:
        result = column <= first
    else:
        result = column > first if operator is Operator.GT else column >= first
    return result
