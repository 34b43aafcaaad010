"""The search grammar: what it reads, and how it refuses."""

from __future__ import annotations

import pytest

from marketplace.domain.fields import ALL_FIELDS, FIELDS
from marketplace.domain.query import Clause, Operator, QueryError, SortKey, parse_order, parse_query


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("   ", []),
        ("num_gpus>=2", [Clause("num_gpus", Operator.GE, (2.0,))]),
        ("num_gpus >= 2", [Clause("num_gpus", Operator.GE, (2.0,))]),
        ("num_gpus gte 2", [Clause("num_gpus", Operator.GE, (2.0,))]),
        ("gpu_name=RTX_4090", [Clause("gpu_name", Operator.EQ, ("rtx 4090",))]),
        ('gpu_name == "RTX 4090"', [Clause("gpu_name", Operator.EQ, ("rtx 4090",))]),
        ("gpu_name eq 'RTX 4090'", [Clause("gpu_name", Operator.EQ, ("rtx 4090",))]),
        ("dph_total<0.8", [Clause("dph", Operator.LT, (0.8,))]),
        ("geolocation!=eu-west", [Clause("region", Operator.NE, ("eu-west",))]),
        ("region in [eu_west, us]", [Clause("region", Operator.IN, ("eu west", "us"))]),
        ("region notin [eu]", [Clause("region", Operator.NOT_IN, ("eu",))]),
        ("region not in [eu]", [Clause("region", Operator.NOT_IN, ("eu",))]),
        ("num_gpus in [1,2,4]", [Clause("num_gpus", Operator.IN, (1.0, 2.0, 4.0))]),
        ("replay=true metered=0", [Clause("replay", Operator.EQ, (1.0,)),
                                   Clause("metered", Operator.EQ, (0.0,))]),
        ("gpu_name=any num_gpus=1", [Clause("num_gpus", Operator.EQ, (1.0,))]),
        ("num_gpus>=2 dph<0.8 reliability>0.98", [Clause("num_gpus", Operator.GE, (2.0,)),
                                                  Clause("dph", Operator.LT, (0.8,)),
                                                  Clause("reliability", Operator.GT, (0.98,))]),
    ],
)  # fmt: skip
def test_when_a_query_is_well_formed_then_it_is_read(text: str, clauses: list[Clause]) -> None:
    assert parse_query(text) == tuple(clauses)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("gpu_nam=x", "did you mean 'gpu_name'"),
        ("xyzzy=1", "there is no field"),
        ("num_gpus", "expected a clause"),
        ("num_gpus>=", "expected a clause"),
        ("num_gpus=many", "is a number"),
        ("num_gpus=nan", "finite"),
        ("dph=inf", "finite"),
        ("replay=maybe", "true or false"),
        ("gpu_name>x", "is a text"),
        ("region in eu", "expected a list"),
        ("region=[eu]", "expected one value"),
        ("region in []", "the list is empty"),
        ("num_gpus>=2 ; drop table", "expected a clause"),
        ("x" * 3_000, "at most"),
        ("num_gpus=1 " * 50, "at most"),
    ],
)
def test_when_a_query_is_malformed_then_it_says_how(text: str, part: str) -> None:
    with pytest.raises(QueryError, match=part):
        parse_query(text)


def test_when_an_order_is_read_then_its_direction_is_the_trailing_sign() -> None:
    assert parse_order("num_gpus-, dph") == (SortKey("num_gpus", True), SortKey("dph", False))
    assert parse_order("dph+") == (SortKey("dph", False),)
    assert parse_order("") == ()
    with pytest.raises(QueryError, match="no field"):
        parse_order("score-")


def test_when_a_clause_is_written_then_it_is_read_back_the_same() -> None:
    for text in ("dph<0.8", "region in [eu west,us]", "gpu_name=h100"):
        (clause,) = parse_query(text.replace(" west", "_west"))
        assert str(clause) == text


def test_when_fields_are_listed_then_no_name_stands_for_two() -> None:
    names = [name for field in ALL_FIELDS for name in (field.name, *field.aliases)]
    assert len(names) == len(set(names)) == len(FIELDS)
