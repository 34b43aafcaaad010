"""The faucet of the development chain: every request becomes an item of the outbox."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.ids import IdKind, new_id
from contracts.deployments import DEV_CHAIN_ID
from marketplace.context import Market
from marketplace.domain.states import OutboxState
from marketplace.errors import FaucetClosed, FaucetRequestUnknown
from marketplace.faucet.schemas import FaucetAnswer
from marketplace.models import OutboxItem
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import FAUCET


def check_open(market: Market) -> None:
    """Refuse where there is no development chain, or no key that may mint on it."""
    settings = market.settings
    if settings.chain_id != DEV_CHAIN_ID or settings.faucet_key_file is None:
        raise FaucetClosed


async def request(
    session: AsyncSession, address: str, now: datetime, *, coin: bool = True
) -> FaucetAnswer:
    """Order test tokens for a wallet, with or without the chain's own coin."""
    request_id = new_id(IdKind.EVENT)
    payload = {"address": address, "request_id": request_id, "coin": coin}
    await outbox.add(session, FAUCET, _key(request_id), payload, now=now)
    return FaucetAnswer(request_id=request_id, state="queued", transactions=[])


async def state(session: AsyncSession, request_id: str) -> FaucetAnswer:
    """Tell where a request stands.

    Raises
    ------
    FaucetRequestUnknown
        There is none with this id.
    """
    item = await outbox.find(session, _key(request_id))
    if item is None:
        raise FaucetRequestUnknown
    return _answer(request_id, item)


def _key(request_id: str) -> str:
    return f"{FAUCET}:{request_id}"


def _answer(request_id: str, item: OutboxItem) -> FaucetAnswer:
    result = item.result or {}
    queued = "sent" if result.get("transactions") else "queued"
    failed = item.state == OutboxState.FAILED
    return FaucetAnswer(
        request_id=request_id,
        state=queued if item.state == OutboxState.QUEUED else item.state,
        transactions=list(result.get("transactions", [])),
        error=item.last_error if failed else None,
    )
