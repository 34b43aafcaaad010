"""Calls for accounts that hold no native coin: taken, sent once, and told about.

Covered: who may ask for what, the fee, that one request has one effect (the outbox's key, and the
sender's journal), and that one effect has one call on its way: of two that pass the trial in one
block the second would only cost gas. Whether the contract allows a call is asked of the contract,
before any gas is spent (``marketplace.relays.tasks``).
Not covered: that a relayed call wins. An account can take its money away between that question and
the block; the gas is then lost to this node. So there is a limit per account, and, since accounts
cost nothing, one for all of them, for each kind of call. What waits counts, so only what the index
shows to be possible may wait.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.states import LeaseState, RelayState
from client_sdk.protocol.terms import Terms
from marketplace.context import Market
from marketplace.domain.states import OutboxState
from marketplace.errors import (
    RelayClosed,
    RelayFeeTooLow,
    RelayInFlight,
    RelayRefused,
    RelaysSpent,
    RelayUnknown,
    SignatureRefused,
)
from marketplace.indexer import repository as chain_rows
from marketplace.models import OutboxItem
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import ASKED, RELAY_OPEN, RELAY_STOP, RELAY_WITHDRAW
from marketplace.relays.schemas import AuthorizationBody, RelayAnswer
from marketplace.settings import RelayRates

MAX_FEE = (1 << 96) - 1
_HOUR = timedelta(hours=1)
_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """One call to carry.

    Attributes
    ----------
    effect
        What it does; one call of an effect is on its way at one time.
    request
        Tells several requests for the effect apart.
    """

    kind: str
    effect: str
    request: str
    payload: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The outbox's key, and the journal's."""
        return f"{self.effect}:{self.request}"


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
    # Another fee or another time is another authorization, of which the chain takes one. The same
    # signature in other letters is not.
    authorization = authorization.model_copy(update={"signature": authorization.signature.lower()})
    signed = keccak256(authorization.model_dump_json().encode()).hex()[:16]
    payload = {
        "account": caller,
        "terms": dict(terms.to_json()),
        "terms_signature": terms_signature.lower(),
        **authorization.model_dump(),
    }
    return Asked(RELAY_OPEN, f"{RELAY_OPEN}:{lease_id}", signed, payload)


def stop(market: Market, terms: Terms, signature: str, caller: str) -> Asked:
    """A stop whose signature was checked.

    It is always the same signature, so each request is one of its own: else one refusal, or an
    outage, would be the answer for ever.
    """
    _own(terms, caller)
    rates(market, terms.token)
    lease_id = to_hex(terms.lease_id(market.domain))
    payload = {"account": caller, "terms": dict(terms.to_json()), "signature": signature.lower()}
    return Asked(RELAY_STOP, f"{RELAY_STOP}:{lease_id}", secrets.token_hex(8), payload)


def withdrawal(market: Market, token: str, key: str, caller: str) -> Asked:
    """A withdrawal of the caller's whole credit, to the caller."""
    rates(market, token)
    name = f"{RELAY_WITHDRAW}:{caller}:{token.lower()}"
    digest = keccak256(key.encode()).hex()[:32]
    return Asked(RELAY_WITHDRAW, name, digest, {"account": caller, "token": token})


async def require_possible(session: AsyncSession, market: Market, asked: Asked) -> None:
    """Refuse what the index shows to be in vain, before it takes a place among the hour's calls.

    Else requests that cost nobody anything would take them all. What is known already passes.

    Raises
    ------
    RelayRefused
        There is no such credit, listing or live lease, or the index does not have it yet.
    """
    if await outbox.find(session, asked.key) is not None:
        return
    scope, payload = market.scope, asked.payload
    if asked.kind == RELAY_WITHDRAW:
        least = rates(market, payload["token"]).min_withdrawal
        token, account = payload["token"].lower(), payload["account"]
        if await chain_rows.credit(session, scope, token, account) < least:
            raise RelayRefused(f"The credit is less than {least} units, this node's least.")
        return
    terms = Terms.from_json(dict(payload["terms"]))
    if asked.kind == RELAY_STOP:
        lease = await chain_rows.lease(session, scope, to_hex(terms.lease_id(market.domain)))
        if lease is None or lease.state is LeaseState.CLOSED:
            raise RelayRefused("There is no such live lease.")
        return
    listing = await chain_rows.listing(session, scope, to_hex(terms.listing_id))
    if (
        listing is None
        or not listing.active
        or not same_address(listing.provider, terms.provider)
        or not same_address(listing.operator, terms.operator)
    ):
        raise RelayRefused("These are not the terms of a listed machine.")


async def add(session: AsyncSession, market: Market, asked: Asked, now: datetime) -> RelayAnswer:
    """Order a call, unless one of the same effect is on its way.

    The same request again changes nothing. Another authorization of a lease that is being opened
    gets that opening as its answer: the lease is opened once. Another stop of a lease gets the one
    that is on its way, or that succeeded.

    Raises
    ------
    RelayInFlight
        A withdrawal under another key is on its way; to its account they are two.
    RelaysSpent
        This node has spent what it does in an hour.
    """
    await outbox.lock_relays(session)
    known = await outbox.find(session, asked.key)
    if known is not None:
        return answer(known)
    running = await outbox.find_queued(session, asked.kind, asked.effect)
    if running is not None and asked.kind == RELAY_WITHDRAW:
        raise RelayInFlight(request_id=running.item_id)
    if running is None and asked.kind == RELAY_STOP:
        running = await outbox.find_done(session, asked.kind, asked.effect)
    if running is not None:
        return answer(running)
    limit = market.settings.all_relays_per_hour
    # Of each kind: what fills one of them leaves the others open.
    if await outbox.num_sent(session, [asked.kind], now - _HOUR) >= limit:
        raise RelaysSpent(retry_after_s=_RETRY_S)
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
