"""Registration of auditors and arbiters, with encryption keys that they signed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.messages import AuditorKey
from marketplace import models
from marketplace.audits import repository
from marketplace.context import Market
from marketplace.domain.states import AuditorRole
from marketplace.errors import MessageRefused


async def register(
    session: AsyncSession,
    market: Market,
    key: AuditorKey,
    signature: str,
    caller: str,
    role: AuditorRole,
    now: datetime,
) -> models.Auditor:
    """Take an auditor's key, whose signature by the caller was checked.

    Raises
    ------
    MessageRefused
        The key is for another account, or has lapsed.
    """
    if not same_address(key.auditor, caller):
        raise MessageRefused(f"The key is of {key.auditor}; you are logged in as {caller}.")
    if key.expired(int(now.timestamp())):
        raise MessageRefused("The key has expired; sign a new one.")
    values = {
        "address": caller,
        "role": role,
        "key": dict(key.to_json()),
        "key_signature": signature.lower(),
        "hardware_class": to_hex(key.hardware_class),
        "registered_at": now,
        "seen_at": now,
    }
    await repository.register(session, market.scope, values)
    row = await repository.auditor(session, market.scope, caller, role)
    assert row is not None, "it was just written"
    await session.refresh(row)
    return row
