"""Ids of what is not on a chain: a prefix and a ULID.

A ULID is 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that ids sort by
time. Source: github.com/ulid/spec.
"""

from __future__ import annotations

import os
import re
import time
from enum import StrEnum
from typing import Final

from client_sdk.protocol.errors import OutOfRange
from client_sdk.protocol.wire import check_text

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


class IdKind(StrEnum):
    """Prefix of an id: what it names."""

    #: A job.
    JOB = "job"
    #: An order.
    ORDER = "ord"
    #: An attempt to run a job.
    ATTEMPT = "att"
    #: An audit or an arbitration.
    AUDIT = "aud"
    #: A request or an event.
    EVENT = "evt"


def new_id(kind: IdKind, *, at_ms: int | None = None, entropy: bytes | None = None) -> str:
    """Return a new id.

    Parameters
    ----------
    kind
        What it names.
    at_ms
        Unix time in milliseconds; now, when left out.
    entropy
        Ten random bytes; from the system, when left out.
    """
    moment = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    random = os.urandom(10) if entropy is None else entropy
    if not 0 <= moment < 1 << 48 or len(random) != 10:
        raise OutOfRange("", "an id needs 48 bits of time and ten random bytes")
    number = moment << 80 | int.from_bytes(random, "big")
    digits = (_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    return f"{kind}_{''.join(digits)}"


def check_id(value: object, kind: IdKind, path: str = "") -> str:
    """Return ``value`` when it is an id of this kind, and refuse it otherwise."""
    text = check_text(value, path, 64)
    prefix, _, ulid = text.partition("_")
    if prefix != kind or _ULID.fullmatch(ulid) is None:
        raise OutOfRange(path, f"expected an id of the form {kind}_ and 26 letters and digits")
    return text
