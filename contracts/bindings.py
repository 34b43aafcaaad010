"""Typed bindings of the contracts: what to send, what to ask, and what came back. No network here.

A mutating function gives a :class:`Call` for a sender, a view gives a :class:`View` for a reader.
Arguments are plain values: addresses as 0x text, hashes as 32 bytes, money as the token's smallest
unit, and `terms` as the tuple in the order of the contract's struct (`Terms.abi_tuple()` of the
protocol).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Final, Generic, TypeVar

from eth_utils.address import to_checksum_address

from contracts.codec import Artifact, BadChainData, load_artifact
from contracts.errors import ContractError, decode_error
from contracts.events import CloseCause, Event, Log, TermsTuple, decode_event

__all__ = [
    "ABI_VERSION",
    "BadChainData",
    "Call",
    "CloseCause",
    "Contract",
    "ContractError",
    "DisputeView",
    "Event",
    "LeaseEscrow",
    "LeaseStatus",
    "LeaseView",
    "ListingView",
    "Log",
    "StakeView",
    "TermsTuple",
    "Token",
    "View",
    "decode_error",
    "decode_event",
]

ABI_VERSION: Final = 1
"""Version of the interface these bindings speak; a deployment of another version is refused."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction to send: target, input data and value in wei."""

    to: str
    data: bytes = field(repr=False)
    value: int = 0
    name: str = ""
    """`Contract.function`, for messages and the journal."""


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """A read-only call and how its answer is decoded.

    `decode` raises :class:`BadChainData` on anything that does not fit.
    """

    to: str
    data: bytes = field(repr=False)
    decode: Callable[[bytes], T] = field(repr=False)
    name: str = ""


class LeaseStatus(IntEnum):
    """State of a lease, as the contract numbers it."""

    NONE = 0  # never opened
    ACTIVE = 1  # money is in escrow; segments are committed and settled
    DISPUTED = 2  # a challenge is open; nothing is paid until it ends
    CLOSED = 3  # escrow is empty, the bond free or slashed


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


@dataclass(frozen=True, slots=True)
class DisputeView:
    """Open dispute of a lease; all zero when there is none."""

    challenger: str
    disputed_at: int
    lowest_segment: int
    lower_challenger: str


@dataclass(frozen=True, slots=True)
class ListingView:
    """One machine of a provider; `max_price_per_hour` in the token's smallest unit."""

    provider: str
    active: bool
    token: str
    operator: str
    max_price_per_hour: int
    machine_hash: bytes


@dataclass(frozen=True, slots=True)
class StakeView:
    """Stake of one provider in one token, in its smallest unit."""

    total: int
    locked: int
    unbonding: int
    claimable_at: int

    @property
    def free(self) -> int:
        """What a new lease can lock."""
        return max(0, self.total - self.unbonding - self.locked)


class Contract:
    """A contract at an address; the subclasses give its functions names and types."""

    _artifact_name: ClassVar[str]

    def __init__(self, address: str) -> None:
        self.address = to_checksum_address(address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"

    @property
    def _artifact(self) -> Artifact:
        return load_artifact(self._artifact_name)

    def _call(self, function: str, *args: Any) -> Call:
        data = self._artifact.encode_call(function, *args)
        return Call(self.address, data, name=f"{self._artifact_name}.{function}")

    def _view(self, function: str, *args: Any, build: Callable[..., T]) -> View[T]:
        artifact = self._artifact

        def decode(data: bytes) -> T:
            return build(*artifact.decode_result(function, data))

        data = artifact.encode_call(function, *args)
        return View(self.address, data, decode, name=f"{self._artifact_name}.{function}")


class LeaseEscrow(Contract):
    """The escrow; each method is the function of the same name in `ILeaseEscrow.sol`."""

    _artifact_name = "LeaseEscrow"

    # Listings

    def list_machine(
        self,
        hardware_class: bytes,
        token: str,
        max_price_per_hour: int,
        operator: str,
        document: bytes,
    ) -> Call:
        """`list`, which is a builtin's name in Python; `max_price_per_hour` in the token's smallest
        unit.
        """
        return self._call("list", hardware_class, token, max_price_per_hour, operator, document)

    def reprice(self, listing_id: bytes, max_price_per_hour: int) -> Call:
        return self._call("reprice", listing_id, max_price_per_hour)

    def delist(self, listing_id: bytes) -> Call:
        return self._call("delist", listing_id)

    def set_operator(self, listing_id: bytes, operator: str) -> Call:
        return self._call("setOperator", listing_id, operator)

    # Stakes

    def stake(self, token: str, amount: int) -> Call:
        return self._call("stake", token, amount)

    def unbond(self, token: str, amount: int) -> Call:
        return self._call("unbond", token, amount)

    def claim_unbond(self, token: str) -> Call:
        return self._call("claimUnbond", token)

    # Leases

    def open(self, terms: TermsTuple, signature: bytes) -> Call:
        return self._call("open", terms, signature)

    def commit(self, terms: TermsTuple, up_to: int, trace_root: bytes) -> Call:
        """Claim that segments 0 to `up_to - 1` are finished."""
        return self._call("commit", terms, up_to, trace_root)

    def settle(self, terms: TermsTuple) -> Call:
        return self._call("settle", terms)

    def settle_many(self, terms: Sequence[TermsTuple]) -> Call:
        return self._call("settleMany", list(terms))

    def settle_voucher(self, terms: TermsTuple, segments: int, signature: bytes) -> Call:
        """Pay a metered lease up to `segments` in total, as the renter signed."""
        return self._call("settleVoucher", terms, segments, signature)

    def stop(self, terms: TermsTuple) -> Call:
        return self._call("stop", terms)

    def close(self, terms: TermsTuple) -> Call:
        return self._call("close", terms)

    # Disputes

    def challenge(self, terms: TermsTuple, segment: int) -> Call:
        return self._call("challenge", terms, segment)

    def rule(self, terms: TermsTuple, fraud: bool, good_segments: int) -> Call:
        return self._call("rule", terms, fraud, good_segments)

    def timeout_dispute(self, terms: TermsTuple) -> Call:
        return self._call("timeoutDispute", terms)

    # Ledger

    def withdraw_to(self, token: str, account: str) -> Call:
        return self._call("withdrawTo", token, account)

    def withdraw(self, token: str, to: str, amount: int) -> Call:
        return self._call("withdraw", token, to, amount)

    # Owner

    def set_fee(self, fee_bps: int) -> Call:
        return self._call("setFee", fee_bps)

    def set_treasury(self, treasury: str) -> Call:
        return self._call("setTreasury", treasury)

    def set_audit_pool(self, audit_pool: str) -> Call:
        return self._call("setAuditPool", audit_pool)

    def pause(self) -> Call:
        return self._call("pause")

    def unpause(self) -> Call:
        return self._call("unpause")

    def transfer_ownership(self, owner: str) -> Call:
        """First of two steps: `owner` has to accept."""
        return self._call("transferOwnership", owner)

    def accept_ownership(self) -> Call:
        return self._call("acceptOwnership")

    # Views

    def lease_id_of(self, terms: TermsTuple) -> View[bytes]:
        return self._view("leaseIdOf", terms, build=bytes)

    def voucher_digest(self, lease_id: bytes, segments: int) -> View[bytes]:
        return self._view("voucherDigest", lease_id, segments, build=bytes)

    def lease_of(self, lease_id: bytes) -> View[LeaseView]:
        return self._view("leaseOf", lease_id, build=_lease_view)

    def dispute_of(self, lease_id: bytes) -> View[DisputeView]:
        return self._view("disputeOf", lease_id, build=lambda fields: DisputeView(*fields))

    def listing_of(self, listing_id: bytes) -> View[ListingView]:
        return self._view("listingOf", listing_id, build=lambda fields: ListingView(*fields))

    def stake_of(self, provider: str, token: str) -> View[StakeView]:
        return self._view("stakeOf", provider, token, build=StakeView)

    def free_stake_of(self, provider: str, token: str) -> View[int]:
        return self._view("freeStakeOf", provider, token, build=int)

    def credit_of(self, token: str, account: str) -> View[int]:
        return self._view("creditOf", token, account, build=int)

    def challenge_bond(self, terms: TermsTuple) -> View[int]:
        return self._view("challengeBond", terms, build=int)

    def challenge_reward(self, terms: TermsTuple) -> View[int]:
        return self._view("challengeReward", terms, build=int)

    def allowed_tokens(self) -> View[tuple[str, ...]]:
        return self._view("allowedTokens", build=tuple)

    def fee_bps(self) -> View[int]:
        return self._view("feeBps", build=int)

    def treasury(self) -> View[str]:
        return self._view("treasury", build=str)

    def audit_pool(self) -> View[str]:
        return self._view("auditPool", build=str)

    def unbonding_period(self) -> View[int]:
        """Seconds between `unbond` and `claim_unbond`."""
        return self._view("unbondingPeriod", build=int)

    def owner(self) -> View[str]:
        return self._view("owner", build=str)

    def paused(self) -> View[bool]:
        """Whether `open` and `list` are stopped."""
        return self._view("paused", build=bool)


class Token(Contract):
    """An ERC-20 token; `mint` only works on the test token."""

    _artifact_name = "TestToken"

    def approve(self, spender: str, amount: int) -> Call:
        return self._call("approve", spender, amount)

    def transfer(self, to: str, amount: int) -> Call:
        return self._call("transfer", to, amount)

    def transfer_from(self, owner: str, to: str, amount: int) -> Call:
        """Move another account's tokens, out of the allowance it gave to the caller."""
        return self._call("transferFrom", owner, to, amount)

    def mint(self, to: str, amount: int) -> Call:
        """Create test money; the caller must be the token's minter."""
        return self._call("mint", to, amount)

    def balance_of(self, account: str) -> View[int]:
        return self._view("balanceOf", account, build=int)

    def allowance(self, owner: str, spender: str) -> View[int]:
        return self._view("allowance", owner, spender, build=int)

    def decimals(self) -> View[int]:
        return self._view("decimals", build=int)

    def symbol(self) -> View[str]:
        return self._view("symbol", build=str)


def _lease_view(fields: tuple[Any, ...]) -> LeaseView:
    try:
        return LeaseView(LeaseStatus(fields[0]), *fields[1:])
    except ValueError as error:
        raise BadChainData(f"unknown lease status {fields[0]}") from error
