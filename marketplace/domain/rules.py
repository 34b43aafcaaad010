"""What must agree between listing, offer, order and terms. Nothing a client sends is believed."""

from __future__ import annotations

from typing import Final

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import ZERO_HASH, to_hex
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import SUPPORTED, Verification
from marketplace.domain.ledger import ListingFacts, StakeFacts

MAX_CLOCK_SKEW_S: Final = 120
MAX_OFFER_S: Final = 14 * 86_400


class RuleBroken(ValueError):
    """Two objects that must agree do not."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")


def check_offer(offer: Offer, listing: ListingFacts, now: int) -> None:
    """Check an offer against its listing on the chain.

    Raises
    ------
    RuleBroken
        With the first field that does not agree.
    """
    if not listing.active:
        raise RuleBroken("listing_id", "the listing was delisted")
    _same_account("provider", offer.provider, listing.provider)
    _same_account("operator", offer.operator, listing.operator)
    _same_account("token", offer.token, listing.token)
    _same_hash("machine_hash", offer.machine_hash, listing.machine_hash)
    _same_hash("hardware_class", offer.hardware_class, listing.hardware_class)
    if not 0 < offer.price_per_hour <= listing.max_price_per_hour:
        raise RuleBroken(
            "price_per_hour",
            f"{offer.price_per_hour} is not within the listing's cap {listing.max_price_per_hour}",
        )
    if not offer.max_segments or not offer.verifications & SUPPORTED:
        raise RuleBroken("verification", "the offer takes no work")
    if offer.expired(now) or offer.issued_at > now + MAX_CLOCK_SKEW_S:
        raise RuleBroken("expires_at", "the offer is expired or from the future; check your clock")
    if offer.expires_at - offer.issued_at > MAX_OFFER_S:
        raise RuleBroken("expires_at", f"an offer stands at most {MAX_OFFER_S} seconds")


def check_order(
    order: Order, offer: Offer, offer_id: bytes, listing: ListingFacts, stake: StakeFacts, now: int
) -> None:
    """Check an order against the offer that it takes.

    Raises
    ------
    RuleBroken
        With the first field that does not agree.
    """
    if not listing.active or offer.expired(now):
        raise RuleBroken("offer", "the offer no longer stands")
    if order.expired(now):
        raise RuleBroken("expires_at", "the order is expired; check your clock")
    if order.offer not in (ZERO_HASH, offer_id):
        raise RuleBroken("offer", f"the order takes {to_hex(order.offer)}")
    if order.listing_id not in (ZERO_HASH, offer.listing_id):
        raise RuleBroken("listing_id", f"the order takes {to_hex(order.listing_id)}")
    _same_account("token", order.token, offer.token)
    _same_account("arbiter", order.arbiter, offer.arbiter)
    if order.max_price_per_hour < offer.price_per_hour:
        raise RuleBroken("max_price_per_hour", f"the offer asks {offer.price_per_hour}")
    if not 0 < order.segments <= offer.max_segments:
        raise RuleBroken("segments", f"the offer takes 1 to {offer.max_segments}")
    if not order.budget or not order.max_duration_s:
        raise RuleBroken("budget", "budget and duration must be above zero")
    if len(order.verifications) != 1 or not order.verifications <= offer.verifications:
        raise RuleBroken("verification", "the order wants a mode that the offer does not have")
    if order.min_bond > stake.lasting:
        raise RuleBroken("min_bond", f"the provider stakes {stake.lasting}")


def check_terms(terms: Terms, order: Order, offer: Offer, listing: ListingFacts, now: int) -> None:
    """Check terms against the order and the offer that they carry out.

    Whether the price of a segment is right for the time that one takes is the renter's policy: the
    market knows no times.

    Raises
    ------
    RuleBroken
        With the first field that does not agree.
    """
    if not listing.active:
        raise RuleBroken("listing_id", "the listing was delisted")
    _same_account("renter", terms.renter, order.renter)
    _same_account("provider", terms.provider, offer.provider)
    _same_account("operator", terms.operator, offer.operator)
    _same_account("token", terms.token, order.token)
    _same_account("arbiter", terms.arbiter, order.arbiter)
    for field in ("listing_id", "machine_hash"):
        _same_hash(field, getattr(terms, field), to_hex(getattr(offer, field)))
    _same_hash("job_hash", terms.job_hash, to_hex(order.job_hash))
    if not 0 < terms.segments <= order.segments:
        raise RuleBroken("segments", f"the order takes at most {order.segments}")
    if not terms.price_per_segment or terms.cost > order.budget:
        raise RuleBroken("price_per_segment", f"{terms.cost} in all; the budget is {order.budget}")
    if (terms.fee_bps, terms.audit_bps) != (offer.fee_bps, offer.audit_bps):
        raise RuleBroken("fee_bps", "fee and audit share are those of the offer")
    if terms.metered != (order.verifications == {Verification.METERED}):
        raise RuleBroken("window", "zero for metered work, and only then")
    if not 0 < terms.max_duration <= order.max_duration_s:
        raise RuleBroken("max_duration", f"the order takes at most {order.max_duration_s}")
    if terms.open_by <= now:
        raise RuleBroken("open_by", "the time to open the lease is over; check your clock")
    _check_caps(terms, order, offer)


def _check_caps(terms: Terms, order: Order, offer: Offer) -> None:
    """An order that others may use needs terms that the contract takes under it."""
    if order.openable and (broken := order.broken_rule(terms, offer.hardware_class)):
        raise RuleBroken("terms", f"do not keep the order's {broken}")


def _same_account(field: str, given: str, wanted: str) -> None:
    if not same_address(given, wanted):
        raise RuleBroken(field, f"is {given}, must be {wanted}")


def _same_hash(field: str, given: bytes, wanted: str) -> None:
    if to_hex(given) != wanted.lower():
        raise RuleBroken(field, f"is {to_hex(given)}, must be {wanted}")
