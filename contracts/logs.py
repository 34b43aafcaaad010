"""Raw logs of an untrusted node, and their parameters by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.codec import BadChainData, Item, decode


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """One raw log of a receipt or of `eth_getLogs`, its fields already checked for type and
    length.
    """

    address: str
    topics: Sequence[bytes]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int
    """Position in the block: `(block_hash, log_index)` is unique."""


def event_values(item: Item, log: Log) -> dict[str, Any]:
    """Decode a log's parameters, by name in snake case.

    Raises
    ------
    BadChainData
        The log's content does not fit the event.
    """
    indexed = [
        kind for kind, is_indexed in zip(item.inputs, item.indexed, strict=True) if is_indexed
    ]
    plain = [
        kind for kind, is_indexed in zip(item.inputs, item.indexed, strict=True) if not is_indexed
    ]
    if len(log.topics) != 1 + len(indexed):
        raise BadChainData(f"{item.name} with {len(log.topics)} topics")
    from_topics = iter(
        decode((kind,), topic)[0] for kind, topic in zip(indexed, log.topics[1:], strict=True)
    )
    from_data = iter(decode(plain, log.data))
    return {
        snake_case(name): next(from_topics if is_indexed else from_data)
        for name, is_indexed in zip(item.input_names, item.indexed, strict=True)
    }


def snake_case(name: str) -> str:
    """`maxPricePerHour` -> `max_price_per_hour`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
