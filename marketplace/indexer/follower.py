"""Follows the contract block by block, and goes back when the chain does.

One pass: read the cursor, compare the hashes of recent blocks with the chain, fetch the next range
with no session open, then write events, effects and cursor in one transaction. Another indexer that
was faster makes the transaction a no-op.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.chain.answers import Block
from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import ChainError
from marketplace.audits import assignments as audits
from marketplace.clock import from_timestamp, now
from marketplace.context import Market
from marketplace.domain.events import EventRecord
from marketplace.indexer import repository
from marketplace.indexer.decode import to_record
from marketplace.indexer.service import Changes, apply_events, rewind
from marketplace.jobs import service as jobs
from marketplace.leases import relay
from marketplace.offers import service as offers
from marketplace.receipts import service as receipts

log = logging.getLogger(__name__)

_MAX_PAUSE_S = 15.0


class ChainMoved(Exception):
    """The chain changed while a range was read; the next pass sees it whole."""


@dataclass(frozen=True, slots=True)
class _Range:
    """What a pass read from the chain."""

    first: int
    last: int
    head_at: datetime
    events: list[EventRecord]
    blocks: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class _Position:
    """What the database knows."""

    next_block: int
    confirmed_block: int
    recent: list[tuple[int, str]]


class Follower:
    """Keeps the chain-born tables of one contract in step with the chain."""

    def __init__(self, market: Market, chain: Chain) -> None:
        self._market = market
        self._chain = chain

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until told to stop; outages of the chain are waited out."""
        settings = self._market.settings
        pause = settings.index_poll_s
        while not stop.is_set():
            try:
                behind = await self.step()
                pause = settings.index_poll_s
            except (ChainError, ChainMoved) as error:
                log.warning("the chain cannot be followed right now: %s", error)
                behind, pause = False, min(pause * 2, _MAX_PAUSE_S)
            if not behind:
                await _wait(stop, pause)

    async def step(self) -> bool:
        """Make one pass; true when more blocks are waiting."""
        position = await self._position()
        head = await asyncio.to_thread(self._chain.head)
        ancestor = await self._ancestor(position, head)
        if ancestor is not None:
            await self._go_back(position, ancestor)
            return True
        if position.next_block > head:
            return False
        last = min(head, position.next_block + self._market.settings.index_chunk_blocks - 1)
        found = await asyncio.to_thread(self._fetch, position, last, head)
        await self._write(position, found)
        return last < head

    async def _position(self) -> _Position:
        market = self._market
        async with market.database.writing() as session:
            start = market.deployment.start_block
            await repository.create_cursor(
                session,
                market.scope,
                {
                    "next_block": start,
                    "head_block": start - 1,
                    "head_at": from_timestamp(0),
                    "confirmed_block": start - 1,
                },
            )
            row = await repository.cursor(session, market.scope)
            recent = await repository.recent_blocks(session, market.scope)
        assert row is not None, "the cursor was just written"
        return _Position(row.next_block, row.confirmed_block, recent)

    async def _ancestor(self, position: _Position, head: int) -> int | None:
        """Return the newest kept block that is still on the chain, when others are not."""
        for index, (number, digest) in enumerate(position.recent):
            block = None
            if number <= head:
                block = await asyncio.to_thread(self._chain.block, number)
            if block is not None and _hex(block.hash) == digest:
                return None if index == 0 else number
        if not position.recent:
            return None
        # None of them is: everything is read again.
        return self._market.deployment.start_block - 1

    def _fetch(self, position: _Position, last: int, head: int) -> _Range:
        first = position.next_block
        oldest_kept = max(first, head - self._market.settings.reorg_depth)
        events = sorted(
            self._chain.events(first, last), key=lambda e: (e.block_number, e.log_index)
        )
        wanted = {event.block_number for event in events}
        wanted |= set(range(oldest_kept, last + 1)) | {last}
        blocks = {number: self._block(number) for number in sorted(wanted)}
        self._check(position, blocks, events)
        times = {number: from_timestamp(block.timestamp) for number, block in blocks.items()}
        return _Range(
            first=first,
            last=last,
            head_at=times[last],
            events=[to_record(event, times[event.block_number]) for event in events],
            blocks=[(n, _hex(b.hash)) for n, b in blocks.items() if n >= oldest_kept],
        )

    def _block(self, number: int) -> Block:
        block = self._chain.block(number)
        if block is None:
            raise ChainMoved(f"block {number} is gone")
        return block

    def _check(
        self, position: _Position, blocks: dict[int, Block], events: Iterable[object]
    ) -> None:
        """Check that blocks and events are of one chain, joined to what is known."""
        known = dict(position.recent)
        known |= {number: _hex(block.hash) for number, block in blocks.items()}
        for number, block in blocks.items():
            if known.get(number - 1, _hex(block.parent_hash)) != _hex(block.parent_hash):
                raise ChainMoved(f"block {number} does not follow the one before")
        for event in events:
            number = event.block_number  # type: ignore[attr-defined]  # an event of the bindings
            if known[number] != _hex(event.block_hash):  # type: ignore[attr-defined]  # as above
                raise ChainMoved(f"an event is not in block {number}")

    async def _write(self, position: _Position, found: _Range) -> None:
        market, moment = self._market, now()
        scope, settings = market.scope, market.settings
        confirmed = max(position.confirmed_block, found.last - settings.confirmations)
        async with market.database.writing() as session:
            moved = await repository.move_cursor(
                session,
                scope,
                position.next_block,
                {
                    "next_block": found.last + 1,
                    "head_block": found.last,
                    "head_at": found.head_at,
                    "confirmed_block": confirmed,
                },
            )
            if not moved:
                return
            oldest = found.last - settings.reorg_depth
            await repository.keep_blocks(session, scope, found.blocks, oldest)
            changes = await apply_events(session, scope, found.events)
            await self._follow(session, changes, moment)
            await self._confirm(session, position.confirmed_block, confirmed, moment)
        if found.events:
            log.info("indexed %d events up to block %d", len(found.events), found.last)

    async def _go_back(self, position: _Position, ancestor: int) -> None:
        market, moment = self._market, now()
        log.warning("the chain was reorganised: going back to block %d", ancestor)
        async with market.database.writing() as session:
            moved = await repository.move_cursor(
                session,
                market.scope,
                position.next_block,
                {
                    "next_block": ancestor + 1,
                    "head_block": ancestor,
                    "confirmed_block": min(position.confirmed_block, ancestor),
                },
            )
            if not moved:
                return
            changes = await rewind(session, market.scope, ancestor)
            await audits.rewind(session, market.scope, changes.leases, ancestor, moment)
            await self._follow(session, changes, moment)

    async def _follow(self, session: AsyncSession, changes: Changes, moment: datetime) -> None:
        await offers.follow_chain(session, self._market.scope, changes)
        await jobs.follow_chain(session, self._market.scope, changes.leases, moment)
        await relay.follow_chain(session, self._market.scope, changes.leases)
        await audits.follow_windows(session, self._market.scope, changes.leases)

    async def _confirm(
        self, session: AsyncSession, before: int, confirmed: int, moment: datetime
    ) -> None:
        """Act on the events that became final enough."""
        scope = self._market.scope

        async def named(*names: str) -> list[EventRecord]:
            return await repository.events_between(session, scope, before, confirmed, names)

        await audits.order_draws(session, await named("Committed"), moment)
        disputes = await named(*audits.DISPUTE_EVENTS)
        await audits.follow_disputes(session, self._market, disputes, moment)
        await receipts.order_receipts(session, await named("Closed"), moment)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
