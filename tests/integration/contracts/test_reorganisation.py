"""Attack: a reorganisation between an opening and the commit that relies on it.

The commit is mined; then the blocks from the opening on are replaced. The very same bytes of the
commit reach the new chain, where the lease is gone, another stands in its place, or it was opened
later. Leases numbered one after the other would hand the commit, and the bond behind it, to the
wrong lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from client_sdk.chain.signing import sign
from client_sdk.protocol.terms import Terms
from contracts.bindings import Call, LeaseStatus
from tests.support.market_story import BOND, CUSTOMER, OWNER, WORKER, Story

LEAST_S = 10
"""Seconds that a segment takes at least."""


@pytest.fixture(scope="module")
def story(new_anvil: Callable[..., Any]) -> Iterator[Story]:
    story = Story.start(new_anvil())
    with closing(story.chain):
        yield story


class Mempool:
    """Raw transactions, which can be sent again as they are."""

    def __init__(self, story: Story) -> None:
        self._rpc = story.anvil.rpc
        self._story = story

    def sign(self, account: LocalAccount, call: Call) -> str:
        nonce = int(self._rpc("eth_getTransactionCount", account.address, "latest"), 16)
        fields = {
            "chainId": self._story.anvil.chain_id,
            "nonce": nonce,
            "to": call.to,
            "data": call.data,
            "value": 0,
            "gas": 500_000,
            "gasPrice": 10**11,
        }
        return "0x" + bytes(account.sign_transaction(fields).raw_transaction).hex()

    def send(self, raw: str) -> bool:
        """Whether the transaction, once mined, was carried out."""
        tx_hash = self._rpc("eth_sendRawTransaction", raw)
        self._story.mine()
        return self._rpc("eth_getTransactionReceipt", tx_hash)["status"] == "0x1"

    def open(self, terms: Terms) -> None:
        signature = sign(terms, self._story.chain.domain, WORKER)
        call = self._story.escrow.open(terms.abi_tuple(), signature)
        assert self.send(self.sign(CUSTOMER, call))

    def sign_commit(self, terms: Terms, segments: int) -> str:
        call = self._story.escrow.commit(terms.abi_tuple(), segments, bytes([7]) * 32)
        return self.sign(WORKER, call)


def test_when_the_opening_is_reorganised_away_then_its_commit_claims_nothing(
    story: Story,
) -> None:
    chain, mempool = story.chain, Mempool(story)
    story.stake(4 * BOND)
    listing = story.list_machine()
    terms = story.terms(listing)
    other = story.terms(listing, job_hash=bytes([6]) * 32)
    lease_id, other_id = (one.lease_id(chain.domain) for one in (terms, other))

    fork = chain.head()
    mempool.open(terms)
    commit = mempool.sign_commit(terms, 2)
    assert mempool.send(commit)
    assert chain.lease(lease_id).pending == 2

    story.reorganise(chain.head() - fork)
    assert chain.lease(lease_id).status is LeaseStatus.NONE
    stake = chain.view(story.escrow.stake_of(OWNER.address, story.token))
    assert stake.locked == 0
    mempool.open(other)
    assert not mempool.send(commit)
    assert chain.lease(lease_id).status is LeaseStatus.NONE
    assert chain.lease(other_id).pending == 0
    assert chain.view(story.escrow.stake_of(OWNER.address, story.token)).locked == other.bond


def test_when_the_lease_is_opened_again_later_then_its_commit_counts_from_there(
    story: Story,
) -> None:
    chain, mempool = story.chain, Mempool(story)
    terms = story.terms(story.list_machine(), bond=0, min_segment_seconds=LEAST_S)
    lease_id = terms.lease_id(chain.domain)

    fork = chain.head()
    mempool.open(terms)
    opened_at = chain.lease(lease_id).opened_at
    story.pass_time(2 * LEAST_S)
    early = mempool.sign_commit(terms, 2)
    assert mempool.send(early)

    story.reorganise(chain.head() - fork)
    story.pass_time(4 * LEAST_S)
    mempool.open(terms)
    again = chain.lease(lease_id)
    assert again.status is LeaseStatus.ACTIVE
    assert again.opened_at > opened_at
    # The same bytes: the renter would pay for segments that nobody can have computed.
    assert not mempool.send(early)
    assert chain.lease(lease_id).pending == 0
    story.pass_time(2 * LEAST_S)
    assert mempool.send(mempool.sign_commit(terms, 2))
    assert chain.lease(lease_id).pending == 2
