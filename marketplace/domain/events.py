"""A contract event as the market keeps it: plain JSON values, and where on the chain it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

CHALLENGES: Final = ("Challenged", "DataDemanded")
"""Events that open a dispute, or point an open one at a lower segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event.

    In ``args``, addresses and hashes are lower-case 0x-hex, amounts are decimal text, and ``terms``
    is the JSON form of the protocol's terms.
    """

    name: str
    args: Mapping[str, Any]
    block_number: int
    block_hash: str
    block_at: datetime
    tx_hash: str
    log_index: int

    @property
    def lease_id(self) -> str | None:
        """Id of the lease that the event is about, if any."""
        value = self.args.get("lease_id")
        return str(value) if value is not None else None

    @property
    def is_demand(self) -> bool:
        """Whether it is a demand for data: what a challenge is but for its claim."""
        return self.name == "DataDemanded"

    @property
    def challenger(self) -> str:
        """Account that put up the bond of one of ``CHALLENGES``."""
        return self.text("demander" if self.is_demand else "challenger")

    @property
    def place(self) -> tuple[int, int]:
        """Block number and position in the block: the order of all events."""
        return self.block_number, self.log_index

    def amount(self, key: str) -> int:
        """Return an amount in the token's smallest unit."""
        return int(self.args[key])

    def text(self, key: str) -> str:
        """Return an address or a hash."""
        return str(self.args[key])
