"""Queries for listings and stakes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.models import Listing, Stake
from marketplace.scope import Scope


async def find(session: AsyncSession, scope: Scope, listing_id: str) -> Listing | None:
    """Return one listing."""
    return await session.get(Listing, scope.id(listing_id))


async def page(
    session: AsyncSession,
    scope: Scope,
    *,
    provider: str | None,
    operator: str | None,
    after: str | None,
    limit: int,
) -> Sequence[Listing]:
    """Return listings in the order of their ids."""
    query = select(Listing).where(*scope.of(Listing))
    if provider is not None:
        query = query.where(Listing.provider == provider.lower())
    if operator is not None:
        query = query.where(Listing.operator == operator.lower())
    if after is not None:
        query = query.where(Listing.listing_id > after)
    return (await session.scalars(query.order_by(Listing.listing_id).limit(limit))).all()


async def stakes(
    session: AsyncSession, scope: Scope, providers: Sequence[str]
) -> dict[tuple[str, str], Stake]:
    """Return stakes by provider and token."""
    rows = await session.scalars(
        select(Stake).where(*scope.of(Stake), Stake.provider.in_(set(providers)))
    )
    return {(row.provider, row.token): row for row in rows}
