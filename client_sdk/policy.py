"""What a renter accepts: offers and terms are checked against it before any money moves.

Covered: everything a provider or a marketplace node could write into an offer or into terms, held
against the renter's order, the chain's listing and the renter's own limits. Not covered: whether
the provider will keep its word; that is what the escrow, the audits and the bond are for.

Pure: no network, no clock; all facts come in as arguments. Amounts are in the token's smallest
unit, times in seconds, moments in Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.money import BPS, SECONDS_PER_HOUR, price_per_segment_up
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification

LONGEST_PER_LEAST = 3
"""A segment may be priced as this many times the least duration that the terms name.

The contract enforces the least duration, nobody the longest: without this bound a provider could
price seconds of work as hours.
"""


class Rule(StrEnum):
    """The rules that offers and terms must keep."""

    SIGNATURE = "signature"  # signed by the listing's operator
    DIGEST = "digest"  # the id is the digest of what it names
    LISTING = "listing"  # the machine is listed, active, and the one that is named
    OPERATOR = "operator"  # the operator is the listing's own on the chain
    MACHINE = "machine"  # machine and hardware class are those of the listing
    RENTER = "renter"  # the terms are for this renter
    JOB = "job"  # the terms are for this job
    TOKEN = "token"  # noqa: S105 - paid in the agreed currency
    ARBITER = "arbiter"  # the agreed arbiter rules
    PRICE = "price"  # not dearer than offered and than the budget allows
    FEE = "fee"  # fee and audit share as offered, and within limits
    BOND = "bond"  # the provider loses enough when it cheats
    STAKE = "stake"  # the provider really has that stake
    SEGMENTS = "segments"  # not more segments than ordered, at least one
    WINDOW = "window"  # time to challenge: neither too short nor too long
    DISPUTE = "dispute"  # times of disputes and of the last commit within limits
    DURATION = "duration"  # the lease ends in time
    EXPIRY = "expiry"  # still valid, and not valid for too long
    RESERVE = "reserve"  # no more than the agreed reserve
    PREDECESSOR = "predecessor"  # continues no other lease
    VERIFICATION = "verification"  # the worker carries out what the job wants


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule."""

    rule: Rule
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Limits of one renter; the defaults fit the public market's terms."""

    max_fee_bps: int = 500
    """Largest share of the market, in 1/10000 of the price."""
    max_audit_bps: int = 2_000
    """Largest share of the auditors, in 1/10000 of the price."""
    min_bond_bps: int = BPS
    """Least bond, in 1/10000 of the lease's cost; only where work is verified."""
    min_window_s: int = 5
    """Shortest time in which commits can be challenged."""
    max_window_s: int = 7 * 86_400
    """Longest time for which a provider waits for its pay, and the renter for its refund."""
    max_commit_grace_s: int = 3_600
    """Longest time for the last commit after a stop."""
    min_dispute_s: int = 5
    """Shortest time in which the arbiter can rule."""
    max_dispute_s: int = 7 * 86_400
    """Longest time for which an unruled dispute freezes the money."""
    max_open_wait_s: int = 3_600
    """Terms that stay open for longer bind the provider, but are a sign of an old copy."""
    min_open_wait_s: int = 5
    """Time left to get the opening mined."""
    max_first_commit_s: int = 86_400
    """Longest time after the opening in which a silent provider keeps the money frozen."""
    max_reserve_segments: int = 0
    """Segments that are paid only for a final checkpoint."""
    max_relay_fee: int = 250_000
    """Most that a marketplace node may take for opening one lease, in the token's smallest unit:
    a quarter of a token with 6 decimals. Only for wallets that send nothing themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingFacts:
    """What the chain says of a listing, and of its provider's stake in the token."""

    provider: str
    operator: str
    token: str
    machine_hash: bytes
    hardware_class: bytes
    max_price_per_hour: int
    active: bool
    stake_total: int
    stake_free: int
    """Stake that is neither locked by other leases nor leaving."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketFacts:
    """What the renter trusts about the market: from its own deployment file, not from a node."""

    arbiter: str
    tokens: frozenset[str]
    """Accepted tokens, lower case."""


def check_offer(
    offer: Offer,
    *,
    signer: str | None,
    claimed_id: bytes,
    offer_id: bytes,
    listing: ListingFacts | None,
    market: MarketFacts,
    policy: Policy,
    now: int,
) -> list[Finding]:
    """Hold an offer against its signature, the chain and the policy.

    Parameters
    ----------
    signer:
        Account recovered from the signature; None when there is none to recover.
    claimed_id, offer_id:
        The id under which a node served it, and the digest computed here.
    listing:
        The chain's record; None when there is no such listing.
    """
    found: list[Finding] = []
    if claimed_id != offer_id:
        found.append(Finding(Rule.DIGEST, "served under an id that is not its own"))
    if signer is None or not same_address(signer, offer.operator):
        found.append(Finding(Rule.SIGNATURE, f"not signed by its operator {offer.operator}"))
    if offer.expired(now):
        found.append(Finding(Rule.EXPIRY, f"expired {now - offer.expires_at} s ago"))
    if offer.issued_at > now + 300:
        found.append(Finding(Rule.EXPIRY, "issued in the future"))
    if not same_address(offer.arbiter, market.arbiter):
        found.append(Finding(Rule.ARBITER, f"names the arbiter {offer.arbiter}"))
    if offer.token.lower() not in market.tokens:
        found.append(Finding(Rule.TOKEN, f"asks for the unknown token {offer.token}"))
    found += _shares(offer.fee_bps, offer.audit_bps, policy)
    if listing is None:
        return [*found, Finding(Rule.LISTING, "no such listing on the chain")]
    return [*found, *_against_listing(offer, listing)]


def _against_listing(subject: Offer | Terms, listing: ListingFacts) -> Iterator[Finding]:
    """Rules that bind offers and terms to the chain's listing."""
    if not listing.active:
        yield Finding(Rule.LISTING, "the machine has been delisted")
    if not same_address(subject.provider, listing.provider):
        yield Finding(Rule.LISTING, f"the listing belongs to {listing.provider}")
    if not same_address(subject.operator, listing.operator):
        yield Finding(Rule.OPERATOR, f"the listing's operator is {listing.operator}")
    if not same_address(subject.token, listing.token):
        yield Finding(Rule.TOKEN, f"the listing's token is {listing.token}")
    if subject.machine_hash != listing.machine_hash:
        yield Finding(Rule.MACHINE, "names another machine than the listing")
    if isinstance(subject, Offer):
        if subject.hardware_class != listing.hardware_class:
            yield Finding(Rule.MACHINE, "names another hardware class than the listing")
        if subject.price_per_hour > listing.max_price_per_hour:
            yield Finding(Rule.PRICE, "is dearer than the listing's own cap")


@dataclass(frozen=True, kw_only=True, slots=True)
class TermsFacts:
    """Everything that terms are held against."""

    order: Order
    offer: Offer
    signer: str | None
    """Account recovered from the signature of the terms."""
    listing: ListingFacts | None
    market: MarketFacts
    verification: Verification
    now: int


def check_terms(terms: Terms, facts: TermsFacts, policy: Policy) -> list[Finding]:
    """Every rule that signed terms break; empty when they may be opened."""
    found: list[Finding] = []
    if facts.signer is None or not same_address(facts.signer, terms.operator):
        found.append(Finding(Rule.SIGNATURE, f"not signed by the operator {terms.operator}"))
    if facts.listing is None:
        found.append(Finding(Rule.LISTING, "no such listing on the chain"))
    else:
        found += _against_listing(terms, facts.listing)
    found += _identities(terms, facts)
    found += _money(terms, facts, policy)
    found += _times(terms, facts, policy)
    return found


def _identities(terms: Terms, facts: TermsFacts) -> Iterator[Finding]:
    order, offer = facts.order, facts.offer
    if not same_address(terms.renter, order.renter):
        yield Finding(Rule.RENTER, f"made out to {terms.renter}")
    if terms.job_hash != order.job_hash:
        yield Finding(Rule.JOB, "made out for another job")
    if terms.listing_id != offer.listing_id:
        yield Finding(Rule.LISTING, "made out for another listing than the offer")
    if order.listing_id not in (ZERO_HASH, terms.listing_id):
        yield Finding(Rule.LISTING, "made out for another listing than the order")
    if not same_address(terms.operator, offer.operator):
        yield Finding(Rule.OPERATOR, "signed for another operator than the offer's")
    if not same_address(terms.token, order.token):
        yield Finding(Rule.TOKEN, f"asks for the token {terms.token}")
    agreed = (order.arbiter, facts.market.arbiter)
    if not all(same_address(terms.arbiter, arbiter) for arbiter in agreed):
        yield Finding(Rule.ARBITER, f"names the arbiter {terms.arbiter}")
    if terms.predecessor != ZERO_HASH:
        yield Finding(Rule.PREDECESSOR, "continues a lease that is not this job's")
    if facts.verification not in offer.verifications:
        yield Finding(Rule.VERIFICATION, f"the worker does not offer {facts.verification}")


def _money(terms: Terms, facts: TermsFacts, policy: Policy) -> Iterator[Finding]:
    order, offer = facts.order, facts.offer
    if not 1 <= terms.segments <= order.segments:
        yield Finding(
            Rule.SEGMENTS, f"{terms.segments} segments; the order has at most {order.segments}"
        )
    if terms.cost > order.budget:
        yield Finding(Rule.PRICE, f"costs {terms.cost}; the budget is {order.budget}")
    if offer.price_per_hour > order.max_price_per_hour:
        yield Finding(Rule.PRICE, "the offer is dearer per hour than the order allows")
    longest = -(-offer.price_per_hour * order.max_duration_s // SECONDS_PER_HOUR)
    # Each segment's price was rounded up once, so all of them may exceed the sum by one unit each.
    if terms.cost > longest + terms.segments:
        yield Finding(
            Rule.PRICE,
            f"costs {terms.cost}, more than {order.max_duration_s} s at the offered price",
        )
    priced_s = LONGEST_PER_LEAST * (terms.min_segment_seconds + 1)
    if terms.price_per_segment > price_per_segment_up(offer.price_per_hour, priced_s):
        yield Finding(
            Rule.PRICE,
            f"{terms.price_per_segment} for segments of {terms.min_segment_seconds} s or more",
        )
    yield from _shares(terms.fee_bps, terms.audit_bps, policy)
    if terms.fee_bps > offer.fee_bps or terms.audit_bps > offer.audit_bps:
        yield Finding(Rule.FEE, "a larger fee or audit share than offered")
    if facts.verification is not Verification.METERED:
        least = terms.cost * policy.min_bond_bps // BPS
        least = max(least, order.min_bond, -(-terms.cost * order.min_bond_bps // BPS))
        if terms.bond < least:
            yield Finding(Rule.BOND, f"a bond of {terms.bond}; at least {least} is wanted")
        if terms.audit_bps < order.min_audit_bps:
            yield Finding(Rule.FEE, f"an audit share below the order's {order.min_audit_bps}/10000")
    if facts.listing is not None and facts.listing.stake_free < terms.bond:
        yield Finding(Rule.STAKE, "the provider's free stake does not cover the bond")
    if terms.reserve_segments > policy.max_reserve_segments:
        yield Finding(Rule.RESERVE, f"{terms.reserve_segments} reserve segments")


def _shares(fee_bps: int, audit_bps: int, policy: Policy) -> Iterator[Finding]:
    if fee_bps > policy.max_fee_bps:
        yield Finding(Rule.FEE, f"a fee of {fee_bps}/10000; at most {policy.max_fee_bps}")
    if audit_bps > policy.max_audit_bps:
        yield Finding(
            Rule.FEE, f"an audit share of {audit_bps}/10000; at most {policy.max_audit_bps}"
        )


def _times(terms: Terms, facts: TermsFacts, policy: Policy) -> Iterator[Finding]:
    now = facts.now
    if facts.verification is Verification.METERED:
        if terms.window != 0:
            yield Finding(Rule.WINDOW, "a metered lease has no window")
    elif not policy.min_window_s <= terms.window <= policy.max_window_s:
        limits = f"{policy.min_window_s} to {policy.max_window_s} s"
        yield Finding(Rule.WINDOW, f"a window of {terms.window} s; wanted is {limits}")
    if terms.commit_grace > policy.max_commit_grace_s:
        yield Finding(Rule.DISPUTE, f"a last commit may come {terms.commit_grace} s after a stop")
    if facts.verification is not Verification.METERED and not (
        policy.min_dispute_s <= terms.dispute_timeout <= policy.max_dispute_s
    ):
        yield Finding(Rule.DISPUTE, f"disputes may last {terms.dispute_timeout} s")
    if facts.verification is not Verification.METERED:
        yield from _time_to_audit(terms, facts.offer, policy)
    if terms.max_duration > facts.order.max_duration_s:
        allowed = facts.order.max_duration_s
        yield Finding(Rule.DURATION, f"runs {terms.max_duration} s; the order allows {allowed}")
    if terms.first_commit_within > policy.max_first_commit_s:
        yield Finding(Rule.DURATION, f"the first commit may take {terms.first_commit_within} s")
    left = terms.open_by - now
    if left < policy.min_open_wait_s:
        yield Finding(Rule.EXPIRY, f"must be opened within {left} s")
    elif left > policy.max_open_wait_s:
        yield Finding(Rule.EXPIRY, f"can be opened for {left} s")
    if facts.order.expired(now):
        yield Finding(Rule.EXPIRY, "the order has expired")


def _time_to_audit(terms: Terms, offer: Offer, policy: Policy) -> Iterator[Finding]:
    """Windows in which no re-execution can end would let every cheat pass.

    The length of a segment is what the provider is paid for. An auditor executes one, and again to
    confirm; the arbiter executes the job from its start, in the half of its time in which nobody
    can point it at a lower segment. What a provider adds for its uploads is for its own good:
    too little costs only itself, and too much is held against ``max_dispute_s``.
    """
    seconds = (terms.price_per_segment - 1) * SECONDS_PER_HOUR // max(offer.price_per_hour, 1)
    if terms.window < 2 * seconds:
        yield Finding(Rule.WINDOW, f"no time to audit segments of {seconds} s in {terms.window} s")
    if terms.dispute_timeout < min(2 * terms.segments * seconds, policy.max_dispute_s):
        yield Finding(Rule.DISPUTE, f"no time to rule in {terms.dispute_timeout} s")
