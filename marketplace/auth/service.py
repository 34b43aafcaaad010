"""Sign-In with Ethereum (EIP-4361) and bearer tokens.

Covered: a message counts once (its nonce is taken out), only for this node's domain and chain, and
only while it is young; tokens are random, expire, and are stored as hashes only.
Not covered: accounts that are contracts (EIP-1271); they log in with an operator key.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.chain.errors import ChainError
from client_sdk.chain.signing import recover_text
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.login import LoginMessage, check_login, parse_login
from marketplace.auth import repository
from marketplace.context import Market
from marketplace.errors import LoginRefused, SignatureRefused
from marketplace.signed import signature_bytes

_TOKEN_PREFIX = "glm_"  # noqa: S105 - marks tokens for secret scanners


@dataclass(frozen=True, slots=True)
class Login:
    """A fresh login; ``token`` is shown once."""

    token: str
    address: str
    expires_at: datetime


async def issue_nonce(session: AsyncSession, market: Market, now: datetime) -> tuple[str, datetime]:
    """Return a new nonce and when it lapses."""
    nonce = secrets.token_hex(16)
    expires_at = now + timedelta(seconds=market.settings.nonce_ttl_s)
    repository.add_nonce(session, nonce, expires_at)
    return nonce, expires_at


async def check_message(market: Market, text: str, signature: str, now: datetime) -> LoginMessage:
    """Check a login message and its signature; the nonce is checked by `login`.

    Raises
    ------
    LoginRefused
        The message is malformed, for another site or chain, too old, or not signed by its account.
    """
    settings = market.settings
    try:
        message = parse_login(text)
        check_login(
            message,
            domain=settings.login_domain,
            uri=settings.public_url,
            chain_id=settings.chain_id,
            nonce=message.nonce,  # whether it is one of ours is asked of the database, in `login`
            now=now,
        )
        raw = signature_bytes(signature)
        signer = await asyncio.to_thread(recover_text, text, raw)
    except (ProtocolError, ChainError, SignatureRefused, ValueError) as error:
        raise LoginRefused(f"The login does not hold: {error}") from error
    if not same_address(signer, message.address):
        raise LoginRefused(f"The message names {message.address} but {signer} signed it.")
    return message


async def login(
    session: AsyncSession, market: Market, message: LoginMessage, now: datetime
) -> Login:
    """Take out the message's nonce and issue a token.

    Raises
    ------
    LoginRefused
        The nonce is not one of this node's, or was used.
    """
    if not await repository.use_nonce(session, message.nonce, now):
        raise LoginRefused("The nonce is not one of this node's, was used, or is too old.")
    token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = now + timedelta(seconds=market.settings.token_ttl_s)
    repository.add_token(session, token_hash(token), message.address.lower(), now, expires_at)
    return Login(token, message.address, expires_at)


async def authenticate(session: AsyncSession, token: str, now: datetime) -> str | None:
    """Return the account (lower-case) that a token stands for, if it still holds."""
    return await repository.account_of(session, token_hash(token), now)


async def logout(session: AsyncSession, token: str) -> None:
    """Forget a token."""
    await repository.drop_token(session, token_hash(token))


def token_hash(token: str) -> str:
    """Return what is stored of a token: it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
