"""The columnar index against a plain loop over the same rows."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.domain.fields import ALL_FIELDS, FieldKind
from marketplace.domain.query import Clause, Operator, SortKey, normal_text, parse_query
from marketplace.search.columns import Columns

MODELS = ("RTX 4090", "H100", "cpu")
REGIONS = ("eu-west", "us-east", "unknown")


def row(digest: str, **values: float | str) -> dict[str, float | str]:
    made: dict[str, float | str] = {
        field.name: "x" if field.kind is FieldKind.TEXT else 0.0 for field in ALL_FIELDS
    }
    return made | {"digest": digest} | values


rows_made = st.lists(
    st.builds(
        lambda model, region, price, gpus: {
            "gpu_name": model, "region": region, "dph": price / 8, "num_gpus": float(gpus),
        },
        st.sampled_from(MODELS), st.sampled_from(REGIONS), st.integers(1, 9), st.integers(0, 4),
    ),
    max_size=40,
).map(lambda made: [row(f"{n:04}", **values) for n, values in enumerate(made)])  # fmt: skip

clauses_made = st.lists(
    st.one_of(
        st.builds(
            lambda op, value: Clause("num_gpus", op, (float(value),)),
            st.sampled_from([o for o in Operator if o not in (Operator.IN, Operator.NOT_IN)]),
            st.integers(0, 4),
        ),
        st.builds(
            lambda field, op, values: Clause(field, op, tuple(normal_text(v) for v in values)),
            st.sampled_from(["gpu_name"]),
            st.sampled_from([Operator.IN, Operator.NOT_IN, Operator.EQ, Operator.NE]),
            st.lists(st.sampled_from([*MODELS, "B200"]), min_size=1, max_size=1),
        ),
        st.builds(
            lambda op, values: Clause("region", op, tuple(values)),
            st.sampled_from([Operator.IN, Operator.NOT_IN]),
            st.lists(st.sampled_from([*REGIONS, "moon"]), min_size=1, max_size=3),
        ),
        st.builds(
            lambda op, values: Clause("dph", op, tuple(v / 8 for v in values)),
            st.sampled_from([Operator.IN, Operator.NOT_IN]),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
        ),
    ),
    max_size=3,
)
orders_made = st.lists(
    st.builds(SortKey, st.sampled_from(["dph", "num_gpus", "region", "gpu_name"]), st.booleans()),
    max_size=2,
)


def holds(clause: Clause, found: Any) -> bool:
    value = normal_text(found) if isinstance(found, str) else found
    first = clause.values[0]
    return {
        Operator.EQ: lambda: value == first,
        Operator.NE: lambda: value != first,
        Operator.LT: lambda: value < first,
        Operator.LE: lambda: value <= first,
        Operator.GT: lambda: value > first,
        Operator.GE: lambda: value >= first,
        Operator.IN: lambda: value in clause.values,
        Operator.NOT_IN: lambda: value not in clause.values,
    }[clause.operator]()


def plain_search(rows: list[Any], clauses: list[Clause], order: list[SortKey]) -> list[str]:
    found = [r for r in rows if all(holds(c, r[c.field]) for c in clauses)]
    found.sort(key=lambda r: r["digest"])
    for key in reversed([*order, SortKey("dph", False)]):
        found.sort(
            key=lambda r: normal_text(r[key.field]) if isinstance(r[key.field], str)
            else r[key.field],
            reverse=key.falling,
        )  # fmt: skip
        if key.falling:
            # A falling sort must keep ties in their order: Python's reverse does.
            continue
    return [str(r["digest"]) for r in found]


@settings(max_examples=150)
@given(rows_made, clauses_made, orders_made, st.integers(0, 50))
def test_when_columns_are_searched_then_the_page_is_that_of_a_plain_loop(
    rows: list[Any], clauses: list[Clause], order: list[SortKey], limit: int
) -> None:
    expected = plain_search(rows, clauses, order)
    page = Columns(rows).search(clauses, order, limit)
    assert page.matched == len(expected)
    assert list(page.digests) == expected[:limit]


def test_when_nothing_matches_then_the_hint_names_the_clause_that_keeps_most_out() -> None:
    columns = Columns([row("a", num_gpus=2.0, dph=1.0), row("b", num_gpus=1.0, dph=1.0)])
    assert columns.explain(parse_query("num_gpus>=1 dph<0.5")) == "without dph<0.5 there would be 2"
    assert columns.explain(parse_query("num_gpus>9 dph<0.5")) == (
        "2 offers, but each is kept out by more than one clause"
    )
    assert Columns([]).explain(parse_query("dph<1")) == "there are no offers at the moment"
