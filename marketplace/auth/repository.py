"""Rows of nonces and tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.models import AccessToken, LoginNonce


def add_nonce(session: AsyncSession, nonce: str, expires_at: datetime) -> None:
    """Remember a nonce that was given out."""
    session.add(LoginNonce(nonce=nonce, expires_at=expires_at))


async def use_nonce(session: AsyncSession, nonce: str, now: datetime) -> bool:
    """Take a nonce out; false when it is unknown, used or too old."""
    result = await session.execute(
        delete(LoginNonce)
        .where(LoginNonce.nonce == nonce, LoginNonce.expires_at > now)
        .returning(LoginNonce.nonce)
    )
    return result.one_or_none() is not None


def add_token(
    session: AsyncSession, token_hash: str, address: str, now: datetime, expires_at: datetime
) -> None:
    """Remember a token by its hash."""
    session.add(
        AccessToken(token_hash=token_hash, address=address, created_at=now, expires_at=expires_at)
    )


async def account_of(session: AsyncSession, token_hash: str, now: datetime) -> str | None:
    """Return the account of a token that still holds."""
    return await session.scalar(
        select(AccessToken.address).where(
            AccessToken.token_hash == token_hash, AccessToken.expires_at > now
        )
    )


async def drop_token(session: AsyncSession, token_hash: str) -> None:
    """Forget a token."""
    await session.execute(delete(AccessToken).where(AccessToken.token_hash == token_hash))


async def drop_expired(session: AsyncSession, now: datetime) -> None:
    """Forget nonces and tokens whose time is over."""
    await session.execute(delete(LoginNonce).where(LoginNonce.expires_at <= now))
    await session.execute(delete(AccessToken).where(AccessToken.expires_at <= now))
