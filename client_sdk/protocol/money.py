"""Amounts of a token: integers in its smallest unit, rounded once, the direction in the name.

A quote is per hour, a lease is paid per segment. Where a quantity of seconds is not a whole number
it is taken exactly (as a fraction), so both sides of a comparison round the same value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from client_sdk.protocol.errors import MoneyError
from client_sdk.protocol.terms import Terms

SECONDS_PER_HOUR: Final = 3600
#: Basis points in a whole.
BPS: Final = 10_000
#: Largest amount of any token that the contract can hold for a lease.
MAX_AMOUNT: Final = (1 << 96) - 1
#: Segments whose price a challenge costs. Source: ``LeaseEscrow.challengeBond``.
AUDIT_COST_SEGMENTS: Final = 2

_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,28})(\.[0-9]{1,36})?")

Seconds = int | float | Fraction | Decimal


def parse_decimal(text: str) -> Decimal:
    """Return the value of a decimal text such as ``"5.00"``, exactly.

    Raises
    ------
    MoneyError
        When the text is more than digits with at most one point.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise MoneyError(f"{text[:40]!r} is not an amount: write digits and at most one point")
    return Decimal(text)


def parse_amount(text: str, decimals: int) -> int:
    """Return the smallest units of a decimal text such as ``"5.00"``; exact, never rounded.

    Parameters
    ----------
    text
        Digits with at most one point; no sign, no exponent, no separators.
    decimals
        Decimals of the token, 0 to 36.

    Raises
    ------
    MoneyError
        When the text is not such a number, has more digits than the token, or is too large.
    """
    _check_decimals(decimals)
    amount = Fraction(parse_decimal(text)) * 10**decimals
    if amount.denominator != 1:
        raise MoneyError(f"{text[:40]} has more than the token's {decimals} decimals")
    if amount > MAX_AMOUNT:
        raise MoneyError(f"{text[:40]} is more than a lease can hold")
    return int(amount)


def format_amount(amount: int, decimals: int, *, min_decimals: int = 2) -> str:
    """Return an amount as decimal text, with no digit lost and at least ``min_decimals``."""
    _check_decimals(decimals)
    digits = str(abs(amount)).rjust(decimals + 1, "0")
    cut = len(digits) - decimals
    whole, fraction = digits[:cut], digits[cut:].rstrip("0")
    fraction = fraction.ljust(min(min_decimals, decimals), "0")
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def price_per_segment_up(price_per_hour: int, segment_seconds: Seconds) -> int:
    """Return the price of a segment, rounded up to a whole smallest unit.

    Up, because a price of 0 would make the segment free; the loss to the renter is below one unit a
    segment.
    """
    return _ceil(_seconds(segment_seconds) * _amount(price_per_hour) / SECONDS_PER_HOUR)


def share_down(amount: int, bps: int) -> int:
    """Return a share of ``bps`` / 10000, rounded down as the contract does."""
    if not 0 <= bps <= BPS:
        raise MoneyError(f"a share is 0 to {BPS} basis points, not {bps}")
    return _amount(amount) * bps // BPS


@dataclass(frozen=True, slots=True)
class Split:
    """Where one payment goes; the parts sum to it exactly."""

    to_provider: int
    to_treasury: int
    to_audit_pool: int

    @property
    def total(self) -> int:
        """The payment that was split."""
        return self.to_provider + self.to_treasury + self.to_audit_pool


def split_payment(amount: int, fee_bps: int, audit_bps: int) -> Split:
    """Return the parts of a payment: both shares rounded down, the provider gets the rest.

    Source: ``LeaseEscrow._pay``.
    """
    to_treasury, to_audit_pool = share_down(amount, fee_bps), share_down(amount, audit_bps)
    to_provider = amount - to_treasury - to_audit_pool
    if to_provider < 0:
        raise MoneyError("the shares are more than the payment")
    return Split(to_provider, to_treasury, to_audit_pool)


def challenge_bond(terms: Terms) -> int:
    """Return what a challenger puts up. Source: ``LeaseEscrow.challengeBond``."""
    return AUDIT_COST_SEGMENTS * terms.price_per_segment


def _check_decimals(decimals: int) -> None:
    if not 0 <= decimals <= 36:
        raise MoneyError(f"a token has 0 to 36 decimals, not {decimals}")


def _amount(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MoneyError("an amount is a non-negative integer")
    return value


def _seconds(value: Seconds) -> Fraction:
    try:
        seconds = Fraction(value)
    except (ValueError, OverflowError) as error:
        raise MoneyError("a duration is a finite number of seconds") from error
    if seconds < 0:
        raise MoneyError("a duration is not negative")
    return seconds


def _ceil(value: Fraction) -> int:
    return -int(-value // 1)
