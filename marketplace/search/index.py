"""The search index of one process: columns built from the database, refreshed when it changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.offers import Offer
from marketplace import models
from marketplace.context import Market
from marketplace.domain.ledger import ListingFacts, StakeFacts
from marketplace.domain.machines import Record, search_row
from marketplace.domain.rules import RuleBroken, check_offer
from marketplace.domain.states import OfferState
from marketplace.indexer.repository import facts_of
from marketplace.offers import repository
from marketplace.search.columns import Columns

REFRESH_S = 0.2
"""Shortest time between two looks at the database."""


@dataclass(frozen=True, slots=True)
class _Entry:
    row: dict[str, float | str]
    expires_at: float


class OfferIndex:
    """Keeps `Columns` in step with the database.

    A refresh reads only offers with a newer revision, and builds new columns only when some
    changed or expired; searches in between go on with the columns that are there.
    """

    def __init__(
        self,
        market: Market,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market = market
        self._now = now
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._revision = -1
        self._columns = Columns(())
        self._next_look = 0.0
        self._lock = asyncio.Lock()

    async def columns(self) -> Columns:
        """Return the index, at most `REFRESH_S` behind the database."""
        if self._monotonic() >= self._next_look:
            async with self._lock:
                if self._monotonic() >= self._next_look:
                    await self._refresh()
                    self._next_look = self._monotonic() + REFRESH_S
        return self._columns

    def row(self, digest: str) -> dict[str, float | str]:
        """Return the search fields of an offer, empty when it is not searchable."""
        entry = self._entries.get(digest)
        return entry.row if entry else {}

    async def _refresh(self) -> None:
        market, now = self._market, self._now()
        async with market.database.reading() as session:
            newest = await repository.newest_revision(session, market.scope)
            found, records = [], {}
            if newest != self._revision:
                rows = await repository.changed(session, market.scope, self._revision)
                found = [(row[0], row[1], row[2]) for row in rows]
                records = await repository.records(
                    session, market.scope, {offer.provider for offer, _, _ in found}
                )
        # A revision that went back means another database: start over.
        if newest < self._revision:
            self._entries.clear()
            self._revision = -1
            return
        gone = [d for d, e in self._entries.items() if e.expires_at <= now.timestamp()]
        for digest in gone:
            del self._entries[digest]
        for offer, listing, stake in found:
            self._take(offer, listing, stake, records.get(offer.provider, Record()), now)
        if found or gone:
            rows_now = [entry.row for entry in self._entries.values()]
            self._columns = await asyncio.to_thread(Columns, rows_now)
        self._revision = newest

    def _take(
        self,
        row: models.Offer,
        listing: models.Listing | None,
        stake: models.Stake | None,
        record: Record,
        now: datetime,
    ) -> None:
        self._entries.pop(row.digest, None)
        if listing is None or row.state != OfferState.ACTIVE:
            return
        facts = facts_of(ListingFacts, listing)
        held = (
            facts_of(StakeFacts, stake)
            if stake
            else StakeFacts(provider=row.provider, token=row.token)
        )
        try:
            offer = Offer.from_json(row.body)
            check_offer(offer, facts, int(now.timestamp()))
        except (ProtocolError, RuleBroken):
            return
        token = next(
            (t for t in self._market.deployment.tokens if t.address.lower() == row.token), None
        )
        if token is None:
            return
        fields = search_row(row.digest, offer, facts, held, record, token.decimals, now)
        if fields is not None:
            self._entries[row.digest] = _Entry(fields, row.expires_at.timestamp())
