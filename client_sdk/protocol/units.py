"""Sizes and durations as people write them: ``2GiB``, ``30m``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from client_sdk.protocol.errors import UnitError

_SIZES: Final[Mapping[str, int]] = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_DURATIONS: Final[Mapping[str, int]] = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_SIZE: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))? ?([A-Za-z]{1,3})")
_DURATION: Final = re.compile(
    r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?"
)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``512MiB``, ``1.5GiB`` or ``10GB``.

    Raises
    ------
    UnitError
        When it is not a size, has no unit, or is not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UnitError(f"{text[:40]!r} is not a size")
    units = {unit.lower(): factor for unit, factor in _SIZES.items()}
    factor = units.get(match.group(3).lower())
    if factor is None:
        raise UnitError(f"{match.group(3)!r} is not a unit of size")
    size = Fraction(f"{match.group(1)}.{match.group(2) or 0}") * factor
    if size.denominator != 1:
        raise UnitError(f"{text[:40]!r} is not a whole number of bytes")
    return int(size)


def format_size(num_bytes: int) -> str:
    """Return a size in the largest binary unit that gives a short number."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if num_bytes >= _SIZES[unit]:
            return f"{num_bytes / _SIZES[unit]:.4g}{unit}"
    return f"{num_bytes}B"


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as ``90s``, ``30m``, ``1h30m`` or ``7d``.

    Raises
    ------
    UnitError
        When it is not a duration or has no unit.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise UnitError(f"{text[:40]!r} is not a duration")
    return sum(
        int(count) * factor
        for count, factor in zip(match.groups(default="0"), _DURATIONS.values(), strict=True)
    )


def format_duration(seconds: int) -> str:
    """Return a duration as :func:`parse_duration` reads it, without empty parts."""
    parts: list[str] = []
    for unit, factor in _DURATIONS.items():
        count, seconds = divmod(seconds, factor)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
