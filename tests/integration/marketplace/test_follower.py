"""The index against the chain: rebuilt exactly, also after reorganisations and lost blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.chain import Chain
from contracts.bindings import LeaseStatus
from marketplace import schema
from marketplace.context import Market
from marketplace.indexer.follower import Follower
from marketplace.models import (
    ChainBlock,
    ChainCursor,
    ChainEvent,
    ChainSubject,
    Challenge,
    Commit,
    Credit,
    CreditEntry,
    Lease,
    Listing,
    Payment,
    Stake,
)
from tests.support.market_story import CUSTOMER, JUDGE, OWNER, WATCHER, Story

CHAIN_BORN = (
    ChainBlock, ChainCursor, ChainEvent, ChainSubject, Challenge, Commit, Credit, CreditEntry,
    Lease, Listing, Payment, Stake,
)  # fmt: skip


async def follow(market: Market, chain: Chain) -> None:
    """Follow until the newest block."""
    follower = Follower(market, chain)
    while await follower.step():
        pass


async def tables(market: Market) -> dict[str, list[Any]]:
    """All rows that were born on the chain."""
    found = {}
    async with market.database.reading() as session:
        for model in CHAIN_BORN:
            columns = model.__table__.columns
            keys = list(model.__table__.primary_key.columns)
            rows = await session.execute(select(*columns).order_by(*keys))
            found[model.__tablename__] = [tuple(row) for row in rows]
    return found


async def assert_as_on_chain(market: Market, story: Story) -> None:
    """Compare leases, stakes and credits with the contract's own views."""
    chain, escrow = story.chain, story.escrow
    async with market.database.reading() as session:
        leases = (await session.scalars(select(Lease))).all()
        stake = (await session.scalars(select(Stake))).one()
        credits = (await session.scalars(select(Credit))).all()
    assert leases
    for lease in leases:
        seen = chain.lease(bytes.fromhex(lease.lease_id[2:]))
        assert seen.status is LeaseStatus[lease.state.upper()]
        assert (seen.paid, seen.pending) == (lease.paid_segments, lease.pending_segments)
        assert "0x" + seen.root.hex() == lease.root
        clock = (lease.committed_at, seen.committed_at)
        assert (int(clock[0].timestamp()) if clock[0] else 0) == clock[1] or lease.paid_segments
        assert int(lease.started_at.timestamp()) == seen.opened_at
    held = chain.view(escrow.stake_of(OWNER.address, story.token))
    assert (held.total, held.locked) == (stake.total, stake.locked)
    assert (held.unbonding, held.owed) == (stake.unbonding, stake.owed)
    by_account = {credit.account: credit.amount for credit in credits}
    accounts = {OWNER.address, CUSTOMER.address, JUDGE.address, WATCHER.address}
    accounts |= {chain.view(escrow.treasury()), story.deployment.audit_pool}
    for account in accounts:
        expected = chain.view(escrow.credit_of(story.token, account))
        assert by_account.get(account.lower(), 0) == expected, account


async def test_when_the_database_is_dropped_then_the_chain_gives_all_of_it_back(
    story: Story, open_node: Callable[..., Any], postgres: Callable[[], str]
) -> None:
    first = await open_node("first", reorg_depth=16)
    await follow(first, story.chain)
    story.every_ending()
    story.mine(20)
    await follow(first, story.chain)
    before = await tables(first)
    await assert_as_on_chain(first, story)
    assert {row[-2] for row in before["leases"]} == {None, *range(9)}, "every cause of closing"

    # Another page size, another database, the same rows.
    for name, url in (("again", None), ("postgres", postgres())):
        again = await open_node(name, url, index_chunk_blocks=7, reorg_depth=16)
        await follow(again, story.chain)
        rebuilt = await tables(again)
        for table in before:
            if table != "chain_blocks":
                assert rebuilt[table] == before[table], table


async def test_when_blocks_are_reorganised_then_the_tables_are_those_of_the_new_chain(
    story: Story, open_node: Callable[..., Any]
) -> None:
    node = await open_node("node", reorg_depth=16)
    story.stake()
    listing = story.list_machine()
    kept = story.terms(listing)
    story.open(kept)
    story.commit(kept, 2)
    demanded = story.terms(listing)
    story.open(demanded)
    story.commit(demanded, 3)
    story.demand(demanded, 2)
    await follow(node, story.chain)
    before = await tables(node)
    head = story.chain.head()

    lost = story.terms(listing)
    story.open(lost)
    story.pass_time(11)
    story.settle(kept)
    story.commit(kept, 4)
    story.challenge(kept, 3)
    story.rule(kept, fraud=True, segment=3)
    story.attest(demanded, 1)
    await follow(node, story.chain)
    seen = await tables(node)
    assert len(seen["leases"]) == 3
    assert "unretrievable" in {row[-2] for row in seen["challenges"]}
    await assert_as_on_chain(node, story)

    story.reorganise(story.chain.head() - head)
    await follow(node, story.chain)
    after = await tables(node)
    for table in before:
        if table not in ("chain_blocks", "chain_cursors"):
            assert after[table] == before[table], table
    await assert_as_on_chain(node, story)


@pytest.mark.parametrize("depth", [1, 5, 15, 40])
async def test_when_a_fork_is_deep_then_the_node_still_finds_back(
    story: Story, open_node: Callable[..., Any], depth: int
) -> None:
    node = await open_node("node", reorg_depth=16)
    fresh = await open_node("fresh", reorg_depth=16)
    story.stake()
    terms = story.terms(story.list_machine())
    story.mine(30)
    story.open(terms)
    story.mine(10)
    story.stake(5)
    await follow(node, story.chain)
    story.reorganise(depth)
    await follow(node, story.chain)
    await follow(fresh, story.chain)
    found, expected = await tables(node), await tables(fresh)
    found.pop("chain_blocks")
    expected.pop("chain_blocks")
    assert found == expected


async def test_when_the_chain_lost_blocks_then_the_node_follows_the_shorter_chain(
    new_anvil: Callable[..., Any],
    story: Story,
    open_node: Callable[..., Any],
    tmp_path: Path,
) -> None:
    story.stake()
    story.list_machine()
    state = story.anvil.dump()
    folder = tmp_path / "own"
    folder.mkdir()
    own = new_anvil()
    own.kill()
    own.start(state=state)
    try:
        with Chain(own.rpc_url, story.deployment) as chain:
            node = await open_node("node", rpc_url=own.rpc_url)
            await follow(node, chain)
            before = await tables(node)
            await asyncio.to_thread(Story(own, story.deployment, chain, folder).stake, 7)
            await follow(node, chain)
            assert await tables(node) != before
            own.kill()
            own.start(state=state)
            await follow(node, chain)
            after = await tables(node)
    finally:
        own.kill()
    for table in before:
        if table not in ("chain_cursors", "chain_blocks"):
            assert after[table] == before[table], table


async def test_when_two_indexers_run_then_each_event_counts_once(
    story: Story, open_node: Callable[..., Any]
) -> None:
    node = await open_node("node", reorg_depth=16)
    story.stake()
    terms = story.terms(story.list_machine())
    story.open(terms)
    await asyncio.gather(*(follow(node, story.chain) for _ in range(3)))
    await assert_as_on_chain(node, story)


def test_when_the_newest_schema_is_asked_for_then_it_is_the_last_migration() -> None:
    versions = Path(schema.__file__).parent / "migrations" / "versions"
    names = {path.stem for path in versions.glob("20*.py")}
    sources = [path.read_text(encoding="utf-8") for path in versions.glob("20*.py")]
    # Of several migrations of one day, the last is the one that no other follows.
    followed = {name for name in names for text in sources if f'down_revision = "{name}"' in text}
    assert names - followed == {schema.newest()}
