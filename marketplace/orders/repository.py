"""Queries for orders; claims are compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import OrderState
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
    free = or_(
        Order.state == OrderState.PENDING,
        (Order.state == OrderState.CLAIMED) & (Order.lock_expires_at < now),
    )
    result = await session.execute(
        update(Order)
        .where(
            Order.order_id == order_id,
            Order.operator == operator,
            Order.expires_at > now,
            free,
        )
        .values(
            state=OrderState.CLAIMED,
            lock_token=token,
            lock_expires_at=expires_at,
            updated_at=now,
        )
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE gives a cursor result


async def move(
    session: AsyncSession,
    order_id: str,
    from_states: Iterable[OrderState],
    now: datetime,
    *,
    held_under: str | None = None,
    **values: Any,
) -> bool:
    """Change an order if it still is in one of these states (and under this lock token)."""
    query = update(Order).where(
        Order.order_id == order_id, Order.state.in_([s.value for s in from_states])
    )
    if held_under is not None:
        query = query.where(Order.lock_token == held_under)
    result = await session.execute(query.values(updated_at=now, **values))
    return bool(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE gives a cursor result


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
