"""Queries for orders; claims are compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import OrderState
from marketplace import transitions
from marketplace.models import Order
from marketplace.scope import Scope

OPEN_STATES = (OrderState.PENDING, OrderState.CLAIMED, OrderState.TERMS_SIGNED)


async def find(session: AsyncSession, scope: Scope, order_id: str) -> Order | None:
    """Return one order of this contract."""
    row = await session.get(Order, order_id)
    if row is None or (row.chain_id, row.contract) != (scope.chain_id, scope.contract):
        return None
    return row


async def by_digest(session: AsyncSession, scope: Scope, digest: str) -> Order | None:
    """Return the order with this EIP-712 digest."""
    rows = await session.scalars(select(Order).where(*scope.of(Order), Order.digest == digest))
    return rows.one_or_none()


async def by_lease(session: AsyncSession, scope: Scope, lease_id: str) -> Order | None:
    """Return the order whose terms have this lease id."""
    rows = await session.scalars(
        select(Order).where(*scope.of(Order), Order.lease_id == lease_id).limit(1)
    )
    return rows.one_or_none()


async def num_open(session: AsyncSession, scope: Scope, renter: str) -> int:
    """Return how many orders of a renter are not opened yet."""
    found = await session.scalar(
        select(func.count())
        .select_from(Order)
        .where(*scope.of(Order), Order.renter == renter, Order.state.in_(OPEN_STATES))
    )
    return found or 0


async def for_operator(
    session: AsyncSession,
    scope: Scope,
    operator: str,
    *,
    listing_id: str | None,
    states: Iterable[str],
    limit: int,
) -> Sequence[Order]:
    """Return the orders directed at an operator, oldest first."""
    query = select(Order).where(
        *scope.of(Order), Order.operator == operator, Order.state.in_(list(states))
    )
    if listing_id is not None:
        query = query.where(Order.listing_id == listing_id)
    return (await session.scalars(query.order_by(Order.order_id).limit(limit))).all()


async def claim(
    session: AsyncSession,
    order_id: str,
    operator: str,
    token: str,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """Take a pending order, or one whose hold ran out; false when another worker was faster."""
    where = (Order.order_id == order_id, Order.operator == operator, Order.expires_at > now)
    let_go = (*where, Order.lock_expires_at < now)
    claimed, pending = OrderState.CLAIMED, OrderState.PENDING
    await transitions.move(session, Order, let_go, pending, by=[claimed], lock_token=None)
    hold: dict[str, Any] = {"lock_token": token, "lock_expires_at": expires_at, "updated_at": now}
    return bool(await transitions.move(session, Order, where, claimed, by=[pending], **hold))


async def hold(
    session: AsyncSession, order_id: str, token: str, now: datetime, expires_at: datetime
) -> bool:
    """Renew the hold of a claimed order; false when it is under another token by now."""
    return await transitions.amend(
        session,
        Order,
        (Order.order_id == order_id, Order.lock_token == token),
        OrderState.CLAIMED,
        lock_expires_at=expires_at,
        updated_at=now,
    )


async def move(
    session: AsyncSession,
    order_id: str,
    target: OrderState,
    now: datetime,
    *,
    by: Iterable[OrderState] | None = None,
    held_under: str | None = None,
    **values: Any,
) -> bool:
    """Move an order, if it still is where it may be moved from (and under this lock token)."""
    where = [Order.order_id == order_id]
    if held_under is not None:
        where.append(Order.lock_token == held_under)
    values["updated_at"] = now
    return bool(await transitions.move(session, Order, where, target, by=by, **values))


async def overdue(session: AsyncSession, scope: Scope, now: datetime) -> Sequence[Order]:
    """Return open orders whose time, or whose time to be opened, is over."""
    rows = await session.scalars(
        select(Order).where(*scope.of(Order), Order.state.in_(OPEN_STATES), Order.expires_at <= now)
    )
    return rows.all()


async def stale_claims(session: AsyncSession, scope: Scope, now: datetime) -> Sequence[Order]:
    """Return claimed orders whose worker did not sign terms in time."""
    rows = await session.scalars(
        select(Order).where(
            *scope.of(Order),
            Order.state == OrderState.CLAIMED,
            Order.lock_expires_at < now,
        )
    )
    return rows.all()
