"""Amounts, rounding, sizes and durations."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.errors import MoneyError, UnitError
from client_sdk.protocol.money import (
    BPS,
    MAX_AMOUNT,
    challenge_bond,
    format_amount,
    parse_amount,
    parse_decimal,
    price_per_segment_up,
    share_down,
    split_payment,
)
from client_sdk.protocol.units import format_duration, format_size, parse_duration, parse_size

AMOUNTS = st.integers(0, MAX_AMOUNT)
SECONDS = st.fractions(min_value=Fraction(1, 1000), max_value=10**6)


@given(AMOUNTS, st.integers(0, 36))
def test_when_an_amount_is_written_then_it_is_read_back_exactly(amount, decimals):
    assert parse_amount(format_amount(amount, decimals), decimals) == amount


@pytest.mark.parametrize(
    ("text", "decimals", "amount"),
    [("5.00", 6, 5_000_000), ("0.000001", 6, 1), ("7", 0, 7), ("1.10", 1, 11), ("0", 18, 0)],
)
def test_when_an_amount_is_read_then_it_is_in_smallest_units(text, decimals, amount):
    assert parse_amount(text, decimals) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".5",
        "5.",
        "-1",
        "+1",
        "1e3",
        "1_000",
        "1,5",
        " 1",
        "01",
        "NaN",
        "1.0000001",
        "１",
        "9" * 30,
    ],
)
def test_when_an_amount_is_misspelt_or_too_fine_then_it_is_refused(text):
    with pytest.raises(MoneyError):
        parse_amount(text, 6)


def test_when_an_amount_is_larger_than_a_lease_then_it_is_refused():
    assert parse_amount(str(MAX_AMOUNT), 0) == MAX_AMOUNT
    with pytest.raises(MoneyError, match="more than a lease"):
        parse_amount(str(MAX_AMOUNT + 1), 0)
    assert parse_decimal("5.50") == Decimal("5.5")


@pytest.mark.parametrize("decimals", [-1, 37])
def test_when_decimals_make_no_sense_then_they_are_refused(decimals):
    with pytest.raises(MoneyError):
        parse_amount("1", decimals)
    with pytest.raises(MoneyError):
        format_amount(1, decimals)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(5_000_000, "5.00"), (1, "0.000001"), (1_500_000, "1.50"), (0, "0.00"), (-250_000, "-0.25")],
)
def test_when_an_amount_is_written_then_people_can_read_it(amount, text):
    assert format_amount(amount, 6) == text


def test_when_a_token_has_no_decimals_then_none_are_written():
    assert format_amount(7, 0) == "7"
    assert format_amount(7_000, 3, min_decimals=0) == "7"


@given(AMOUNTS, SECONDS)
def test_when_a_price_is_rounded_then_it_is_the_next_whole_unit_up(price, seconds):
    exact = price * seconds / 3600
    assert exact <= price_per_segment_up(price, seconds) < exact + 1


def test_when_seconds_are_given_in_any_form_then_the_price_is_the_same():
    forms = [90, 90.0, Decimal(90), Fraction(90)]
    assert {price_per_segment_up(1_000_000, form) for form in forms} == {25_000}
    assert price_per_segment_up(1, 0.5) == 1


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1, Decimal("Infinity")])
def test_when_seconds_make_no_sense_then_no_price_is_made(seconds):
    with pytest.raises(MoneyError):
        price_per_segment_up(1, seconds)


def test_when_a_quantity_makes_no_sense_then_it_is_refused():
    with pytest.raises(MoneyError):
        price_per_segment_up(-1, 1)
    with pytest.raises(MoneyError):
        price_per_segment_up(True, 1)
    with pytest.raises(MoneyError):
        share_down(5, BPS + 1)
    with pytest.raises(MoneyError):
        split_payment(5, 6000, 6000)


@given(AMOUNTS, st.integers(0, 1000), st.integers(0, 2000))
def test_when_a_payment_is_split_then_nothing_is_lost(amount, fee, audit):
    split = split_payment(amount, fee, audit)
    assert split.total == amount
    assert split.to_treasury <= amount * fee / BPS + 1e-9 * amount
    assert min(split.to_provider, split.to_treasury, split.to_audit_pool) >= 0


def test_when_a_challenge_is_priced_then_it_is_as_the_contract_says(make_terms):
    assert challenge_bond(make_terms(price_per_segment=100)) == 200


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 << 30),
        ("512 MiB", 512 << 20),
        ("10GB", 10**10),
        ("1.5kib", 1536),
        ("0B", 0),
        ("0.000001MB", 1),
    ],
)
def test_when_a_size_is_read_then_it_is_in_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["2", "GiB", "2 XB", "-1GiB", "1.5B", "1e3MB", "", "2GiBs", "1..5GiB"]
)
def test_when_a_size_is_misspelt_then_it_is_refused(text):
    with pytest.raises(UnitError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h30m", 5400), ("7d", 604_800), ("90s", 90), ("1d2h3m4s", 93_784), ("0s", 0)],
)
def test_when_a_duration_is_read_then_it_is_in_seconds(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30m1h", "1.5h", "-1s", "1w", "30 m"])
def test_when_a_duration_is_misspelt_then_it_is_refused(text):
    with pytest.raises(UnitError):
        parse_duration(text)


def test_when_measures_are_written_then_people_can_read_them():
    assert [format_size(n) for n in (5, 2048, 1536 << 20, 3 << 40)] == [
        "5B",
        "2KiB",
        "1.5GiB",
        "3TiB",
    ]
    assert [format_duration(n) for n in (0, 61, 5400, 86_400)] == ["0s", "1m1s", "1h30m", "1d"]
