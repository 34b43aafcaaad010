"""Delivers the items of the outbox: claim, do, write back.

Doing happens with no session open. An item is done at least once; that it has one effect is the
business of its handler, whose keys are idempotent: the sender's journal for transactions, unique
rows for everything else.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from client_sdk.chain.errors import ChainError
from marketplace.clock import now
from marketplace.context import Market
from marketplace.domain.states import OutboxState
from marketplace.errors import MarketError
from marketplace.outbox import repository
from marketplace.outbox.repository import Claimed

log = logging.getLogger(__name__)

GIVE_UP_AFTER = timedelta(days=1)
"""An item that has failed for so long is given up."""
_FIRST_PAUSE_S = 0.5
_MAX_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """The item has had its effect."""

    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Again:
    """The item is to be looked at again; nothing went wrong."""

    after_s: float
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The item cannot have its effect any more."""

    error: str


Outcome = Done | Again | GivenUp
Handler = Callable[[Mapping[str, Any]], Awaitable[Outcome]]


async def deliver(market: Market, handlers: Mapping[str, Handler], item_id: str) -> str | None:
    """Deliver one item, unless another worker holds it or it is done.

    Returns
    -------
    str | None
        The item's kind, or nothing when there was nothing to do.
    """
    async with market.database.writing() as session:
        claimed = await repository.claim(session, item_id, now(), market.settings.outbox_lock_s)
    if claimed is None:
        return None
    outcome: Outcome
    error: str | None = None
    try:
        outcome = await handlers[claimed.kind](claimed.payload)
    except (ChainError, MarketError, OSError) as failure:
        # The network, the store or the chain: expected, and tried again with growing pauses.
        error = f"{type(failure).__name__}: {failure}"
        outcome = _after_failure(claimed, error)
        log.warning("outbox %s %s: %s", claimed.kind, claimed.item_id, error)
    except Exception as failure:  # a bug must not stop the other items
        error = f"{type(failure).__name__}: {failure}"
        outcome = _after_failure(claimed, error)
        log.exception("outbox %s %s failed", claimed.kind, claimed.item_id)
    await _write_back(market, claimed, outcome, error)
    return claimed.kind


def pause_s(num_tries: int, jitter: float) -> float:
    """Return the pause before the next try, in seconds.

    Parameters
    ----------
    num_tries
        Tries since the last one that did not fail, at least 1.
    jitter
        Number from 0 to 1; spreads tries that failed together.
    """
    doubled = _FIRST_PAUSE_S * 2.0 ** min(num_tries - 1, 16)
    return float(min(doubled, _MAX_PAUSE_S) * (0.5 + jitter / 2))


def _after_failure(claimed: Claimed, error: str) -> Outcome:
    if now() - claimed.created_at > GIVE_UP_AFTER:
        return GivenUp(error)
    return Again(pause_s(claimed.num_tries, random.random()))  # noqa: S311 - spreads load only


async def _write_back(
    market: Market, claimed: Claimed, outcome: Outcome, error: str | None
) -> None:
    moment = now()
    async with market.database.writing() as session:
        if isinstance(outcome, Done):
            # A transaction that an earlier try sent stays named, and counted, whatever came of it.
            result = {**claimed.result, **outcome.result}
            await repository.end(session, claimed, moment, OutboxState.DONE, result=result)
        elif isinstance(outcome, GivenUp):
            await repository.end(session, claimed, moment, OutboxState.FAILED, error=outcome.error)
        else:
            await repository.end(
                session,
                claimed,
                moment,
                OutboxState.QUEUED,
                result=outcome.result or None,
                error=error,
                failed=error is not None,
                due_at=moment + timedelta(seconds=outcome.after_s),
            )
