"""The escrow in plain Python integers, written from docs/escrow and design.md, section 4.

It is what the contract is compared with, so it shares nothing with it but the words: what the
contract keeps to save gas (bonds that are locked, places that are taken, money in a lease's escrow)
follows here from the leases themselves.

Covered: every call of `ILeaseEscrow`, by keys. Not covered: signatures of contracts (EIP-1271) and
tokens that behave badly, which have tests of their own in contracts/test; gas; events.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, TypeAlias

from client_sdk.protocol.addresses import ZERO_ADDRESS
from contracts.bindings import (
    CloseCause,
    DisputeView,
    LeaseView,
    ListingView,
    OrderUse,
    Reputation,
    StakeView,
)
from tests.integration.contracts.model.leases import Leases
from tests.integration.contracts.model.ledger import NATIVE
from tests.integration.contracts.model.state import require

LOST: Final = {
    CloseCause.NEVER_COMMITTED,
    CloseCause.ACCEPTANCE_FAILED,
    CloseCause.UNRETRIEVABLE,
}
"""Causes that count against a provider, without a slash."""

Question: TypeAlias = tuple[Hashable, ...]
"""Name of a view, then its arguments."""


class Model(Leases):
    # Settings

    def _check_owner(self, caller: str) -> None:
        require(caller == self.state.owner, "OwnableUnauthorizedAccount", account=caller)

    def _collect_all(self) -> None:
        """What has accrued is the receivers' of that time."""
        for token in self.tokens:
            self._collect(token)

    def set_fee(self, caller: str, fee_bps: int) -> None:
        self._check_owner(caller)
        require(fee_bps <= 1000, "FeeTooHigh", feeBps=fee_bps)
        self.state.fee_bps = fee_bps

    def set_treasury(self, caller: str, treasury: str) -> None:
        self._check_owner(caller)
        self._collect_all()
        require(treasury != ZERO_ADDRESS, "AddressMissing")
        self.state.treasury = treasury

    def set_audit_pool(self, caller: str, audit_pool: str) -> None:
        self._check_owner(caller)
        self._collect_all()
        require(audit_pool != ZERO_ADDRESS, "AddressMissing")
        self.state.audit_pool = audit_pool

    def pause(self, caller: str) -> None:
        self._check_owner(caller)
        require(not self.state.is_paused, "EnforcedPause")
        self.state.is_paused = True

    def unpause(self, caller: str) -> None:
        self._check_owner(caller)
        require(self.state.is_paused, "ExpectedPause")
        self.state.is_paused = False

    # What can be asked

    def answers(self, accounts: tuple[str, ...]) -> dict[Question, Any]:
        """What every view must answer now, for these accounts and all that was ever made."""
        state = self.state
        answers: dict[Question, Any] = {
            ("fee_bps",): state.fee_bps,
            ("treasury",): state.treasury,
            ("audit_pool",): state.audit_pool,
            ("paused",): state.is_paused,
        }
        for listing_id in state.listings:
            answers["listing_of", listing_id] = self._listing_view(listing_id)
        for lease_id in state.leases:
            answers["lease_of", lease_id] = self._lease_view(lease_id)
            answers["owed_of", lease_id] = state.leases[lease_id].owed
            answers["dispute_of", lease_id] = self._dispute_view(lease_id)
        for order, use in state.orders.items():
            answers["order_use_of", order] = OrderUse(use.spent, use.segments, use.is_revoked)
        for token in self.tokens:
            accrued = (state.fees.get(token, 0), state.audit_shares.get(token, 0))
            answers["accrued_of", token] = accrued
            answers["balance_of", token, self.address] = self.balance(token, self.address)
            for account in accounts:
                answers["balance_of", token, account] = self.balance(token, account)
                answers["credit_of", token, account] = self.credit(token, account)
                if token != NATIVE:
                    answers["allowance", token, account] = self.allowance(token, account)
        for provider, token in state.stakes:
            answers["stake_of", provider, token] = self._stake_view(provider, token)
            answers["free_stake_of", provider, token] = self.free_stake(provider, token)
            answers["reputation_of", provider, token] = self._reputation(provider, token)
        return answers

    def _listing_view(self, listing_id: bytes) -> ListingView:
        listing = self.state.listings[listing_id]
        return ListingView(
            provider=listing.provider,
            active=listing.is_active,
            token=listing.token,
            operator=listing.operator,
            max_price_per_hour=listing.max_price_per_hour,
            machine_hash=listing.machine_hash,
            hardware_class=listing.hardware_class,
            capacity=listing.capacity,
            live=self.num_counted(listing_id),
        )

    def _lease_view(self, lease_id: bytes) -> LeaseView:
        lease = self.state.leases[lease_id]
        return LeaseView(
            status=lease.status,
            paid=lease.paid,
            pending=lease.pending,
            opened_at=lease.opened_at,
            committed_at=lease.committed_at,
            stopped_at=lease.stopped_at,
            escrow=lease.escrow,
            root=lease.root,
            is_unretrievable=lease.is_unretrievable,
        )

    def _dispute_view(self, lease_id: bytes) -> DisputeView:
        dispute = self.state.leases[lease_id].dispute
        if dispute is None:
            return DisputeView(ZERO_ADDRESS, 0, 0, False, ZERO_ADDRESS, False)
        return DisputeView(
            challenger=dispute.challenger,
            disputed_at=dispute.disputed_at,
            lowest_segment=dispute.lowest_segment,
            is_demand=dispute.is_demand,
            lower_challenger=dispute.lower_challenger or ZERO_ADDRESS,
            is_lower_demand=dispute.is_lower_demand,
        )

    def _stake_view(self, provider: str, token: str) -> StakeView:
        held = self.staked(provider, token)
        locked, debt = self.locked(provider, token), self.debt(provider, token)
        return StakeView(held.total, locked, held.unbonding, held.claimable_at, debt)

    def _reputation(self, provider: str, token: str) -> Reputation:
        """Follows from the leases: what was paid after a window, and how
        those with a bond ended.
        """
        leases = self.leases_of(provider, token)
        proved = [x.terms.price_per_segment * x.paid for x in leases if not x.terms.metered]
        ended = [x for x in leases if x.terms.bond and x.cause is not None]
        num_completed = sum(x.cause is CloseCause.COMPLETED for x in ended)
        num_lost = sum(x.cause in LOST for x in ended)
        num_slashed = sum(x.is_proven for x in ended)
        return Reputation(sum(proved), num_completed, num_lost, num_slashed)
