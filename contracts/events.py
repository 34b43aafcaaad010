"""Events of the escrow as frozen dataclasses, decoded from the logs of an untrusted node.

Field names are the contract's, in snake case; `LeaseEscrow.sol`'s interface says what each event
means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, TypeAlias

from contracts.codec import BadChainData, Item, load_artifact
from contracts.logs import Log, event_values

TermsTuple: TypeAlias = tuple[Any, ...]


class CloseCause(IntEnum):
    """Why a lease was closed, as the contract numbers it."""

    COMPLETED = 0  # all segments were paid
    PROVIDER_CLOSED = 1  # the provider gave up the rest
    RENTER_STOPPED = 2  # the renter had stopped the lease
    NEVER_COMMITTED = 3  # nothing was committed: not in time, or the provider gave up before
    EXPIRED = 4  # the longest duration was over
    FRAUD = 5  # the arbiter ruled fraud
    DISPUTE_TIMED_OUT = 6  # the arbiter did not rule in time
    UNRETRIEVABLE = 7  # checkpoints of committed segments could not be fetched
    ACCEPTANCE_FAILED = 8  # the machine failed its probe before anything was committed


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events have: where on the chain they are."""

    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int


@dataclass(frozen=True, kw_only=True)
class Listed(Event):
    listing_id: bytes
    provider: str
    operator: str
    hardware_class: bytes
    machine_hash: bytes
    token: str
    max_price_per_hour: int
    document: bytes


@dataclass(frozen=True, kw_only=True)
class Repriced(Event):
    listing_id: bytes
    max_price_per_hour: int


@dataclass(frozen=True, kw_only=True)
class Delisted(Event):
    listing_id: bytes


@dataclass(frozen=True, kw_only=True)
class OperatorSet(Event):
    listing_id: bytes
    operator: str


@dataclass(frozen=True, kw_only=True)
class CapacitySet(Event):
    listing_id: bytes
    capacity: int


@dataclass(frozen=True, kw_only=True)
class NoncesCancelled(Event):
    listing_id: bytes
    word: int
    mask: int


@dataclass(frozen=True, kw_only=True)
class Staked(Event):
    provider: str
    token: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class UnbondStarted(Event):
    provider: str
    token: str
    amount: int
    unbonding: int
    claimable_at: int


@dataclass(frozen=True, kw_only=True)
class UnbondClaimed(Event):
    provider: str
    token: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Opened(Event):
    lease_id: bytes
    renter: str
    provider: str
    terms: TermsTuple


@dataclass(frozen=True, kw_only=True)
class OrderUsed(Event):
    order_digest: bytes
    lease_id: bytes
    spent: int
    segments: int


@dataclass(frozen=True, kw_only=True)
class OrderRevoked(Event):
    order_digest: bytes
    renter: str


@dataclass(frozen=True, kw_only=True)
class RelayerPaid(Event):
    lease_id: bytes
    relayer: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class CreditSpent(Event):
    token: str
    account: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Committed(Event):
    lease_id: bytes
    up_to: int
    trace_root: bytes
    root: bytes


@dataclass(frozen=True, kw_only=True)
class Settled(Event):
    lease_id: bytes
    paid_segments: int
    to_provider: int
    to_treasury: int
    to_audit_pool: int


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    lease_id: bytes
    stopped_at: int


@dataclass(frozen=True, kw_only=True)
class Closed(Event):
    lease_id: bytes
    cause: CloseCause
    paid_segments: int
    refund: int


@dataclass(frozen=True, kw_only=True)
class Challenged(Event):
    lease_id: bytes
    challenger: str
    segment: int
    bond: int


@dataclass(frozen=True, kw_only=True)
class DataDemanded(Event):
    lease_id: bytes
    demander: str
    segment: int
    bond: int


@dataclass(frozen=True, kw_only=True)
class BondReturned(Event):
    lease_id: bytes
    challenger: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Ruled(Event):
    lease_id: bytes
    fraud: bool
    good_segments: int
    slashed_to_renter: int
    challenger: str
    slashed_to_challenger: int
    bonds_to_provider: int
    bonds_to_audit_pool: int


@dataclass(frozen=True, kw_only=True)
class LateFraud(Event):
    lease_id: bytes
    good_segments: int
    slashed_to_renter: int
    owed: int


@dataclass(frozen=True, kw_only=True)
class LatePaid(Event):
    lease_id: bytes
    slashed_to_renter: int
    owed: int


@dataclass(frozen=True, kw_only=True)
class Unretrievable(Event):
    lease_id: bytes
    good_segments: int


@dataclass(frozen=True, kw_only=True)
class MachineRejected(Event):
    lease_id: bytes
    report: bytes
    by_arbiter: bool


@dataclass(frozen=True, kw_only=True)
class DisputeTimedOut(Event):
    lease_id: bytes
    lowest_segment: int
    to_provider: int
    to_treasury: int
    to_audit_pool: int


@dataclass(frozen=True, kw_only=True)
class Withdrawn(Event):
    token: str
    account: str
    to: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Collected(Event):
    token: str
    treasury: str
    to_treasury: int
    audit_pool: str
    to_audit_pool: int


@dataclass(frozen=True, kw_only=True)
class TokenAllowed(Event):
    token: str


@dataclass(frozen=True, kw_only=True)
class FeeSet(Event):
    fee_bps: int


@dataclass(frozen=True, kw_only=True)
class TreasurySet(Event):
    treasury: str


@dataclass(frozen=True, kw_only=True)
class AuditPoolSet(Event):
    audit_pool: str


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    account: str


@dataclass(frozen=True, kw_only=True)
class Unpaused(Event):
    account: str


EVENT_CLASSES: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind
    for kind in (
        Listed,
        Repriced,
        Delisted,
        OperatorSet,
        CapacitySet,
        NoncesCancelled,
        Staked,
        UnbondStarted,
        UnbondClaimed,
        Opened,
        OrderUsed,
        OrderRevoked,
        RelayerPaid,
        CreditSpent,
        Committed,
        Settled,
        Stopped,
        Closed,
        Challenged,
        DataDemanded,
        BondReturned,
        Ruled,
        LateFraud,
        LatePaid,
        Unretrievable,
        MachineRejected,
        DisputeTimedOut,
        Withdrawn,
        Collected,
        TokenAllowed,
        FeeSet,
        TreasurySet,
        AuditPoolSet,
        Paused,
        Unpaused,
    )
}


def decode_event(log: Log) -> Event | None:
    """Decode a log of the escrow; `None` when it is an event that this version does not know.

    The caller has checked that `log.address` is the escrow.

    Raises
    ------
    BadChainData
        The log claims to be a known event, but its content does not fit.
    """
    item = _known_events().get(bytes(log.topics[0])) if log.topics else None
    if item is None:
        return None
    kind = EVENT_CLASSES[item.name]
    values = event_values(item, log)
    if kind is Closed:
        try:
            values["cause"] = CloseCause(values["cause"])
        except ValueError as error:
            raise BadChainData(f"unknown cause of closing: {values['cause']}") from error
    return kind(
        **values,
        block_number=log.block_number,
        block_hash=log.block_hash,
        tx_hash=log.tx_hash,
        log_index=log.log_index,
    )


@lru_cache(maxsize=1)
def _known_events() -> dict[bytes, Item]:
    events = load_artifact("LeaseEscrow").events
    return {topic: item for topic, item in events.items() if item.name in EVENT_CLASSES}
