"""The provider's way out: listings ended, stake unbonded and claimed, credit sent to its owner.

Each transaction has a key that is made of what the chain showed before it: until it is in a block,
the same command again, after a crash too, sends nothing twice. After that the chain shows that
nothing is left to do, except to ``unbond`` an amount: that takes out as much once more. What the
contract would refuse is said in words, before anything is sent where the chain shows it, and else
by what the contract answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from client_sdk.chain.answers import TxReceipt
from client_sdk.chain.errors import CallReverted, TransactionReverted
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.errors import MoneyError
from client_sdk.protocol.money import format_amount, parse_amount
from contracts.bindings import Call, StakeView
from contracts.events import Event, Listed, UnbondClaimed, UnbondStarted, Withdrawn
from worker_agent.context import Context
from worker_agent.draining import draining
from worker_agent.errors import NotPossible, SettingsError
from worker_agent.ports import SenderPort

ALL: Final = "all"
"""Instead of an amount: as much as there is."""
_DRAIN: Final = "run `gridlease worker drain` first"

_ELSEWHERE: Final = (
    "the token does not let the owner's account have it: the credit stays, and `withdraw` of the"
    " contract sends it to another account, with the owner's key (docs/escrow/withdraw.md)"
)
_REFUSALS: Final[Mapping[str, str]] = {
    "ListingInactive": "the listing was ended meanwhile: there is nothing left to do",
    "UnbondTooHigh": "at most {available} is free by now: unbond that, or `all` of it",
    "NothingUnbonding": "nothing unbonds any more: it was claimed or slashed meanwhile",
    "UnbondingNotOver": "the period was started again: it can be claimed from {claimableAt} on",
    "LateDebt": (
        "late rulings have still {owed} of this stake to take: when the leases that hold it are"
        " closed, send `payLate`, as anybody may, and claim again (docs/escrow/late.md)"
    ),
    "AmountMissing": "there is no credit left: it was sent to its owner meanwhile, as anybody may",
    "SafeERC20FailedOperation": _ELSEWHERE,
    "FailedCall": _ELSEWHERE,
}
"""What the contract can refuse although the chain did not show it before; see docs/escrow."""

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Stake that is on its way out, in the token's smallest unit."""

    amount: int
    """What this call added."""
    unbonding: int
    """All that is unbonding now."""
    again: int
    """What was unbonding before, and waits the whole period anew."""
    claimable_at: int
    """Moment, in Unix seconds, from which `claim_unbond` works."""


def delist(context: Context) -> list[bytes]:
    """End this operator's listings; returns their ids. Live leases go on.

    Raises
    ------
    SettingsError
        The owner's key is not on this machine.
    NotPossible
        The worker takes leases, and would list the machine again.
    """
    owner, chain = _owner(context), context.chain
    if not draining(context.journal):
        raise NotPossible(f"the worker would list this machine again: {_DRAIN}")
    ended = []
    for event in chain.events(chain.deployment.start_block, chain.head()):
        if not (isinstance(event, Listed) and same_address(event.provider, owner.address)):
            continue
        found = chain.view(chain.escrow.listing_of(event.listing_id))
        if found.active and same_address(found.operator, str(context.account.address)):
            call = chain.escrow.delist(event.listing_id)
            _send(context, owner, call, f"delist:{event.listing_id.hex()}")
            ended.append(event.listing_id)
    return ended


def unbonding_period_s(context: Context) -> int:
    """How long stake unbonds, in seconds."""
    return context.chain.view(context.chain.escrow.unbonding_period())


def unbond(context: Context, text: str) -> Unbonding:
    """Start to take free stake out; what was unbonding already starts its period again.

    Who does not know how the last call ended looks at what is unbonding first: see ``earnings``.

    Parameters
    ----------
    text:
        An amount in units of the token, or `ALL`.

    Raises
    ------
    SettingsError
        Not an amount above zero, or the owner's key is not on this machine.
    NotPossible
        There is not so much, or the worker would stake it again.
    """
    owner, token = _owner(context), context.token
    stake = _stake(context)
    amount = stake.free if text == ALL else _amount(context, text)
    if amount == 0 and text != ALL:
        raise SettingsError("the amount to unbond must be above zero")
    if not 0 < amount <= stake.free:
        owed = f", late rulings wait for {shown(context, stake.owed)}" if stake.owed else ""
        raise NotPossible(
            f"at most {shown(context, stake.free)} can be unbonded now; live leases hold"
            f" {shown(context, stake.locked)}{owed}"
        )
    wanted = _amount(context, context.settings.stake)
    stays = stake.total - stake.unbonding - amount
    if stays < wanted and not draining(context.journal):
        raise NotPossible(
            f"the worker keeps a stake of {shown(context, wanted)} and would stake again:"
            f" {_DRAIN}, or lower `stake` in its file and start it anew"
        )
    call = context.chain.escrow.unbond(token.address, amount)
    num_before = len(context.events_about(owner.address, UnbondStarted))
    receipt = _send(context, owner, call, f"unbond:{token.address}:{num_before}:{amount}")
    event = _event(receipt, UnbondStarted)
    again = event.unbonding - event.amount
    return Unbonding(event.amount, event.unbonding, again, event.claimable_at)


def claim_unbond(context: Context) -> int:
    """Turn what has unbonded into credit; returns the amount.

    Raises
    ------
    SettingsError
        The owner's key is not on this machine.
    NotPossible
        Nothing is unbonding, it takes longer, or late rulings have something to take of it.
    """
    owner, stake = _owner(context), _stake(context)
    if stake.unbonding == 0:
        raise NotPossible("nothing is unbonding: run `gridlease worker unbond` first")
    if context.chain.now() < stake.claimable_at:
        raise NotPossible(f"it can be claimed from {moment(stake.claimable_at)} on")
    if stake.owed:
        raise NotPossible(_REFUSALS["LateDebt"].format(owed=shown(context, stake.owed)))
    token = context.token.address
    num_before = len(context.events_about(owner.address, UnbondClaimed))
    call, key = context.chain.escrow.claim_unbond(token), f"claim-unbond:{token}:{num_before}"
    return _event(_send(context, owner, call, key), UnbondClaimed).amount


def withdraw(context: Context) -> int:
    """Send the owner its credit; returns the amount, zero where there is none.

    The escrow sends credit to its owner only, so the operator's key is enough.

    Raises
    ------
    NotPossible
        The token, or the owner's account, does not take it.
    """
    chain, token, owner = context.chain, context.token.address, context.provider
    if chain.view(chain.escrow.credit_of(token, owner)) == 0:
        return 0
    before = context.events_about(token, Withdrawn)
    num_before = sum(same_address(event.account, owner) for event in before)
    sender = context.owner_sender or context.sender
    call = chain.escrow.withdraw_to(token, owner)
    receipt = _send(context, sender, call, f"withdraw:{token}:{num_before}")
    return _event(receipt, Withdrawn).amount


def moment(at: int) -> str:
    """A moment of the chain's clock, for people."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _send(context: Context, sender: SenderPort, call: Call, key: str) -> TxReceipt:
    try:
        return sender.send(call, key, retry=True)
    except CallReverted as error:
        raise NotPossible(_refusal(context, error)) from error


def _refusal(context: Context, error: CallReverted) -> str:
    """What a refusal means, and what to do."""
    text = _REFUSALS.get(error.name)
    if text is None:
        # A token can have errors of its own.
        is_withdrawal = error.call.endswith("withdrawTo")
        text = f"{error.message}: {_ELSEWHERE if is_withdrawal else 'docs/escrow explains it'}"
    else:
        numbers = {name: value for name, value in error.args_by_name.items() if type(value) is int}
        text = text.format_map(
            {
                name: moment(value) if name == "claimableAt" else shown(context, value)
                for name, value in numbers.items()
            }
        )
    sent = "only gas was spent" if isinstance(error, TransactionReverted) else "nothing was sent"
    return f"{text}; {sent}"


def _event(receipt: TxReceipt, kind: type[E]) -> E:
    return next(event for event in receipt.events if isinstance(event, kind))


def _owner(context: Context) -> SenderPort:
    if context.owner_sender is None:
        raise SettingsError("only the owner can do this: set owner_key_file where its key is")
    return context.owner_sender


def _stake(context: Context) -> StakeView:
    chain = context.chain
    return chain.view(chain.escrow.stake_of(context.provider, context.token.address))


def _amount(context: Context, text: str) -> int:
    try:
        return parse_amount(text, context.token.decimals)
    except MoneyError as error:
        raise SettingsError(str(error)) from error


def shown(context: Context, amount: int) -> str:
    """An amount of the worker's token, for people."""
    return f"{format_amount(amount, context.token.decimals)} {context.token.symbol}"
