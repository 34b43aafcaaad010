"""Money of the model: tokens outside, credits and stakes inside."""

from __future__ import annotations

from typing import Final

from client_sdk.protocol.addresses import ZERO_ADDRESS
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.terms import Terms
from contracts.bindings import LeaseStatus, Source
from tests.integration.contracts.model.state import Lease, Stake, State, require

NATIVE: Final = ZERO_ADDRESS
"""The chain's own coin, where a token is named."""

BPS: Final = 10_000
UNLIMITED: Final = 2**256 - 1
"""An allowance of this much is not used up."""


class Ledger:
    """Who holds what. Each call goes through all of its rules before the next one starts, and one
    that is refused leaves the state as it was: whoever drives the model keeps a copy."""

    def __init__(
        self, state: State, domain: Domain, tokens: tuple[str, ...], unbonding_period: int
    ) -> None:
        self.state = state
        self.domain = domain
        self.tokens = tokens
        self.unbonding_period = unbonding_period
        self.now = 0
        """Block time of the call, in seconds."""

    @property
    def address(self) -> str:
        """The escrow's own account."""
        return self.domain.verifying_contract

    # Tokens

    def balance(self, token: str, account: str) -> int:
        return self.state.balances.get((token, account), 0)

    def allowance(self, token: str, account: str) -> int:
        return self.state.allowances.get((token, account), 0)

    def _move(self, token: str, sender: str, to: str, amount: int) -> None:
        held = self.balance(token, sender)
        require(held >= amount, "ERC20InsufficientBalance", balance=held, needed=amount)
        self.state.balances[token, sender] = held - amount
        self.state.balances[token, to] = self.balance(token, to) + amount

    def _pull(self, token: str, payer: str, amount: int, value: int = 0) -> None:
        """Take `amount` out of an allowance or, of the chain's own coin, with the call."""
        coins = amount if token == NATIVE else 0
        require(value == coins, "ReceivedAmountDiffers", expected=coins, received=value)
        if token != NATIVE:
            allowed = self.allowance(token, payer)
            require(allowed >= amount, "ERC20InsufficientAllowance", needed=amount)
            if allowed != UNLIMITED:
                self.state.allowances[token, payer] = allowed - amount
        self._move(token, payer, self.address, amount)

    def _take(self, source: Source, token: str, payer: str, amount: int) -> None:
        """Take `amount` out of an allowance, or of credit first and then the allowance."""
        if source is Source.CREDIT:
            held = self.credit(token, payer)
            enough = token != NATIVE or held >= amount  # coins are in nobody's allowance
            require(enough, "CreditTooLow", amount=amount, credit=held)
            self._debit(token, payer, min(held, amount))
            amount -= min(held, amount)
        if amount:
            self._pull(token, payer, amount)

    def _check_token(self, token: str) -> None:
        require(token in self.tokens, "TokenNotAllowed", token=token)

    # Credits

    def credit(self, token: str, account: str) -> int:
        return self.state.credits.get((token, account), 0)

    def _credit(self, token: str, account: str, amount: int) -> None:
        self.state.credits[token, account] = self.credit(token, account) + amount

    def _debit(self, token: str, account: str, amount: int) -> None:
        held = self.credit(token, account)
        require(amount <= held, "CreditTooLow", amount=amount, credit=held)
        self.state.credits[token, account] = held - amount

    def _accrue(self, token: str, fee: int, audit_share: int) -> None:
        state = self.state
        state.fees[token] = state.fees.get(token, 0) + fee
        state.audit_shares[token] = state.audit_shares.get(token, 0) + audit_share

    def _pay_out(self, terms: Terms, amount: int) -> None:
        """Split a payment by the terms; the provider gets what rounding leaves."""
        fee = amount * terms.fee_bps // BPS
        audit_share = amount * terms.audit_bps // BPS
        self._credit(terms.token, terms.provider, amount - fee - audit_share)
        self._accrue(terms.token, fee, audit_share)

    def withdraw(self, caller: str, token: str, to: str, amount: int) -> None:
        require(to not in (ZERO_ADDRESS, self.address), "RecipientNotAllowed", recipient=to)
        self._withdraw(token, caller, to, amount)

    def withdraw_to(self, _caller: str, token: str, account: str) -> None:
        self._withdraw(token, account, account, self.credit(token, account))

    def _withdraw(self, token: str, account: str, to: str, amount: int) -> None:
        require(amount > 0, "AmountMissing")
        self._debit(token, account, amount)
        self._move(token, self.address, to, amount)

    def collect(self, _caller: str, token: str) -> None:
        require(self._collect(token) > 0, "AmountMissing")

    def _collect(self, token: str) -> int:
        """Credit what has accrued to its receivers; how much it was."""
        state = self.state
        fees, audit_shares = state.fees.pop(token, 0), state.audit_shares.pop(token, 0)
        self._credit(token, state.treasury, fees)
        self._credit(token, state.audit_pool, audit_shares)
        return fees + audit_shares

    # Stakes

    def staked(self, provider: str, token: str) -> Stake:
        return self.state.stakes.setdefault((provider, token), Stake())

    def leases_of(self, provider: str, token: str) -> list[Lease]:
        leases = self.state.leases.values()
        return [x for x in leases if (x.terms.provider, x.terms.token) == (provider, token)]

    def locked(self, provider: str, token: str) -> int:
        """Bonds of live leases."""
        return sum(x.terms.bond for x in self.leases_of(provider, token) if x.is_live)

    def free_stake(self, provider: str, token: str) -> int:
        held = self.staked(provider, token)
        debt = self.debt(provider, token)
        return max(0, held.total - held.unbonding - self.locked(provider, token) - debt)

    def debt(self, provider: str, token: str) -> int:
        """What late rulings have still to take."""
        return sum(x.owed for x in self.leases_of(provider, token))

    def stake(self, caller: str, token: str, amount: int, value: int = 0) -> None:
        self._check_token(token)
        require(amount > 0, "AmountMissing")
        require(amount < 2**88, "SafeCastOverflowedUintDowncast")
        self.staked(caller, token).total += amount
        self._pull(token, caller, amount, value)

    def unbond(self, caller: str, token: str, amount: int) -> None:
        require(amount > 0, "AmountMissing")
        held = self.staked(caller, token)
        available = self.free_stake(caller, token)
        require(amount <= available, "UnbondTooHigh", amount=amount, available=available)
        held.unbonding += amount
        held.claimable_at = self.now + self.unbonding_period

    def claim_unbond(self, caller: str, token: str) -> None:
        held = self.staked(caller, token)
        require(held.unbonding > 0, "NothingUnbonding")
        require(self.now >= held.claimable_at, "UnbondingNotOver", claimableAt=held.claimable_at)
        debt = self.debt(caller, token)
        require(debt == 0, "LateDebt", owed=debt)
        self._credit(token, caller, held.unbonding)
        held.total, held.unbonding, held.claimable_at = held.total - held.unbonding, 0, 0

    def _take_free(self, provider: str, token: str, most: int) -> int:
        """Take what backs no live lease, at most so much; what is unbonding is taken last."""
        held = self.staked(provider, token)
        left = held.total - self.locked(provider, token)
        taken = min(most, left)
        held.total -= taken
        held.unbonding = min(held.unbonding, left - taken)
        return taken

    # Conservation

    def owed(self, token: str) -> int:
        """All that the escrow holds of a token for somebody."""
        state = self.state
        total = sum(amount for (of, _), amount in state.credits.items() if of == token)
        total += sum(held.total for (_, of), held in state.stakes.items() if of == token)
        total += state.fees.get(token, 0) + state.audit_shares.get(token, 0)
        for lease in state.leases.values():
            if lease.terms.token == token:
                total += lease.escrow
                if lease.status is LeaseStatus.DISPUTED and lease.dispute is not None:
                    total += challenge_bond(lease.terms) * len(lease.dispute.challengers)
        return total


def challenge_bond(terms: Terms) -> int:
    """Judging one segment means running it twice."""
    return 2 * terms.price_per_segment


def challenge_reward(terms: Terms) -> int:
    return min(2 * terms.price_per_segment, terms.bond // 10)
