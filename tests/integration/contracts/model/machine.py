"""The random market: any account calls anything, rightly and wrongly, while time passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from client_sdk.protocol.addresses import ZERO_ADDRESS
from client_sdk.protocol.consents import Challenge, FailedProbe, Opening, Revocation, Stop
from client_sdk.protocol.eip712 import digest
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms, Voucher
from contracts.bindings import Call, LeaseStatus, Source
from tests.integration.contracts.model.drain import drain
from tests.integration.contracts.model.draws import (
    AMOUNT,
    GOOD_WISH,
    ORDERED,
    SEGMENT,
    SOMEBODY,
    SOMEBODY_ELSE,
    UNKNOWN,
    UNLISTED,
    WHICH,
    WISH,
    WRONG_ORDER,
    Change,
    Wish,
    rarely,
)
from tests.integration.contracts.model.ledger import NATIVE, challenge_bond
from tests.integration.contracts.model.openings import Authorization, Permit
from tests.integration.contracts.model.state import Lease
from tests.integration.contracts.model.steps import step, take_step
from tests.integration.contracts.model.twin import OPERATORS, PROVIDERS, START, Twin

JOB: Final = b"\x07" * 32


def is_active(lease: Lease) -> bool:
    return lease.status is LeaseStatus.ACTIVE


def is_disputed(lease: Lease) -> bool:
    return lease.status is LeaseStatus.DISPUTED


def has_pending(lease: Lease) -> bool:
    return is_active(lease) and lease.pending > lease.paid


def has_claim(lease: Lease) -> bool:
    """Whether committed segments wait."""
    return has_pending(lease) or is_disputed(lease)


def is_metered(lease: Lease) -> bool:
    return is_active(lease) and lease.terms.metered


def is_replayed(lease: Lease) -> bool:
    return is_active(lease) and not lease.terms.metered


def was_paid(lease: Lease) -> bool:
    """Whether a late ruling can say that it was paid wrongly."""
    return not lease.is_live and not lease.terms.metered and lease.paid > 0


def is_owed(lease: Lease) -> bool:
    return lease.owed > 0


def some(is_wanted: Callable[[Lease], bool]) -> Callable[[Market], bool]:
    """Precondition: there is a lease that is wanted."""
    return lambda market: any(is_wanted(lease) for lease in market.leases)


class Market(RuleBasedStateMachine):
    """Rules are calls; `twin` is set by whoever runs the machine."""

    twin: ClassVar[Twin]

    def __init__(self) -> None:
        super().__init__()
        self.twin.restart()
        self.model, self.escrow = self.twin.model, self.twin.escrow
        self.of = self.twin.of
        self.has_parted = False
        """Whether model and contract have disagreed."""

    # Choosing and calling

    @property
    def leases(self) -> list[Lease]:
        return list(self.model.state.leases.values())

    def pick(self, which: int, is_wanted: Callable[[Lease], Any]) -> Lease:
        """A lease that is wanted; any lease if there is none, and for a `which` of 7."""
        wanted = [x for x in self.leases if which != 7 and is_wanted(x)] or self.leases
        return wanted[which % len(wanted)]

    def do(self, caller: str, call: Call, expected: Callable[..., Any], *arguments: Any) -> bool:
        self.has_parted = True
        went_through = self.twin.do(caller, call, expected, *arguments)
        self.has_parted = False
        return went_through

    def name(self, address: str) -> str:
        return self.twin.names.get(address, "stranger")

    def sign(self, address: str, instead: str | None, message: Any) -> tuple[str, bytes]:
        """Signature of an account, or of `instead`: who really signed, and the bytes."""
        name = instead or self.name(address)
        return self.of(name), self.twin.sign(name, message)

    # Time

    @step(3, seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.model.now += seconds

    @step(6, which=WHICH, edge=st.integers(0, 5), offset=st.sampled_from((0, 1, -1)))
    def wait_until(self, which: int, edge: int, offset: int) -> None:
        """To the second in which a rule about time turns."""
        lease = self.pick(which, lambda x: x.is_live)
        edges = (
            self.model.ruling_deadline(lease) if lease.dispute else self.model.matures_at(lease),
            self.model.commit_deadline(lease),
            self.model.claim_deadline(lease),
            lease.opened_at + (lease.pending + 1) * lease.terms.min_segment_seconds,
            max(held.claimable_at for held in self.model.state.stakes.values()),
            self.model.lower_deadline(lease) if lease.dispute else self.model.now,
        )
        self.model.now = max(self.model.now, edges[edge] + offset)

    # Opening

    def terms(self, wish: Wish, **fields: Any) -> Terms:
        listings = list(self.model.state.listings.items())
        listing_id, listing = listings[wish.listing % len(listings)]
        drawn = Terms(
            renter=self.of(wish.renter),
            provider=listing.provider,
            operator=listing.operator,
            token=listing.token,
            arbiter=self.of("arbiter"),
            listing_id=listing_id,
            machine_hash=listing.machine_hash,
            job_hash=JOB,
            fee_bps=self.model.state.fee_bps,
            open_by=self.model.now + 60,
            **wish.fields | fields,
        )
        if drawn.metered:
            drawn = replace(drawn, reserve_segments=0, commit_grace=drawn.commit_grace or 1)
        else:
            reserve_segments = min(drawn.reserve_segments, drawn.segments)
            drawn = replace(drawn, reserve_segments=reserve_segments)
        return replace(drawn, **wish.wrong(drawn)) if wish.wrong else drawn

    def _open(self, terms: Terms, caller: str, signer: str | None, value: int | None) -> None:
        signed_by, signature = self.sign(terms.operator, signer, terms)
        coins = terms.cost if terms.token == NATIVE else 0
        coins = min(coins if value is None else value, 10_000)
        call = self.escrow.open(terms.abi_tuple(), signature, coins)
        self.do(caller, call, self.model.open, terms, signed_by, coins)

    @initialize(wishes=st.lists(GOOD_WISH, min_size=2, max_size=2))
    def begin(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            terms = self.terms(wish)
            self._open(terms, terms.renter, None, None)

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        take_step(self, data)

    @step(
        3,
        wish=WISH,
        after=rarely(*range(8)),
        caller=SOMEBODY_ELSE,
        signer=SOMEBODY_ELSE,
        value=rarely(0, 1),
    )
    def open(
        self,
        wish: Wish,
        after: int | None,
        caller: str | None,
        signer: str | None,
        value: int | None,
    ) -> None:
        terms = self.terms(wish)
        if after is not None:
            earlier = self.leases[after % len(self.leases)].terms
            terms = replace(terms, predecessor=earlier.lease_id(self.twin.domain))
        self._open(terms, self.of(caller) if caller else terms.renter, signer, value)

    @step(1, which=WHICH)
    def open_again(self, which: int) -> None:
        terms = self.leases[which % len(self.leases)].terms
        self._open(terms, terms.renter, None, None)

    @step(
        2,
        wish=WISH,
        caller=SOMEBODY_ELSE,
        signer=SOMEBODY_ELSE,
        value=st.sampled_from((None, 0, 100, 2**256 - 1)),
        late=st.sampled_from((0, 0, 1)),
        stale=st.sampled_from((0, 0, 1)),
    )
    def open_with_permit(
        self,
        wish: Wish,
        caller: str | None,
        signer: str | None,
        value: int | None,
        late: int,
        stale: int,
    ) -> None:
        terms, token = self.terms(wish), self.twin.token.address
        name = signer or wish.renter
        num_permits = self.model.state.num_permits.get((token, terms.renter), 0)
        permit = Permit(
            self.of(name),
            value=terms.cost if value is None else value,
            deadline=self.model.now - late,
            nonce=num_permits + stale,
        )
        v, r, s = self.twin.sign_permit(name, permit)
        signed_by, signature = self.sign(terms.operator, None, terms)
        signed = (permit.value, permit.deadline, v, r, s)
        call = self.escrow.open_with_permit(terms.abi_tuple(), signature, signed)
        sender = self.of(caller or wish.renter)
        self.do(sender, call, self.model.open_with_permit, terms, signed_by, permit)

    @step(
        2,
        wish=WISH,
        caller=SOMEBODY,
        signer=SOMEBODY_ELSE,
        relay_fee=st.sampled_from((0, 7)),
        other_fee=rarely(1),
        early=rarely(1),
        late=rarely(1),
    )
    def open_with_authorization(
        self,
        wish: Wish,
        caller: str,
        signer: str | None,
        relay_fee: int,
        other_fee: int | None,
        early: int | None,
        late: int | None,
    ) -> None:
        terms, name = self.terms(wish), signer or wish.renter
        authorization = Authorization(
            None if other_fee else self.of(name),
            relay_fee + (other_fee or 0),
            valid_after=self.model.now - 1 + (early or 0),
            valid_before=self.model.now + 1 - (late or 0),
        )
        v, r, s = self.twin.sign_authorization(name, terms, authorization)
        authorization = replace(authorization, relay_fee=relay_fee)
        signed_by, signature = self.sign(terms.operator, None, terms)
        times = (authorization.valid_after, authorization.valid_before)
        call = self.escrow.open_with_authorization(
            terms.abi_tuple(), signature, (relay_fee, *times, v, r, s)
        )
        expected = self.model.open_with_authorization
        self.do(self.of(caller), call, expected, terms, signed_by, authorization)

    @step(
        3,
        wish=WISH,
        caller=SOMEBODY,
        source=st.sampled_from(Source),
        relay_fee=st.sampled_from((0, 7)),
        other_fee=rarely(1),
        signer=SOMEBODY_ELSE,
    )
    def open_from(
        self,
        wish: Wish,
        caller: str,
        source: Source,
        relay_fee: int,
        other_fee: int | None,
        signer: str | None,
    ) -> None:
        terms = self.terms(wish)
        lease_id, fee = terms.lease_id(self.twin.domain), relay_fee + (other_fee or 0)
        opening = Opening(lease_id=lease_id, source=source, relay_fee=fee)
        consents, consent = self.sign(terms.renter, signer, opening)
        signed_by, signature = self.sign(terms.operator, None, terms)
        call = self.escrow.open_from(terms.abi_tuple(), signature, source, relay_fee, consent)
        consented = None if other_fee else consents
        arguments = (terms, signed_by, source, relay_fee, consented)
        self.do(self.of(caller), call, self.model.open_from, *arguments)

    # Orders

    def order(self, terms: Terms, nonce: int, wrong: Change | None) -> Order:
        """The same for all leases of a renter, so that its budget and segments run out."""
        order = Order(
            renter=terms.renter,
            token=terms.token,
            arbiter=self.of("arbiter"),
            job_hash=JOB,
            max_price_per_hour=0,
            max_price_per_segment=60,
            budget=500,
            max_duration_s=200,
            min_window=10,
            segments=12,
            verification=1,
            expires_at=START + 1_000,
            nonce=nonce,
            max_window=40,
            max_dispute_timeout=60,
            max_first_commit=500,
        )
        return replace(order, **wrong(terms)) if wrong else order

    @step(
        5,
        wish=ORDERED,
        nonce=st.integers(0, 1),
        wrong=WRONG_ORDER,
        caller=SOMEBODY,
        signer=SOMEBODY_ELSE,
        after=st.sampled_from((None, None, *range(8))),
    )
    def open_for(
        self,
        wish: Wish,
        nonce: int,
        wrong: Change | None,
        caller: str,
        signer: str | None,
        after: int | None,
    ) -> None:
        terms = self.terms(wish)
        order = self.order(terms, nonce, wrong)
        if after is not None:
            ordered = order.order_digest(self.twin.domain)
            earlier = self.pick(after, lambda x: x.order == ordered and not x.is_live)
            terms = replace(terms, predecessor=earlier.terms.lease_id(self.twin.domain))
        ordered_by, consent = self.sign(order.renter, signer, order)
        signed_by, signature = self.sign(terms.operator, None, terms)
        call = self.escrow.open_for(terms.abi_tuple(), signature, order.abi_tuple(), consent)
        self.do(self.of(caller), call, self.model.open_for, terms, signed_by, order, ordered_by)

    @step(1, which=WHICH, nonce=st.integers(0, 1), caller=SOMEBODY, signer=SOMEBODY_ELSE)
    def revoke_order(self, which: int, nonce: int, caller: str, signer: str | None) -> None:
        order = self.order(self.leases[which % len(self.leases)].terms, nonce, None)
        revocation = Revocation(order=order.order_digest(self.twin.domain))
        signed_by, signature = self.sign(order.renter, signer, revocation)
        call = self.escrow.revoke_order(order.abi_tuple(), signature)
        self.do(self.of(caller), call, self.model.revoke_order, order, signed_by)

    # Work and pay

    @step(
        9,
        some(is_active),
        which=WHICH,
        more=st.integers(1, 3),
        off=rarely(-9, -1, 0, 9),
        caller=SOMEBODY_ELSE,
        is_early=rarely(True),
    )
    def commit(
        self, which: int, more: int, off: int | None, caller: str | None, is_early: bool | None
    ) -> None:
        lease = self.pick(which, is_replayed)
        terms = lease.terms
        up_to = min(lease.pending + more, terms.segments)
        if off is not None:
            up_to = max(0, lease.pending + off)
        if not is_early:
            finished_at = lease.opened_at + up_to * terms.min_segment_seconds
            self.model.now = max(self.model.now, finished_at)
        sender = (terms.operator, terms.provider)[more % 2]
        sender = self.of(caller) if caller else sender
        root = bytes([up_to]) * 32
        call = self.escrow.commit(terms.abi_tuple(), up_to, root)
        self.do(sender, call, self.model.commit, terms, up_to, root)

    @step(4, some(has_pending), which=WHICH, is_early=rarely(True))
    def settle(self, which: int, is_early: bool | None) -> None:
        lease = self.pick(which, has_pending)
        if not is_early:
            self.model.now = max(self.model.now, self.model.matures_at(lease))
        terms = lease.terms
        self.do(
            self.of("stranger"), self.escrow.settle(terms.abi_tuple()), self.model.settle, terms
        )

    @step(2, which=st.lists(WHICH, max_size=5))
    def settle_many(self, which: list[int]) -> None:
        many = [self.leases[i % len(self.leases)].terms for i in which]
        call = self.escrow.settle_many([terms.abi_tuple() for terms in many])
        self.do(self.of("stranger"), call, self.model.settle_many, many)

    @step(4, some(is_metered), which=WHICH, more=st.integers(0, 3), signer=SOMEBODY_ELSE)
    def settle_voucher(self, which: int, more: int, signer: str | None) -> None:
        lease = self.pick(which, is_metered)
        terms, segments = lease.terms, lease.paid + more
        voucher = Voucher(lease_id=terms.lease_id(self.twin.domain), segments=segments)
        signed_by, signature = self.sign(terms.renter, signer, voucher)
        call = self.escrow.settle_voucher(terms.abi_tuple(), segments, signature)
        expected = self.model.settle_voucher
        self.do(self.of("stranger"), call, expected, terms, segments, signed_by)

    @step(3, which=WHICH, caller=SOMEBODY_ELSE, signs=st.booleans())
    def stop(self, which: int, caller: str | None, signs: bool) -> None:
        terms = self.pick(which, lambda x: x.is_live and not x.stopped_at).terms
        if signs:
            message = Stop(lease_id=terms.lease_id(self.twin.domain))
            signed_by, signature = self.sign(terms.renter, caller, message)
            call = self.escrow.stop_for(terms.abi_tuple(), signature)
            self.do(self.of("stranger"), call, self.model.stop_for, terms, signed_by)
        else:
            sender = self.of(caller) if caller else terms.renter
            self.do(sender, self.escrow.stop(terms.abi_tuple()), self.model.stop, terms)

    @step(4, which=WHICH, caller=SOMEBODY)
    def close(self, which: int, caller: str) -> None:
        terms = self.pick(which, is_active).terms
        self.do(self.of(caller), self.escrow.close(terms.abi_tuple()), self.model.close, terms)

    @step(1, some(is_active), which=WHICH, by_operator=st.booleans())
    def give_up(self, which: int, by_operator: bool) -> None:
        terms = self.pick(which, is_active).terms
        sender = terms.operator if by_operator else terms.provider
        self.do(sender, self.escrow.close(terms.abi_tuple()), self.model.close, terms)

    # Disputes

    def _suspect(self, which: int, above: int, off: int | None) -> tuple[Terms, int]:
        """A lease, and a segment of it that can be challenged, unless it is `off`."""
        lease = self.pick(which, lambda x: has_pending(x) or (is_disputed(x) and which % 2))
        end = lease.dispute.lowest_segment if lease.dispute else lease.pending
        segment = lease.paid + above % max(1, end - lease.paid)
        return lease.terms, max(0, segment + (off or 0))

    @step(
        7,
        some(has_claim),
        which=WHICH,
        above=SEGMENT,
        off=rarely(-1, 1, 6),
        caller=st.sampled_from(("challenger", "renter", "provider", "owner", "stranger")),
        by_arbiter=rarely(True),
        value=rarely(0, 1),
        demands=st.booleans(),
        is_followed=st.booleans(),
    )
    def challenge(
        self,
        which: int,
        above: int,
        off: int | None,
        caller: str,
        by_arbiter: bool | None,
        value: int | None,
        demands: bool,
        is_followed: bool,
    ) -> None:
        terms, segment = self._suspect(which, above, off)
        coins = challenge_bond(terms) if terms.token == NATIVE else 0
        coins = min(coins if value is None else value, 10_000)
        sender = terms.arbiter if by_arbiter else self.of(caller)
        challenge, expected = self.escrow.challenge, self.model.challenge
        if demands:
            challenge, expected = self.escrow.demand_data, self.model.demand_data
        call = challenge(terms.abi_tuple(), segment, coins)
        if self.do(sender, call, expected, terms, segment, coins) and is_followed:
            # Somebody else points lower: a ruling has two bonds to give back.
            paid = self.model.state.leases[terms.lease_id(self.twin.domain)].paid
            lower = paid + above % max(1, segment - paid)
            call = self.escrow.challenge(terms.abi_tuple(), lower, coins)
            self.do(self.of("owner"), call, self.model.challenge, terms, lower, coins)

    @step(
        5,
        some(has_claim),
        which=WHICH,
        above=SEGMENT,
        off=rarely(-1, 1, 6),
        caller=SOMEBODY,
        challenger=st.sampled_from(("challenger", "renter", "provider", "arbiter")),
        source=st.sampled_from(Source),
        nonce=st.integers(0, 1),
        late=rarely(0, 1),
        signer=SOMEBODY_ELSE,
    )
    def challenge_from(
        self,
        which: int,
        above: int,
        off: int | None,
        caller: str,
        challenger: str,
        source: Source,
        nonce: int,
        late: int | None,
        signer: str | None,
    ) -> None:
        terms, segment = self._suspect(which, above, off)
        lease_id, who = terms.lease_id(self.twin.domain), self.of(challenger)
        expires_at = START + 100_000 if late is None else self.model.now + 1 - late
        consent = Challenge(
            lease_id=lease_id,
            root=self.model.state.leases[lease_id].root,
            segment=segment,
            source=source,
            expires_at=expires_at,
            nonce=nonce,
        )
        signed_by, signature = self.sign(who, signer, consent)
        signed = (signed_by, digest(consent, self.twin.domain))
        sent = (segment, source, who, expires_at, nonce, signature)
        call = self.escrow.challenge_from(terms.abi_tuple(), *sent)
        arguments = (terms, segment, source, who, signed, expires_at)
        self.do(self.of(caller), call, self.model.challenge_from, *arguments)

    @step(
        25,  # disputes are few and soon over
        some(is_disputed),
        which=WHICH,
        fraud=st.booleans(),
        above=SEGMENT,
        off=st.sampled_from((*[None] * 8, -1, -1, 1, 9)),
        caller=SOMEBODY_ELSE,
    )
    def rule_dispute(
        self, which: int, fraud: bool, above: int, off: int | None, caller: str | None
    ) -> None:
        lease = self.pick(which, lambda x: is_disputed(x) and (x.paid or which % 2))
        segment = lease.dispute.lowest_segment if lease.dispute else lease.paid
        if fraud:
            segment = lease.paid + above % max(1, lease.pending - lease.paid)
        # Just below what can be ruled on lies what is paid.
        segment = max(0, lease.paid - 1 if off == -1 else segment + (off or 0))
        sender = self.of(caller) if caller else lease.terms.arbiter
        call = self.escrow.rule(lease.terms.abi_tuple(), fraud, segment)
        self.do(sender, call, self.model.rule, lease.terms, fraud, segment)

    @step(3, some(has_claim), which=WHICH, above=SEGMENT, off=rarely(-1, 9), caller=SOMEBODY_ELSE)
    def attest_unretrievable(
        self, which: int, above: int, off: int | None, caller: str | None
    ) -> None:
        lease = self.pick(which, has_claim)
        end = lease.dispute.lowest_segment + 1 if lease.dispute else lease.pending
        good = lease.paid + above % max(1, end - lease.paid)
        good = max(0, good + (off or 0))
        sender = self.of(caller) if caller else lease.terms.arbiter
        call = self.escrow.attest_unretrievable(lease.terms.abi_tuple(), good)
        self.do(sender, call, self.model.attest_unretrievable, lease.terms, good)

    @step(3, some(is_disputed), which=WHICH, is_early=rarely(True))
    def timeout_dispute(self, which: int, is_early: bool | None) -> None:
        lease = self.pick(which, is_disputed)
        if lease.dispute and not is_early:
            self.model.now = max(self.model.now, self.model.ruling_deadline(lease))
        call = self.escrow.timeout_dispute(lease.terms.abi_tuple())
        self.do(self.of("stranger"), call, self.model.timeout_dispute, lease.terms)

    @step(1, which=WHICH, caller=SOMEBODY, signer=SOMEBODY_ELSE)
    def reject_machine(self, which: int, caller: str, signer: str | None) -> None:
        lease = self.pick(which, lambda x: is_active(x) and not x.committed_at)
        terms, report = lease.terms, UNKNOWN
        operator = self.model.state.listings[terms.listing_id].operator
        message = FailedProbe(lease_id=terms.lease_id(self.twin.domain), report=report)
        signed_by, signature = self.sign(operator, signer, message)
        call = self.escrow.reject_machine(terms.abi_tuple(), report, signature)
        self.do(self.of(caller), call, self.model.reject_machine, terms, signed_by)

    @step(
        5,
        some(was_paid),
        which=WHICH,
        below=SEGMENT,
        off=rarely(9),
        caller=SOMEBODY_ELSE,
        is_dodged=st.booleans(),
    )
    def rule_late(
        self, which: int, below: int, off: int | None, caller: str | None, is_dodged: bool
    ) -> None:
        lease = self.pick(which, was_paid)
        if is_dodged:
            self._lock_all(lease.terms)
        good = below % max(1, lease.paid) + (off or 0)
        sender = self.of(caller) if caller else lease.terms.arbiter
        call = self.escrow.rule_late(lease.terms.abi_tuple(), good)
        self.do(sender, call, self.model.rule_late, lease.terms, good)

    def _lock_all(self, terms: Terms) -> None:
        """As a provider does that sees a ruling come: lock all that is free in a new lease."""
        terms = replace(
            terms,
            bond=self.model.free_stake(terms.provider, terms.token),
            fee_bps=self.model.state.fee_bps,
            open_by=self.model.now + 60,
            nonce=1_000 + len(self.leases),
        )
        self._open(terms, terms.renter, None, None)

    @step(4, some(is_owed), which=WHICH, caller=SOMEBODY)
    def pay_late(self, which: int, caller: str) -> None:
        terms = self.pick(which, is_owed).terms
        self.do(
            self.of(caller), self.escrow.pay_late(terms.abi_tuple()), self.model.pay_late, terms
        )

    @step(3, which=WHICH, verb=st.integers(0, 12), caller=SOMEBODY)
    def call_astray(self, which: int, verb: int, caller: str) -> None:
        """Any verb for any lease, whatever its state; also for one that does not exist."""
        terms = self.leases[which % len(self.leases)].terms
        if which == 0:
            terms = replace(terms, nonce=2**63)
        escrow, model, encoded = self.escrow, self.model, terms.abi_tuple()
        verbs: tuple[tuple[Call, Any, tuple[Any, ...]], ...] = (
            (escrow.commit(encoded, 1, UNKNOWN), model.commit, (1, UNKNOWN)),
            (escrow.settle(encoded), model.settle, ()),
            (escrow.settle_voucher(encoded, 1, b""), model.settle_voucher, (1, None)),
            (escrow.stop(encoded), model.stop, ()),
            (escrow.close(encoded), model.close, ()),
            (escrow.challenge(encoded, 0), model.challenge, (0,)),
            (escrow.rule(encoded, False, 1), model.rule, (False, 1)),
            (escrow.attest_unretrievable(encoded, 0), model.attest_unretrievable, (0,)),
            (escrow.timeout_dispute(encoded), model.timeout_dispute, ()),
            (escrow.demand_data(encoded, 0), model.demand_data, (0,)),
            (escrow.reject_machine(encoded, UNKNOWN, b""), model.reject_machine, (None,)),
            (escrow.rule_late(encoded, 0), model.rule_late, (0,)),
            (escrow.pay_late(encoded), model.pay_late, ()),
        )
        call, expected, arguments = verbs[verb]
        self.do(self.of(caller), call, expected, terms, *arguments)

    # Stakes and credits

    @step(
        4,
        who=st.sampled_from(PROVIDERS),
        token=st.sampled_from((0, 0, 0, 1, 1, 2)),
        verb=st.integers(0, 2),
        amount=AMOUNT,
        off=rarely(0, 1),
        is_early=rarely(True),
    )
    def move_stake(
        self, who: str, token: int, verb: int, amount: int, off: int | None, is_early: bool | None
    ) -> None:
        named, sender = (*self.twin.tokens, UNLISTED)[token], self.of(who)
        if verb == 0:
            coins = amount if named == NATIVE else 0
            coins = coins if off is None else off
            call = self.escrow.stake(named, amount, coins)
            self.do(sender, call, self.model.stake, named, amount, coins)
        elif verb == 1:
            call = self.escrow.unbond(named, amount)
            self.do(sender, call, self.model.unbond, named, amount)
        else:
            if not is_early:
                claimable_at = self.model.staked(sender, named).claimable_at
                self.model.now = max(self.model.now, claimable_at)
            self.do(sender, self.escrow.claim_unbond(named), self.model.claim_unbond, named)

    @step(
        4,
        token=st.integers(0, 1),
        which=WHICH,
        way=st.integers(0, 2),
        to=SOMEBODY,
        bad=rarely(0, 1),
        off=rarely(-1, 1),
    )
    def take_out(
        self, token: int, which: int, way: int, to: str, bad: int | None, off: int | None
    ) -> None:
        named, stranger = self.twin.tokens[token], self.of("stranger")
        account, held = self._creditor(named, which)
        if way == 0:
            target = self.of(to) if bad is None else (ZERO_ADDRESS, self.escrow.address)[bad]
            amount = max(0, held // (1 + which % 2) + (off or 0))
            call = self.escrow.withdraw(named, target, amount)
            self.do(account, call, self.model.withdraw, named, target, amount)
        elif way == 1:
            call = self.escrow.withdraw_to(named, account)
            self.do(stranger, call, self.model.withdraw_to, named, account)
        else:
            self.do(stranger, self.escrow.collect(named), self.model.collect, named)

    def _creditor(self, token: str, which: int) -> tuple[str, int]:
        """An account and its credit, which is not zero if there is one."""
        credits = self.model.state.credits.items()
        found = [(account, held) for (of, account), held in credits if of == token and held]
        found = found or [(self.of("stranger"), 0)]
        return found[which % len(found)]

    # Listings and settings

    @step(
        3,
        which=WHICH,
        verb=st.sampled_from(("list", "reprice", "operator", "capacity", "cancel", "delist")),
        number=st.integers(0, 3),
        caller=SOMEBODY_ELSE,
    )
    def change_listing(self, which: int, verb: str, number: int, caller: str | None) -> None:
        listings = list(self.model.state.listings.items())
        listing_id, listing = listings[which % len(listings)]
        sender, escrow, model = (
            self.of(caller) if caller else listing.provider,
            self.escrow,
            self.model,
        )
        if verb == "list":
            token = (*self.twin.tokens, *self.twin.tokens, UNLISTED)[which % 5]
            document = (b"machine", b"other", b"", bytes(1025))[number]
            operator = self.of(OPERATORS[number % 2]) if which else ZERO_ADDRESS
            arguments: tuple[Any, ...] = (bytes(32), token, number, operator, document)
            self.do(sender, escrow.list_machine(*arguments), model.list_machine, *arguments)
        elif verb == "reprice":
            arguments = (listing_id, number)
            self.do(sender, escrow.reprice(*arguments), model.reprice, *arguments)
        elif verb == "operator":
            operator = (*map(self.of, OPERATORS), ZERO_ADDRESS, self.of("operator"))[number]
            arguments = (listing_id, operator)
            self.do(sender, escrow.set_operator(*arguments), model.set_operator, *arguments)
        elif verb == "capacity":
            arguments = (listing_id, number)
            self.do(sender, escrow.set_capacity(*arguments), model.set_capacity, *arguments)
        elif verb == "delist":
            self.do(sender, escrow.delist(listing_id), model.delist, listing_id)
        else:
            arguments = (listing_id, number % 2, (1 << 256) // 3)
            self.do(sender, escrow.cancel_nonces(*arguments), model.cancel_nonces, *arguments)

    @step(2, verb=st.integers(0, 4), number=st.integers(0, 3), caller=SOMEBODY_ELSE)
    def change_settings(self, verb: int, number: int, caller: str | None) -> None:
        sender, escrow, model = self.of(caller or "owner"), self.escrow, self.model
        receiver = (*map(self.of, ("treasury", "audit_pool", "owner")), ZERO_ADDRESS)[number]
        fee_bps = (0, 250, 1000, 1001)[number]
        verbs: tuple[tuple[Call, Any, tuple[Any, ...]], ...] = (
            (escrow.set_fee(fee_bps), model.set_fee, (fee_bps,)),
            (escrow.set_treasury(receiver), model.set_treasury, (receiver,)),
            (escrow.set_audit_pool(receiver), model.set_audit_pool, (receiver,)),
            (escrow.pause(), model.pause, ()),
            (escrow.unpause(), model.unpause, ()),
        )
        call, expected, arguments = verbs[4 if model.state.is_paused and number else verb]
        self.do(sender, call, expected, *arguments)

    # The way out

    def teardown(self) -> None:
        if not self.has_parted:
            drain(self.twin)
