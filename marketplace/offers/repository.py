"""Queries for offers and their revisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.states import LeaseState
from marketplace import transitions
from marketplace.database import upsert
from marketplace.domain.machines import Record
from marketplace.domain.states import OfferState
from marketplace.models import Lease, Listing, Offer, OfferRevision, Stake
from marketplace.scope import Scope

_GOOD_CAUSES = (0, 1, 2)
"""Closings that are no fault: completed, closed by the provider, stopped by the renter."""


async def find(session: AsyncSession, scope: Scope, digest: str) -> Offer | None:
    """Return one offer."""
    return await session.get(Offer, scope.id(digest))


async def next_revision(session: AsyncSession, scope: Scope) -> int:
    """Return a new revision; until the commit, nobody else gets one."""
    insert = upsert(session)
    result = await session.execute(
        insert(OfferRevision)
        .values(**scope.key, revision=1)
        .on_conflict_do_update(
            index_elements=["chain_id", "contract"],
            set_={"revision": OfferRevision.revision + 1},
        )
        .returning(OfferRevision.revision)
    )
    return int(result.scalar_one())


async def newest_revision(session: AsyncSession, scope: Scope) -> int:
    """Return the newest committed revision."""
    row = await session.get(OfferRevision, scope.id())
    return row.revision if row else 0


async def set_state(
    session: AsyncSession, scope: Scope, digest: str, state: OfferState, revision: int
) -> bool:
    """End an active offer; false when it was ended before."""
    where = (*scope.of(Offer), Offer.digest == digest)
    return bool(await transitions.move(session, Offer, where, state, revision=revision))


async def expire(session: AsyncSession, scope: Scope, now: datetime, revision: int) -> int:
    """End the active offers whose time is over; return how many."""
    where = (*scope.of(Offer), Offer.expires_at <= now)
    return await transitions.move(session, Offer, where, OfferState.EXPIRED, revision=revision)


async def touch(
    session: AsyncSession,
    scope: Scope,
    *,
    listing_ids: Iterable[str],
    providers: Iterable[str],
) -> None:
    """Give active offers of changed listings and providers a new revision."""
    wanted = Offer.listing_id.in_(set(listing_ids)) | Offer.provider.in_(set(providers))
    query = select(Offer.digest).where(*scope.of(Offer), Offer.state == OfferState.ACTIVE, wanted)
    digests = (await session.scalars(query)).all()
    if digests:
        revision = await next_revision(session, scope)
        await session.execute(
            update(Offer)
            .where(*scope.of(Offer), Offer.digest.in_(digests))
            .values(revision=revision)
        )


def _with_listing() -> Any:
    return (
        select(Offer, Listing, Stake)
        .outerjoin(
            Listing,
            (Listing.chain_id == Offer.chain_id)
            & (Listing.contract == Offer.contract)
            & (Listing.listing_id == Offer.listing_id),
        )
        .outerjoin(
            Stake,
            (Stake.chain_id == Offer.chain_id)
            & (Stake.contract == Offer.contract)
            & (Stake.provider == Offer.provider)
            & (Stake.token == Offer.token),
        )
    )


async def changed(
    session: AsyncSession, scope: Scope, after: int
) -> Sequence[Row[Offer, Listing | None, Stake | None]]:
    """Return the offers that changed after a revision, with listing and stake."""
    query = _with_listing().where(*scope.of(Offer), Offer.revision > after)
    return (await session.execute(query)).all()


async def with_listings(
    session: AsyncSession, scope: Scope, digests: Sequence[str]
) -> dict[str, Row[Offer, Listing | None, Stake | None]]:
    """Return offers by digest, with listing and stake."""
    query = _with_listing().where(*scope.of(Offer), Offer.digest.in_(digests))
    return {row[0].digest: row for row in (await session.execute(query)).all()}


async def records(
    session: AsyncSession, scope: Scope, providers: Iterable[str]
) -> dict[str, Record]:
    """Return how the leases of these providers ended."""
    good = func.sum(case((Lease.cause.in_(_GOOD_CAUSES), 1), else_=0))
    rows = await session.execute(
        select(Lease.provider, func.count(), good)
        .where(
            *scope.of(Lease),
            Lease.provider.in_(set(providers)),
            Lease.state == LeaseState.CLOSED,
        )
        .group_by(Lease.provider)
    )
    return {provider: Record(ended, int(well or 0)) for provider, ended, well in rows}
