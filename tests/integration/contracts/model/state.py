"""What the model keeps: plain records, and the one way in which a call can fail."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from typing import Any, Self

from client_sdk.protocol.terms import Terms
from contracts.bindings import CloseCause, LeaseStatus


class Refused(Exception):
    """The call must fail with the error of this name, and change nothing."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, arguments)
        self.name = name
        self.arguments = arguments
        """Arguments of the error that must be these; the others are not compared."""


def require(holds: bool, error: str, **arguments: Any) -> None:
    if not holds:
        raise Refused(error, **arguments)


@dataclass
class Listing:
    """One machine of a provider."""

    provider: str
    token: str
    operator: str
    machine_hash: bytes
    hardware_class: bytes
    max_price_per_hour: int
    is_active: bool = True
    capacity: int = 0
    cancelled: frozenset[int] = frozenset()
    """Nonces of terms that were voided."""


@dataclass
class Stake:
    """A provider's deposit in one token; the part in unbonding is in `total` too."""

    total: int = 0
    unbonding: int = 0
    claimable_at: int = 0


@dataclass
class Dispute:
    challenger: str
    disputed_at: int
    lowest_segment: int
    is_demand: bool
    lower_challenger: str | None = None
    is_lower_demand: bool = False

    @property
    def challengers(self) -> list[str]:
        """Everybody whose bond is held."""
        return [self.challenger] + ([self.lower_challenger] if self.lower_challenger else [])


@dataclass
class Lease:
    """A lease that was opened; what it holds in escrow follows from `paid`."""

    terms: Terms
    opened_at: int
    takes_place: bool
    """Whether it counts against its listing's capacity."""

    status: LeaseStatus = LeaseStatus.ACTIVE
    paid: int = 0
    pending: int = 0
    committed_at: int = 0
    stopped_at: int = 0
    root: bytes = bytes(32)
    dispute: Dispute | None = None
    cause: CloseCause | None = None
    order: bytes | None = None
    """Digest of the order under which somebody else opened it for its renter."""

    was_continued: bool = False
    """Whether a lease of the same order goes on where this one ended."""

    is_unretrievable: bool = False
    """Whether checkpoints could not be fetched; then nothing more is committed."""

    is_proven: bool = False
    """Whether fraud was ruled, which happens once."""

    owed: int = 0
    """What a late ruling has still to take for the renter."""

    @property
    def is_live(self) -> bool:
        return self.status in (LeaseStatus.ACTIVE, LeaseStatus.DISPUTED)

    @property
    def escrow(self) -> int:
        left = self.terms.segments - self.paid
        return self.terms.price_per_segment * left if self.is_live else 0


@dataclass
class OrderUse:
    spent: int = 0
    segments: int = 0
    is_revoked: bool = False


@dataclass
class State:
    """All that calls can change. Money is by (token, account), the zero address being the chain's
    own coin."""

    owner: str
    treasury: str
    audit_pool: str
    fee_bps: int
    is_paused: bool = False
    num_listings: int = 0
    listings: dict[bytes, Listing] = field(default_factory=dict)
    leases: dict[bytes, Lease] = field(default_factory=dict)
    orders: dict[bytes, OrderUse] = field(default_factory=dict)
    stakes: dict[tuple[str, str], Stake] = field(default_factory=dict)
    credits: dict[tuple[str, str], int] = field(default_factory=dict)
    fees: dict[str, int] = field(default_factory=dict)
    audit_shares: dict[str, int] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    allowances: dict[tuple[str, str], int] = field(default_factory=dict)
    """What an account lets the escrow take of a token."""

    num_permits: dict[tuple[str, str], int] = field(default_factory=dict)
    used_consents: dict[tuple[str, bytes], bool] = field(default_factory=dict)

    def copy(self) -> Self:
        """Return a copy that later calls do not reach; terms are frozen, and shared."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return type(self)(**{name: _copied(value) for name, value in parts.items()})


def _copied(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    copied = {key: copy.copy(entry) for key, entry in value.items()}
    for entry in copied.values():
        if isinstance(entry, Lease):
            entry.dispute = copy.copy(entry.dispute)
    return copied
