"""Orders from placing to the opened lease.

Covered: who may place, claim, sign terms for and withdraw an order, and that what is signed agrees.
Not covered: money. The renter opens the lease itself, after its own check of the terms.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.states import OrderState
from client_sdk.protocol.terms import Terms
from marketplace import models
from marketplace.artifacts import repository as artifact_rows
from marketplace.artifacts import service as artifacts
from marketplace.clock import from_timestamp
from marketplace.context import Market
from marketplace.domain.rules import RuleBroken, check_order, check_terms
from marketplace.domain.states import OfferState
from marketplace.errors import (
    OfferEnded,
    OfferUnknown,
    OrderClaimed,
    OrderOver,
    OrderRefused,
    OrderUnknown,
    SignatureRefused,
    TermsRefused,
    TooManyOrders,
)
from marketplace.indexer import repository as chain_rows
from marketplace.jobs import service as jobs
from marketplace.offers import repository as offer_rows
from marketplace.orders import repository
from marketplace.outbox.repository import note

_OPEN_GRACE = timedelta(seconds=60)
"""An opening mined at the last moment is seen a little later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What comes with an order; its own signature was checked."""

    order: Order
    signature: str
    offer: str
    artifacts: dict[str, Any]
    sealed_key: str
    audit: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SignedTerms:
    """Terms whose signature was checked, and the hold under which they come."""

    terms: Terms
    signature: str
    lock_token: str
    probe: dict[str, Any]


def artifact_hashes(artifacts: dict[str, Any]) -> list[str]:
    """Return all hashes of an order's artifacts."""
    named = [*artifacts.get("data", {}).values(), *artifacts.get("extra", {}).values()]
    single = [artifacts[key] for key in ("manifest", "bundle", "checkpoint") if artifacts.get(key)]
    return [*single, *named]


async def place(
    session: AsyncSession, market: Market, placing: Placing, caller: str, now: datetime
) -> tuple[models.Order, bool]:
    """Take an order; return it and whether it is new.

    Raises
    ------
    OfferUnknown, OfferEnded, OrderRefused, ArtifactUnknown, TooManyOrders
        The order cannot be taken.
    """
    order, scope = placing.order, market.scope
    if not same_address(order.renter, caller):
        raise SignatureRefused(f"The order is by {order.renter}; you are logged in as {caller}.")
    digest = to_hex(order.order_digest(market.domain))
    known = await repository.by_digest(session, scope, digest)
    if known is not None:
        return known, False
    if await repository.num_open(session, scope, caller) >= market.settings.max_open_orders:
        raise TooManyOrders(f"At most {market.settings.max_open_orders} orders may be open.")
    offer = await _standing_offer(session, market, placing, now)
    hashes = artifact_hashes(placing.artifacts)
    await artifacts.sizes(session, hashes, caller)
    row = _new_row(market, placing, offer, digest, now)
    # The order needs them from here on; asked again, for until then they could be collected.
    await artifact_rows.grant(session, hashes, caller, row.order_id, now)
    await artifacts.sizes(session, hashes, caller)
    session.add(row)
    jobs.create(session, row, now)
    note(session, caller, "order.placed", row.order_id, now)
    await session.flush()
    return row, True


async def _standing_offer(
    session: AsyncSession, market: Market, placing: Placing, now: datetime
) -> models.Offer:
    scope = market.scope
    row = await offer_rows.find(session, scope, placing.offer)
    if row is None:
        raise OfferUnknown
    listing = await chain_rows.listing(session, scope, row.listing_id)
    if row.state != OfferState.ACTIVE or listing is None or row.operator != listing.operator:
        raise OfferEnded
    if not listing.active or row.expires_at <= now:
        raise OfferEnded
    stake = await chain_rows.stake(session, scope, row.provider, row.token)
    offer = Offer.from_json(row.body)
    offer_id = offer.offer_id(market.domain)
    try:
        check_order(placing.order, offer, offer_id, listing, stake, int(now.timestamp()))
    except RuleBroken as error:
        raise OrderRefused(f"The order is refused: {error}", field=error.field) from error
    return row


def _new_row(
    market: Market, placing: Placing, offer: models.Offer, digest: str, now: datetime
) -> models.Order:
    return models.Order(
        order_id=new_id(IdKind.ORDER),
        job_id=new_id(IdKind.JOB),
        **market.scope.key,
        digest=digest,
        renter=placing.order.renter.lower(),
        operator=offer.operator,
        listing_id=offer.listing_id,
        offer=offer.digest,
        body=dict(placing.order.to_json()),
        signature=placing.signature.lower(),
        artifacts=placing.artifacts,
        sealed_key=placing.sealed_key,
        audit=placing.audit,
        state=OrderState.PENDING,
        created_at=now,
        updated_at=now,
        expires_at=from_timestamp(placing.order.expires_at),
    )


async def visible(
    session: AsyncSession, market: Market, order_id: str, caller: str
) -> models.Order:
    """Return an order that the caller placed or that is directed at it."""
    row = await repository.find(session, market.scope, order_id)
    if row is None or caller not in (row.renter, row.operator):
        raise OrderUnknown
    return row


async def claim(
    session: AsyncSession, market: Market, order_id: str, caller: str, now: datetime
) -> models.Order:
    """Hold an order for the operator it is directed at; again renews the hold.

    Raises
    ------
    OrderUnknown, OrderClaimed, OrderOver
        It is not for this operator, held by another of its processes, or past claiming.
    """
    row = await _directed(session, market, order_id, caller)
    expires_at = now + timedelta(seconds=market.settings.claim_s)
    held = row.lock_expires_at is not None and row.lock_expires_at >= now
    if row.state == OrderState.CLAIMED and held:
        assert row.lock_token is not None, "a claimed order is held"
        done = await repository.hold(session, order_id, row.lock_token, now, expires_at)
    else:
        token = secrets.token_hex(16)
        done = await repository.claim(session, order_id, caller, token, now, expires_at)
    if not done:
        await session.refresh(row)
        if row.state in (OrderState.CLAIMED, OrderState.PENDING) and row.expires_at > now:
            raise OrderClaimed
        raise OrderOver(f"The order is {row.state}.")
    await artifact_rows.grant(session, artifact_hashes(row.artifacts), caller, order_id, now)
    note(session, caller, "order.claimed", order_id, now)
    await session.refresh(row)
    await jobs.update(session, market.scope, row.job_id, now)
    return row


async def sign_terms(
    session: AsyncSession,
    market: Market,
    order_id: str,
    caller: str,
    given: SignedTerms,
    now: datetime,
) -> models.Order:
    """Take terms whose signature was checked; the same terms again change nothing.

    Raises
    ------
    OrderUnknown, OrderClaimed, OrderOver, TermsRefused
        They are not by the claiming operator, or do not agree with order and offer.
    """
    row = await _directed(session, market, order_id, caller)
    terms = given.terms
    lease_id = to_hex(terms.lease_id(market.domain))
    if row.state in (OrderState.TERMS_SIGNED, OrderState.OPENED) and row.lease_id == lease_id:
        return row
    await _check_terms(session, market, row, terms, now)
    done = await repository.move(
        session,
        order_id,
        OrderState.TERMS_SIGNED,
        now,
        by=[OrderState.CLAIMED],
        held_under=given.lock_token,
        terms=dict(terms.to_json()),
        terms_signature=given.signature.lower(),
        probe=given.probe,
        lease_id=lease_id,
        lock_token=None,
        expires_at=from_timestamp(terms.open_by) + _OPEN_GRACE,
    )
    if not done:
        await session.refresh(row)
        raise (
            OrderClaimed
            if row.state == OrderState.CLAIMED
            else OrderOver(f"The order is {row.state}.")
        )
    note(session, caller, "order.terms_signed", order_id, now)
    await session.refresh(row)
    await jobs.set_lease(session, market.scope, row, now)
    return row


async def _check_terms(
    session: AsyncSession, market: Market, row: models.Order, terms: Terms, now: datetime
) -> None:
    scope = market.scope
    listing = await chain_rows.listing(session, scope, row.listing_id)
    offer_row = await offer_rows.find(session, scope, row.offer)
    assert offer_row is not None, "orders keep their offer"
    if listing is None or not same_address(terms.operator, listing.operator):
        raise TermsRefused("The terms' operator is not the listing's operator on the chain.")
    try:
        check_terms(
            terms,
            Order.from_json(row.body),
            Offer.from_json(offer_row.body),
            listing,
            int(now.timestamp()),
        )
    except RuleBroken as error:
        raise TermsRefused(f"The terms are refused: {error}", field=error.field) from error


async def decline(
    session: AsyncSession,
    market: Market,
    order_id: str,
    caller: str,
    code: str,
    reason: str,
    now: datetime,
) -> models.Order:
    """End an order with the worker's reason, before terms are signed."""
    row = await _directed(session, market, order_id, caller)
    if row.state == OrderState.DECLINED:
        return row
    declined = await _end(
        session,
        market,
        row,
        OrderState.DECLINED,
        now,
        decline_code=code,
        decline_reason=reason,
    )
    if not declined:
        raise OrderOver(f"The order is {row.state}.")
    note(session, caller, "order.declined", order_id, now)
    return row


async def withdraw(
    session: AsyncSession, market: Market, order_id: str, caller: str, now: datetime
) -> models.Order:
    """End the renter's own order, before its lease is opened."""
    row = await repository.find(session, market.scope, order_id)
    if row is None or row.renter != caller:
        raise OrderUnknown
    if row.state == OrderState.WITHDRAWN:
        return row
    if not await _end(session, market, row, OrderState.WITHDRAWN, now):
        raise OrderOver(f"The order is {row.state}.")
    note(session, caller, "order.withdrawn", order_id, now)
    return row


async def expire(session: AsyncSession, market: Market, now: datetime) -> int:
    """End orders whose time is over and free those whose worker went away; return how many."""
    num_ended = 0
    for row in await repository.overdue(session, market.scope, now):
        num_ended += await _end(session, market, row, OrderState.EXPIRED, now)
    for row in await repository.stale_claims(session, market.scope, now):
        token = row.lock_token
        num_ended += await _end(session, market, row, OrderState.PENDING, now, held_under=token)
    return num_ended


async def _end(
    session: AsyncSession,
    market: Market,
    row: models.Order,
    target: OrderState,
    now: datetime,
    **values: Any,
) -> bool:
    """Take an order out of the worker's hands; false when it moved on meanwhile."""
    moved = await repository.move(session, row.order_id, target, now, lock_token=None, **values)
    await session.refresh(row)
    if not moved:
        return False
    if row.lease_id is None:
        # Signed terms may still be opened on the chain: that operator keeps its inputs.
        await artifact_rows.revoke(session, row.operator, row.order_id)
    await jobs.update(session, market.scope, row.job_id, now)
    return True


async def _directed(
    session: AsyncSession, market: Market, order_id: str, caller: str
) -> models.Order:
    row = await repository.find(session, market.scope, order_id)
    if row is None or row.operator != caller:
        raise OrderUnknown
    return row
