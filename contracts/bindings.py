"""Typed bindings of the contracts: what to send, what to ask, and what came back. No network here.

A mutating function gives a :class:`Call` for a sender, a view gives a :class:`View` for a reader.
Arguments are plain values: addresses as 0x text, hashes as 32 bytes, money as the token's smallest
unit, and `terms` as the tuple in the order of the contract's struct (`Terms.abi_tuple()` of the
protocol).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from contracts.calls import Call, Contract, View
from contracts.codec import BadChainData
from contracts.erc20 import Token
from contracts.errors import ContractError, decode_error
from contracts.events import CloseCause, Event, TermsTuple, decode_event
from contracts.logs import Log
from contracts.views import (
    DisputeView,
    LeaseStatus,
    LeaseView,
    ListingView,
    OrderUse,
    Reputation,
    Source,
    StakeView,
)

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
    "OrderUse",
    "Reputation",
    "Source",
    "StakeView",
    "TermsTuple",
    "Token",
    "View",
    "decode_error",
    "decode_event",
]

ABI_VERSION: Final = 3
"""Version of the interface these bindings speak; a deployment of another version is refused."""

OrderTuple: TypeAlias = tuple[Any, ...]


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

    def set_capacity(self, listing_id: bytes, capacity: int) -> Call:
        """Limit how many leases may live at a time; 0 for no limit."""
        return self._call("setCapacity", listing_id, capacity)

    def cancel_nonces(self, listing_id: bytes, word: int, mask: int) -> Call:
        """Void the signed terms with nonces of `256 * word + i`, for each bit `i` of `mask`."""
        return self._call("cancelNonces", listing_id, word, mask)

    # Stakes

    def stake(self, token: str, amount: int, value: int = 0) -> Call:
        """`value`: the same amount in wei, when the token is the chain's own coin."""
        return self._call("stake", token, amount, value=value)

    def unbond(self, token: str, amount: int) -> Call:
        return self._call("unbond", token, amount)

    def claim_unbond(self, token: str) -> Call:
        return self._call("claimUnbond", token)

    # Leases

    def open(self, terms: TermsTuple, signature: bytes, value: int = 0) -> Call:
        """`value`: the cost in wei, when the token is the chain's own coin."""
        return self._call("open", terms, signature, value=value)

    def open_with_permit(
        self, terms: TermsTuple, signature: bytes, permit: tuple[int, int, int, bytes, bytes]
    ) -> Call:
        """`permit` of EIP-2612: value, deadline, v, r, s."""
        return self._call("openWithPermit", terms, signature, permit)

    def open_with_authorization(
        self,
        terms: TermsTuple,
        signature: bytes,
        authorization: tuple[int, int, int, int, bytes, bytes],
    ) -> Call:
        """`authorization` of EIP-3009: relay fee, validAfter, validBefore, v, r, s."""
        return self._call("openWithAuthorization", terms, signature, authorization)

    def open_from(
        self, terms: TermsTuple, signature: bytes, source: int, relay_fee: int, consent: bytes
    ) -> Call:
        """Open out of the renter's allowance, or credit and then allowance; `consent` is the
        renter's signature.
        """
        return self._call("openFrom", terms, signature, source, relay_fee, consent)

    def open_for(
        self,
        terms: TermsTuple,
        signature: bytes,
        order: OrderTuple,
        order_signature: bytes,
    ) -> Call:
        """Open for a renter under an order that it signed."""
        return self._call("openFor", terms, signature, order, order_signature)

    def revoke_order(self, order: OrderTuple, signature: bytes) -> Call:
        """Void an order; `signature` is the renter's, empty when the renter sends."""
        return self._call("revokeOrder", order, signature)

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

    def stop_for(self, terms: TermsTuple, signature: bytes) -> Call:
        """Stop for the renter, with its signature."""
        return self._call("stopFor", terms, signature)

    def close(self, terms: TermsTuple) -> Call:
        return self._call("close", terms)

    # Disputes

    def challenge(self, terms: TermsTuple, segment: int, value: int = 0) -> Call:
        """`value`: the bond in wei, when the token is the chain's own coin."""
        return self._call("challenge", terms, segment, value=value)

    def challenge_from(
        self,
        terms: TermsTuple,
        segment: int,
        source: int,
        challenger: str,
        expires_at: int,
        nonce: int,
        consent: bytes,
    ) -> Call:
        """Challenge with a bond out of the challenger's allowance or credit, with its signature."""
        return self._call(
            "challengeFrom", terms, segment, source, challenger, expires_at, nonce, consent
        )

    def demand_data(self, terms: TermsTuple, segment: int, value: int = 0) -> Call:
        """Dispute that the segment's checkpoint can be fetched; `value` as in `challenge`."""
        return self._call("demandData", terms, segment, value=value)

    def rule(self, terms: TermsTuple, fraud: bool, segment: int) -> Call:
        """`segment` is the first wrong one when fraud, else the lowest disputed one."""
        return self._call("rule", terms, fraud, segment)

    def attest_unretrievable(self, terms: TermsTuple, good_segments: int) -> Call:
        """The arbiter's word that checkpoints from `good_segments` on cannot be fetched."""
        return self._call("attestUnretrievable", terms, good_segments)

    def reject_machine(self, terms: TermsTuple, report: bytes, signature: bytes) -> Call:
        """End a lease whose machine failed its probe; `signature` is the operator's of
        `FailedProbe`, empty when the arbiter sends.
        """
        return self._call("rejectMachine", terms, report, signature)

    def rule_late(self, terms: TermsTuple, good_segments: int) -> Call:
        """Rule fraud on a closed lease; `good_segments` is the index of the first wrong one."""
        return self._call("ruleLate", terms, good_segments)

    def pay_late(self, terms: TermsTuple) -> Call:
        """Pay the renter what a late ruling left owed, as far as there is stake for it."""
        return self._call("payLate", terms)

    def timeout_dispute(self, terms: TermsTuple) -> Call:
        return self._call("timeoutDispute", terms)

    # Ledger

    def withdraw_to(self, token: str, account: str) -> Call:
        return self._call("withdrawTo", token, account)

    def withdraw(self, token: str, to: str, amount: int) -> Call:
        return self._call("withdraw", token, to, amount)

    def collect(self, token: str) -> Call:
        """Credit the shares that have accrued to treasury and audit pool."""
        return self._call("collect", token)

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

    def order_digest(self, order: OrderTuple) -> View[bytes]:
        return self._view("orderDigest", order, build=bytes)

    def revocation_digest(self, order: bytes) -> View[bytes]:
        return self._view("revocationDigest", order, build=bytes)

    def opening_digest(self, lease_id: bytes, source: int, relay_fee: int) -> View[bytes]:
        return self._view("openingDigest", lease_id, source, relay_fee, build=bytes)

    def stop_digest(self, lease_id: bytes) -> View[bytes]:
        return self._view("stopDigest", lease_id, build=bytes)

    def challenge_digest(
        self, lease_id: bytes, root: bytes, segment: int, source: int, expires_at: int, nonce: int
    ) -> View[bytes]:
        return self._view(
            "challengeDigest", lease_id, root, segment, source, expires_at, nonce, build=bytes
        )

    def failed_probe_digest(self, lease_id: bytes, report: bytes) -> View[bytes]:
        return self._view("failedProbeDigest", lease_id, report, build=bytes)

    def order_use_of(self, order: bytes) -> View[OrderUse]:
        return self._view("orderUseOf", order, build=OrderUse)

    def is_cancelled(self, listing_id: bytes, nonce: int) -> View[bool]:
        """Whether terms of the listing with this nonce were cancelled."""
        return self._view("isCancelled", listing_id, nonce, build=bool)

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

    def owed_of(self, lease_id: bytes) -> View[int]:
        """What the late ruling on a lease has still to take for its renter."""
        return self._view("owedOf", lease_id, build=int)

    def credit_of(self, token: str, account: str) -> View[int]:
        return self._view("creditOf", token, account, build=int)

    def reputation_of(self, provider: str, token: str) -> View[Reputation]:
        return self._view("reputationOf", provider, token, build=Reputation)

    def accrued_of(self, token: str) -> View[tuple[int, int]]:
        """Fees and audit shares that `collect` has still to move."""
        return self._view("accruedOf", token, build=lambda *shares: shares)

    def challenge_bond(self, terms: TermsTuple) -> View[int]:
        return self._view("challengeBond", terms, build=int)

    def challenge_reward(self, terms: TermsTuple) -> View[int]:
        return self._view("challengeReward", terms, build=int)

    def extension(self) -> View[str]:
        """Where the second half of the escrow's code is; fixed for ever."""
        return self._view("extension", build=str)

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


def _lease_view(fields: tuple[Any, ...]) -> LeaseView:
    try:
        return LeaseView(LeaseStatus(fields[0]), *fields[1:])
    except ValueError as error:
        raise BadChainData(f"unknown lease status {fields[0]}") from error
