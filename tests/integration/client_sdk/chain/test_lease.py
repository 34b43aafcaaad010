"""A lease's life through the bindings: what protocol, bindings and contract say must agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import CallReverted
from client_sdk.chain.sender import Sender
from client_sdk.chain.signing import sign
from client_sdk.facts import ChainFacts
from client_sdk.ordering import Agreed, Ordering
from client_sdk.policy import MarketFacts, Policy
from client_sdk.protocol.addresses import ZERO_ADDRESS
from client_sdk.protocol.consents import Challenge, FailedProbe
from client_sdk.protocol.eip712 import digest
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms, Voucher, chained_root
from contracts.bindings import CloseCause, LeaseStatus, OrderUse, Source, Token
from contracts.events import (
    Closed,
    Committed,
    Event,
    Listed,
    Opened,
    OrderUsed,
    Settled,
    Stopped,
    Withdrawn,
)
from contracts.reputation import reputations

PRICE = 1_000_000
BOND = 20_000_000
DOCUMENT = b'{"gpu":"none"}'


@dataclass
class Market:
    chain: Chain
    accounts: Any
    token: str
    listing: Listed
    renter: Sender
    provider: Sender
    operator: Sender
    arbiter: Sender

    def terms(self, **changes: Any) -> Terms:
        now = self.chain.now()
        terms = Terms(
            renter=self.accounts.renter.address,
            provider=self.accounts.provider.address,
            operator=self.accounts.operator.address,
            token=self.token,
            arbiter=self.accounts.arbiter.address,
            listing_id=self.listing.listing_id,
            machine_hash=self.listing.machine_hash,
            job_hash=b"\x07" * 32,
            price_per_segment=PRICE,
            bond=BOND,
            segments=4,
            fee_bps=0,
            audit_bps=300,
            reserve_segments=0,
            window=2,
            commit_grace=10,
            dispute_timeout=20,
            open_by=now + 60,
            first_commit_within=60,
            max_duration=600,
            min_segment_seconds=0,
            predecessor=bytes(32),
            nonce=time.time_ns() % 2**64,
        )
        return replace(terms, **changes)

    def open(self, terms: Terms) -> bytes:
        escrow, name = self.chain.escrow, terms.lease_id(self.chain.domain).hex()
        signature = sign(terms, self.chain.domain, self.accounts.operator)
        approve = Token(self.token).approve(escrow.address, terms.cost)
        self.renter.send(approve, f"approve/{name}", confirmations=0)
        call = escrow.open(terms.abi_tuple(), signature)
        receipt = self.renter.send(call, f"open/{name}", confirmations=0)
        (opened,) = receipt.events
        assert isinstance(opened, Opened)
        assert opened.terms == terms.abi_tuple()
        assert opened.lease_id == terms.lease_id(self.chain.domain)
        return opened.lease_id

    def settle_when_matured(self, terms: Terms) -> list[Event]:
        call = self.chain.escrow.settle(terms.abi_tuple())
        deadline = time.monotonic() + 20
        refusals = set()
        while time.monotonic() < deadline:
            try:
                return list(self.renter.send(call, f"settle/{terms.nonce}").events)
            except CallReverted as error:
                refusals.add(error.name)
            time.sleep(0.5)
        raise AssertionError(f"never settled: {refusals}")


@pytest.fixture(scope="module")
def market(chain: Chain, anvil: Any, accounts: Any) -> Market:
    def sender(account: Any) -> Sender:
        return Sender(chain, account, anvil.folder / f"{account.address}.sqlite", poll_s=0.1)

    provider, escrow = sender(accounts.provider), chain.escrow
    token = chain.deployment.token("tUSD").address
    provider.submit(Token(token).approve(escrow.address, 10 * BOND), "lease-test/approve")
    provider.send(escrow.stake(token, 10 * BOND), "lease-test/stake", confirmations=0)
    listing = escrow.list_machine(
        b"\x01" * 32, token, 10 * PRICE, accounts.operator.address, DOCUMENT
    )
    (listed,) = provider.send(listing, "lease-test/list", confirmations=0).events
    assert isinstance(listed, Listed)
    assert listed.document == DOCUMENT
    return Market(
        chain,
        accounts,
        token,
        listed,
        sender(accounts.renter),
        provider,
        sender(accounts.operator),
        sender(accounts.arbiter),
    )


def test_when_segments_are_committed_and_mature_then_they_are_paid(market: Market) -> None:
    chain, escrow = market.chain, market.chain.escrow
    terms = market.terms()
    start = chain.head()
    lease_id = market.open(terms)
    assert chain.view(escrow.lease_id_of(terms.abi_tuple())) == lease_id
    assert chain.lease(lease_id).status is LeaseStatus.ACTIVE
    earned = chain.view(escrow.credit_of(market.token, terms.provider))

    commit = escrow.commit(terms.abi_tuple(), 3, b"\x05" * 32)
    market.operator.send(commit, f"commit/{lease_id.hex()}", confirmations=0)
    lease = chain.lease(lease_id)
    assert (lease.pending, lease.paid) == (3, 0)
    assert lease.root == chained_root(bytes(32), 3, b"\x05" * 32)

    with pytest.raises(CallReverted) as failure:
        market.renter.submit(escrow.settle(terms.abi_tuple()), f"early/{lease_id.hex()}")
    assert failure.value.name == "WindowOpen"
    events = market.settle_when_matured(terms)
    paid = [event for event in events if isinstance(event, Settled)]
    to_audit_pool = 3 * PRICE * 300 // 10_000
    assert [event.to_provider for event in paid] == [3 * PRICE - to_audit_pool]
    credit = chain.view(escrow.credit_of(market.token, terms.provider)) - earned
    assert credit == 3 * PRICE - to_audit_pool

    market.operator.send(escrow.close(terms.abi_tuple()), f"close/{lease_id.hex()}")
    history = chain.events(start, chain.head(), topic=lease_id)
    assert [type(event) for event in history] == [Opened, Committed, Settled, Closed]
    closed = history[-1]
    assert isinstance(closed, Closed)
    assert (closed.cause, closed.refund) == (CloseCause.PROVIDER_CLOSED, PRICE)

    before = chain.token_balance(market.token, terms.provider)
    withdraw = escrow.withdraw_to(market.token, terms.provider)
    (withdrawn,) = market.renter.send(withdraw, f"withdraw/{lease_id.hex()}").events
    assert isinstance(withdrawn, Withdrawn)
    assert chain.token_balance(market.token, terms.provider) == before + withdrawn.amount


def test_when_a_metered_lease_has_a_voucher_then_it_pays_that_much(market: Market) -> None:
    chain, escrow = market.chain, market.chain.escrow
    terms = market.terms(window=0, bond=0)
    lease_id = market.open(terms)
    voucher = Voucher(lease_id=lease_id, segments=2)
    signature = sign(voucher, chain.domain, market.accounts.renter)
    call = escrow.settle_voucher(terms.abi_tuple(), 2, signature)
    events = market.operator.send(call, f"voucher/{lease_id.hex()}", confirmations=0).events
    assert [event.paid_segments for event in events if isinstance(event, Settled)] == [2]
    stop = market.renter.send(
        escrow.stop(terms.abi_tuple()), f"stop/{lease_id.hex()}", confirmations=0
    )
    assert [type(event) for event in stop.events] == [Stopped]
    with pytest.raises(CallReverted) as failure:
        market.renter.submit(escrow.stop(terms.abi_tuple()), f"stop-again/{lease_id.hex()}")
    assert failure.value.name == "AlreadyStopped"


def test_when_terms_are_signed_by_somebody_else_then_opening_is_refused(market: Market) -> None:
    chain, escrow = market.chain, market.chain.escrow
    terms = market.terms()
    signature = sign(terms, chain.domain, market.accounts.stranger)
    approve = Token(market.token).approve(escrow.address, terms.cost)
    market.renter.send(approve, f"approve/{terms.nonce}", confirmations=0)
    with pytest.raises(CallReverted) as failure:
        market.renter.submit(escrow.open(terms.abi_tuple(), signature), f"forged/{terms.nonce}")
    assert failure.value.name == "SignatureInvalid"
    assert failure.value.args_by_name["digest"] == terms.lease_id(chain.domain)


def test_when_a_lease_was_never_opened_then_its_view_says_so(market: Market) -> None:
    lease = market.chain.lease(b"\x09" * 32)
    assert lease.status is LeaseStatus.NONE
    dispute = market.chain.view(market.chain.escrow.dispute_of(b"\x09" * 32))
    assert dispute.challenger == ZERO_ADDRESS


def test_when_reputation_is_recomputed_from_events_then_the_contract_says_the_same(
    market: Market,
) -> None:
    chain, escrow = market.chain, market.chain.escrow
    done = market.terms(segments=2)
    market.open(done)
    market.operator.send(escrow.commit(done.abi_tuple(), 2, b"\x05" * 32), f"commit/{done.nonce}")
    market.settle_when_matured(done)
    faked = market.terms(window=60)
    market.open(faked)
    market.operator.send(escrow.commit(faked.abi_tuple(), 2, b"\x06" * 32), f"commit/{faked.nonce}")
    bond = Token(market.token).approve(escrow.address, 2 * PRICE)
    market.renter.send(bond, f"approve-bond/{faked.nonce}")
    market.renter.send(escrow.challenge(faked.abi_tuple(), 1), f"challenge/{faked.nonce}")
    market.arbiter.send(escrow.rule(faked.abi_tuple(), True, 1), f"rule/{faked.nonce}")

    events = chain.events(chain.deployment.start_block, chain.head())
    found = reputations(events)
    provider = found[done.provider, market.token]
    assert provider.completed >= 1
    assert provider.slashed >= 1
    assert provider.proved >= 3 * PRICE
    for (account, token), reputation in found.items():
        assert chain.view(escrow.reputation_of(account, token)) == reputation


def test_when_a_consent_names_the_commit_then_anybody_challenges_with_it(market: Market) -> None:
    chain, escrow = market.chain, market.chain.escrow
    terms = market.terms(window=60)
    lease_id = market.open(terms)
    market.operator.send(escrow.commit(terms.abi_tuple(), 2, b"\x05" * 32), f"commit/{terms.nonce}")
    challenger = market.accounts.renter
    consent = Challenge(
        lease_id=lease_id,
        root=chain.lease(lease_id).root,
        segment=1,
        source=Source.CREDIT,
        expires_at=chain.now() + 60,
        nonce=7,
    )
    fields = (lease_id, consent.root, 1, Source.CREDIT, consent.expires_at, 7)
    assert chain.view(escrow.challenge_digest(*fields)) == digest(consent, chain.domain)
    bond = Token(market.token).approve(escrow.address, 2 * PRICE)
    market.renter.send(bond, f"approve-bond/{terms.nonce}")
    call = escrow.challenge_from(
        terms.abi_tuple(),
        1,
        Source.CREDIT,
        challenger.address,
        consent.expires_at,
        7,
        sign(consent, chain.domain, challenger),
    )
    market.operator.send(call, f"challenge/{terms.nonce}")
    assert chain.lease(lease_id).status is LeaseStatus.DISPUTED


def test_when_the_renter_has_credit_then_its_next_lease_is_paid_from_that_first(
    market: Market,
) -> None:
    chain, escrow, renter = market.chain, market.chain.escrow, market.accounts.renter

    def funds() -> tuple[int, int]:
        credit = chain.view(escrow.credit_of(market.token, renter.address))
        return credit, chain.token_balance(market.token, renter.address)

    before, _ = funds()
    failed = market.terms()
    lease_id, report = market.open(failed), b"\x08" * 32
    probe = sign(
        FailedProbe(lease_id=lease_id, report=report), chain.domain, market.accounts.operator
    )
    reject = escrow.reject_machine(failed.abi_tuple(), report, probe)
    market.operator.send(reject, f"reject/{failed.nonce}", confirmations=0)
    assert funds()[0] == before + failed.cost, "all of it is refunded"

    ordering = Ordering(
        account=renter,
        chain=chain,
        facts=ChainFacts(chain),
        sender=market.renter,
        market=MarketFacts(arbiter=market.accounts.arbiter.address, tokens=frozenset()),
        policy=Policy(),
    )
    for is_enough in (True, False):
        credit, held = funds()
        assert credit > 0
        terms = market.terms(price_per_segment=PRICE // 2 if is_enough else credit)
        agreed = Agreed(
            terms=terms,
            signature=sign(terms, chain.domain, market.accounts.operator),
            lease_id=terms.lease_id(chain.domain),
            step_seconds=None,
        )
        tx_hash = ordering.open(agreed)
        assert ordering.open(agreed) == tx_hash, "again, as after a crash"
        assert chain.lease(agreed.lease_id).status is LeaseStatus.ACTIVE
        left = credit - terms.cost
        assert funds() == ((left, held) if is_enough else (0, held + left))


def test_when_a_signed_order_is_used_then_it_pays_for_what_its_leases_use(market: Market) -> None:
    chain, escrow = market.chain, market.chain.escrow
    terms = market.terms()
    order = Order(
        renter=terms.renter,
        token=terms.token,
        arbiter=terms.arbiter,
        job_hash=terms.job_hash,
        hardware_class=market.listing.hardware_class,
        max_price_per_hour=1,
        max_price_per_segment=PRICE,
        budget=terms.cost,
        min_bond=BOND,
        min_bond_bps=50_000,
        min_audit_bps=300,
        segments=terms.segments,
        max_duration_s=600,
        min_window=2,
        max_window=2,
        max_dispute_timeout=20,
        max_first_commit=60,
        verification=1,
        expires_at=chain.now() + 600,
        nonce=time.time_ns() % 2**64,
    )
    # The grace may be no longer than the window that the order asks for.
    terms = replace(terms, commit_grace=2)
    assert order.broken_rule(terms, market.listing.hardware_class) is None
    order_id = order.order_digest(chain.domain)
    assert chain.view(escrow.order_digest(order.abi_tuple())) == order_id
    approve = Token(market.token).approve(escrow.address, terms.cost)
    market.renter.send(approve, f"approve/{terms.nonce}")
    signature = sign(terms, chain.domain, market.accounts.operator)
    call = escrow.open_for(
        terms.abi_tuple(),
        signature,
        order.abi_tuple(),
        sign(order, chain.domain, market.accounts.renter),
    )
    market.operator.send(call, f"open-for/{terms.nonce}")
    assert chain.view(escrow.order_use_of(order_id)) == OrderUse(terms.cost, 4, False)
    closing = market.operator.send(escrow.close(terms.abi_tuple()), f"close/{terms.nonce}")
    (used,) = [event for event in closing.events if isinstance(event, OrderUsed)]
    assert (used.order_digest, used.spent, used.segments) == (order_id, 0, 0)
    assert chain.view(escrow.order_use_of(order_id)) == OrderUse(0, 0, False)


def test_when_blocks_pass_then_the_beacon_gives_one_value_for_good(
    market: Market, sender_of: Callable[..., Sender]
) -> None:
    chain = market.chain
    block = chain.head()
    assert chain.beacon(block) is None
    deadline = time.monotonic() + 20
    while (value := chain.beacon(block)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert chain.head() >= block + 4
    assert chain.beacon(block) == value
    assert len(value) == 32
    assert chain.beacon(block - 1) != value
