"""From the bindings' events to the records that the market keeps."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from client_sdk.protocol.eip712 import members_of
from client_sdk.protocol.terms import Terms
from contracts.events import Event, Opened
from marketplace.domain.events import EventRecord

_PLACE = {"block_number", "block_hash", "tx_hash", "log_index"}


def to_record(event: Event, block_at: datetime) -> EventRecord:
    """Return an event in plain JSON values.

    Parameters
    ----------
    event
        As decoded from the log.
    block_at
        Time of its block.
    """
    args: dict[str, Any] = {}
    for field in dataclasses.fields(event):
        if field.name not in _PLACE:
            args[field.name] = _plain(getattr(event, field.name))
    if isinstance(event, Opened):
        args["terms"] = terms_json(event.terms)
    return EventRecord(
        name=type(event).__name__,
        args=args,
        block_number=event.block_number,
        block_hash=_plain(event.block_hash),
        block_at=block_at,
        tx_hash=_plain(event.tx_hash),
        log_index=event.log_index,
    )


def terms_json(values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the JSON form of terms that come as the contract's tuple."""
    names = [member.attribute for member in members_of(Terms.EIP712_TYPE)]
    return Terms(**dict(zip(names, values, strict=True))).to_json()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    # Amounts are wider than JSON numbers; small integers stay numbers.
    return int(value) if value < 1 << 48 else str(value)
