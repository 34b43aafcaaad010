"""The contract that rows belong to, and the conditions that keep queries to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """One contract on one chain."""

    chain_id: int
    contract: str
    """Address, lower-case."""

    @property
    def key(self) -> dict[str, Any]:
        """The key columns of the contract's rows."""
        return {"chain_id": self.chain_id, "contract": self.contract}

    def of(self, model: Any) -> tuple[Any, Any]:
        """Return the conditions that keep a query to this contract."""
        return model.chain_id == self.chain_id, model.contract == self.contract

    def id(self, *key: object) -> tuple[object, ...]:
        """Return the primary key of one of the contract's rows."""
        return self.chain_id, self.contract, *key
