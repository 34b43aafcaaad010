"""Storing artifacts and deciding who reads them.

Covered: an account reads what it stored and what was granted to it; everything else looks as if it
did not exist. Nobody gets at an artifact by naming its hash: storing needs the bytes, and granting
needs an artifact that the granter may read itself.
Not covered: what granted accounts do with what they read.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.artifacts import repository
from marketplace.context import Market
from marketplace.domain.states import ArtifactState
from marketplace.errors import ArtifactUnknown, QuotaExceeded, StoreFull, UploadsBusy
from marketplace.models import Artifact, Upload
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import ARTIFACT_CHECK
from marketplace.store.base import hash_of

_RETRY_S: Final = 5
_COLLECT_AT_ONCE: Final = 1_000
_STORING_GRACE: Final = timedelta(minutes=10)
"""A body that has come must still go to the store, which may be far away."""


async def reserve(
    session: AsyncSession, market: Market, digest: str, size: int, caller: str, now: datetime
) -> str:
    """Take a slot, and room for an upload's bytes; return the id to release it under.

    Slots and room are counted and taken in one transaction that no other one overlaps, so many
    uploads at once cannot pass a limit together.

    Raises
    ------
    UploadsBusy, QuotaExceeded, StoreFull
        No slot is free, or no room.
    """
    settings = market.settings
    await repository.lock_uploads(session)
    await repository.drop_expired_uploads(session, now)
    found = await repository.find(session, digest)
    if found is not None and found.state == ArtifactState.EXPIRED:
        raise UploadsBusy("An old artifact of this hash is being removed.", retry_after_s=_RETRY_S)
    own_uploads, own_bytes = await repository.on_their_way(session, caller)
    uploads, coming_bytes = await repository.on_their_way(session)
    if own_uploads >= settings.max_account_uploads or uploads >= settings.max_uploads:
        limits = f"of one account {settings.max_account_uploads}, of all {settings.max_uploads}"
        raise UploadsBusy(f"Uploads at one time, at most: {limits}.", retry_after_s=_RETRY_S)
    if await repository.owns(session, digest, caller):
        size = 0  # the same bytes again take no more room
    limit_bytes = settings.max_account_bytes
    if await _counted_bytes(session, caller, limit_bytes) + own_bytes + size > limit_bytes:
        raise QuotaExceeded(f"An account stores at most {limit_bytes} bytes here.")
    if await repository.all_bytes(session) + coming_bytes + size > settings.max_store_bytes:
        raise StoreFull
    upload = Upload(
        upload_id=secrets.token_hex(16),
        hash=digest,
        account=caller,
        size=size,
        expires_at=now + timedelta(seconds=settings.upload_s) + _STORING_GRACE,
    )
    session.add(upload)
    return upload.upload_id


async def _counted_bytes(session: AsyncSession, account: str, allowance_bytes: int) -> int:
    """What of an account's bytes counts towards its limit.

    Whoever starts disputes chooses what a provider has to give to auditors and the arbiter. That
    must not use up the room for the next dispute; up to an allowance, so that an account that
    audits itself gains no more than that.
    """
    given = await repository.given_bytes(session, account)
    return await repository.stored_bytes(session, account) - min(given, allowance_bytes)


async def collect(market: Market, now: datetime) -> int:
    """Remove artifacts that nobody has needed for ``artifact_ttl_s``; return how many.

    First their state says that they go, which no reader and no order passes over; then their bytes
    are removed, then their rows. Whatever stops in between is done by the next collection.
    """
    cutoff = now - timedelta(seconds=market.settings.artifact_ttl_s)
    async with market.database.writing() as session:
        await repository.lock_uploads(session)
        await repository.expire_unneeded(session, cutoff)
    async with market.database.reading() as session:
        expired = await repository.expired(session, _COLLECT_AT_ONCE)
    for digest in expired:
        await market.store.delete(digest)
    async with market.database.writing() as session:
        await repository.remove(session, expired)
    return len(expired)


async def stored(session: AsyncSession, digest: str, size: int, caller: str, now: datetime) -> None:
    """Write that an account stored an artifact, and order a check of what the store holds."""
    await repository.add(session, digest, size, now)
    await repository.own(session, digest, caller, now)
    key = f"{ARTIFACT_CHECK}:{digest}:{int(now.timestamp())}"
    await outbox.add(session, ARTIFACT_CHECK, key, {"hash": digest}, now=now)


async def readable(session: AsyncSession, digest: str, caller: str) -> Artifact:
    """Return an artifact that the caller may read.

    Raises
    ------
    ArtifactUnknown
        There is none, or it is not for this account.
    """
    row = await repository.readable(session, digest, caller)
    if row is None:
        raise ArtifactUnknown
    return row


async def sizes(session: AsyncSession, digests: Collection[str], caller: str) -> dict[str, int]:
    """Return the sizes of artifacts, all of which the caller must be able to read.

    Raises
    ------
    ArtifactUnknown
        One of them is not there, or not for this account.
    """
    found = await repository.readable_among(session, digests, caller)
    missing = sorted(set(digests) - found.keys())
    if missing:
        raise ArtifactUnknown(
            f"There is no artifact {missing[0]}; send its bytes with PUT first.", missing=missing
        )
    return found


async def check(market: Market, digest: str, now: datetime) -> bool:
    """Read an artifact back from the store, and mark it damaged when its bytes are not its own."""
    async with market.database.reading() as session:
        row = await repository.find(session, digest)
    if row is None:
        return True
    size = await market.store.size(digest)
    whole = size == row.size and await hash_of(market.store, digest, row.size) == digest
    state = ArtifactState.STORED if whole else ArtifactState.DAMAGED
    async with market.database.writing() as session:
        await repository.set_checked(session, digest, now, state)
    return whole
