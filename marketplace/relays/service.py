"""Calls for accounts that hold no native coin: taken, sent once, and told about.

Covered: who may ask for what, the fee, and that one request has one effect (the outbox's key, and
the sender's journal). Whether the contract allows a call is asked of the contract, before any gas
is spent (``marketplace.relays.tasks``).
Not covered: that a relayed call wins. An account can take its money away between that question and
the block; the gas is then lost to this node, which is why there is a limit per account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.states import RelayState
from client_sdk.protocol.terms import Terms
from marketplace.context import Market
from marketplace.domain.states import OutboxState
from marketplace.errors import (
    RelayClosed,
    RelayFeeTooLow,
    RelayRefused,
    RelayUnknown,
    SignatureRefused,
)
from marketplace.models import OutboxItem
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import ASKED, RELAY_OPEN, RELAY_STOP, RELAY_WITHDRAW
from marketplace.relays.schemas import AuthorizationBody, RelayAnswer
from marketplace.settings import RelayRates

MAX_FEE = (1 << 96) - 1


@dataclass(frozen=True, slots=True)
class Asked:
    """One call to carry; the key names its effect."""

    kind: str
    key: str
    payload: Mapping[str, Any]


def rates(market: Market, token: str) -> RelayRates:
    """For what this node carries calls in a token.

    Raises
    ------
    RelayClosed
        It carries none.
    """
    found = market.relay_rates(token)
    if found is None:
        raise RelayClosed
    return found


def opening(
    market: Market,
    terms: Terms,
    terms_signature: str,
    authorization: AuthorizationBody,
    caller: str,
    now: datetime,
) -> Asked:
    """An opening that this node would carry, if the contract allows it.

    Raises
    ------
    RelayClosed, RelayFeeTooLow, RelayRefused, SignatureRefused
    """
    _own(terms, caller)
    least = rates(market, terms.token).open_fee
    if int(authorization.relay_fee) < least:
        raise RelayFeeTooLow(
            f"The relay fee is {authorization.relay_fee}; this node asks {least}.",
            open_fee=str(least),
        )
    if int(authorization.relay_fee) > MAX_FEE:
        raise RelayRefused("The relay fee does not fit in 96 bits.")
    moment = int(now.timestamp())
    if min(authorization.valid_before - 1, terms.open_by) < moment:
        raise RelayRefused("The time to open this lease is over.")
    lease_id = to_hex(terms.lease_id(market.domain))
    # Another fee or another time is another authorization, of which the chain takes one.
    signed = keccak256(authorization.model_dump_json().encode()).hex()[:16]
    payload = {
        "account": caller,
        "terms": dict(terms.to_json()),
        "terms_signature": terms_signature.lower(),
        **authorization.model_dump(),
    }
    return Asked(RELAY_OPEN, f"{RELAY_OPEN}:{lease_id}:{signed}", payload)


def stop(market: Market, terms: Terms, signature: str, caller: str) -> Asked:
    """A stop whose signature was checked."""
    _own(terms, caller)
    rates(market, terms.token)
    lease_id = to_hex(terms.lease_id(market.domain))
    payload = {"account": caller, "terms": dict(terms.to_json()), "signature": signature.lower()}
    return Asked(RELAY_STOP, f"{RELAY_STOP}:{lease_id}", payload)


def withdrawal(market: Market, token: str, key: str, caller: str) -> Asked:
    """A withdrawal of the caller's whole credit, to the caller."""
    rates(market, token)
    name = f"{RELAY_WITHDRAW}:{caller}:{token.lower()}"
    digest = keccak256(key.encode()).hex()[:32]
    return Asked(RELAY_WITHDRAW, f"{name}:{digest}", {"account": caller, "token": token})


async def add(session: AsyncSession, asked: Asked, now: datetime) -> RelayAnswer:
    """Order a call; the same one again changes nothing."""
    payload = {**asked.payload, "key": asked.key}
    await outbox.add(session, asked.kind, asked.key, payload, now=now)
    item = await outbox.find(session, asked.key)
    assert item is not None, "it was written in this transaction, or before"
    return answer(item)


async def state(session: AsyncSession, request_id: str, caller: str) -> RelayAnswer:
    """Tell the account that asked for a call where it stands.

    Raises
    ------
    RelayUnknown
        There is none with this id, or another account asked for it.
    """
    item = await session.get(OutboxItem, request_id)
    if item is None or item.kind not in ASKED or item.payload["account"] != caller:
        raise RelayUnknown
    return answer(item)


def answer(item: OutboxItem) -> RelayAnswer:
    """Write where a call stands; its state follows from the outbox's item."""
    result = item.result or {}
    transactions = list(result.get("transactions", []))
    states = {
        OutboxState.QUEUED: RelayState.SENT if transactions else RelayState.QUEUED,
        OutboxState.DONE: RelayState.REFUSED if "refused" in result else RelayState.CONFIRMED,
        OutboxState.FAILED: RelayState.FAILED,
    }
    # The name of the error only: its text may tell of this node's own accounts.
    problem = item.last_error.partition(":")[0] if item.last_error else None
    return RelayAnswer(
        request_id=item.item_id,
        state=states[OutboxState(item.state)],
        transactions=transactions,
        refusal=result.get("refused"),
        problem=problem,
    )


def _own(terms: Terms, caller: str) -> None:
    if not same_address(terms.renter, caller):
        raise SignatureRefused(f"The lease is {terms.renter}'s; you are logged in as {caller}.")
