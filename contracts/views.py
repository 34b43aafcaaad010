"""What the views of the escrow return, and numbers that calls take. Amounts are in the token's
smallest unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class LeaseStatus(IntEnum):
    """State of a lease, as the contract numbers it."""

    NONE = 0  # never opened
    ACTIVE = 1  # money is in escrow; segments are committed and settled
    DISPUTED = 2  # a challenge is open; nothing is paid until it ends
    CLOSED = 3  # escrow is empty, the bond free or slashed


class Source(IntEnum):
    """Where an account's money comes from, as the contract numbers it."""

    ALLOWANCE = 0  # its allowance to the escrow
    CREDIT = 1  # its credit in the escrow first, then its allowance


@dataclass(frozen=True, slots=True)
class LeaseView:
    """Progress of a lease; times are block times, in seconds."""

    status: LeaseStatus
    paid: int
    pending: int
    opened_at: int
    committed_at: int
    stopped_at: int
    escrow: int
    root: bytes
    is_unretrievable: bool = False
    """Whether checkpoints could not be fetched: nothing more can be committed."""


@dataclass(frozen=True, slots=True)
class DisputeView:
    """Open dispute of a lease; all zero when there is none."""

    challenger: str
    disputed_at: int
    lowest_segment: int
    is_demand: bool
    """Whether the first challenger demanded data."""
    lower_challenger: str
    is_lower_demand: bool


@dataclass(frozen=True, slots=True)
class ListingView:
    """One machine of a provider; `max_price_per_hour` in the token's smallest unit."""

    provider: str
    active: bool
    token: str
    operator: str
    max_price_per_hour: int
    machine_hash: bytes
    hardware_class: bytes = bytes(32)
    capacity: int = 0
    """Most leases at a time, of those opened since it was set; zero for no limit."""
    live: int = 0
    """Live leases that count against it."""


@dataclass(frozen=True, slots=True)
class StakeView:
    """Stake of one provider in one token, in its smallest unit."""

    total: int
    locked: int
    unbonding: int
    claimable_at: int
    owed: int = 0
    """What late rulings have still to take; can be more than there is."""

    @property
    def free(self) -> int:
        """What a new lease can lock."""
        return max(0, self.total - self.unbonding - self.locked - self.owed)


@dataclass(frozen=True, slots=True)
class OrderUse:
    """What the leases that others opened under one order use of it together."""

    spent: int
    segments: int
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class Reputation:
    """What a provider has done in leases of one token."""

    proved: int = 0
    """Sum of all payments for segments that could be challenged, in the token's smallest unit."""
    completed: int = 0
    """Leases with a bond of which every segment was paid."""
    lost: int = 0
    """Leases with a bond that the provider did not carry out."""
    slashed: int = 0
    """Times that a bond was slashed."""
