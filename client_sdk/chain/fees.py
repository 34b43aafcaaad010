"""What a transaction offers for gas: never more than the owner's cap, whatever the node asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import FeeTooHigh

BUMP_PERCENT: Final = 25
"""Rise of both fees at each bump; nodes replace a waiting transaction from 10 % on."""

GAS_MARGIN_PERCENT: Final = 50
GAS_MARGIN: Final = 100_000
"""Gas on top of the estimate: a commit that settles in passing takes more a second later. What is
not used is not paid."""


@dataclass(frozen=True, slots=True)
class Fees:
    """Offer for gas, in wei per gas (EIP-1559)."""

    max_fee: int
    priority_fee: int


def quote(chain: Chain, cap: int) -> Fees:
    """Fees that stay good while the base fee doubles.

    Raises
    ------
    FeeTooHigh
        Base fee and tip alone are above the cap.
    """
    base_fee = chain.latest().base_fee
    tip = chain.priority_fee()
    if base_fee + tip > cap:
        raise FeeTooHigh(base_fee + tip, cap)
    return Fees(max_fee=min(2 * base_fee + tip, cap), priority_fee=tip)


def bumped(old: Fees, fresh: Fees, cap: int) -> Fees | None:
    """Fees that replace `old`; `None` when the cap does not allow a replacement."""
    raised = Fees(
        max_fee=max(_raised(old.max_fee), fresh.max_fee),
        priority_fee=max(_raised(old.priority_fee), fresh.priority_fee),
    )
    return raised if raised.max_fee <= cap else None


def gas_limit(estimate: int, block_gas_limit: int) -> int:
    """Estimate with a margin, within what a block holds."""
    return min(estimate + estimate * GAS_MARGIN_PERCENT // 100 + GAS_MARGIN, block_gas_limit)


def _raised(fee: int) -> int:
    return fee + (fee * BUMP_PERCENT + 99) // 100 + 1
