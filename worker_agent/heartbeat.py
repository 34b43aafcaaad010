"""The loop that keeps this worker's signed offer fresh at every market."""

from __future__ import annotations

import logging
import secrets
from typing import Final

from client_sdk.chain.signing import sign
from client_sdk.protocol.canonical import ZERO_HASH, to_hex
from client_sdk.protocol.money import parse_amount
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.verification import SUPPORTED, verification_mask
from worker_agent.attest import Listing, arbiter_of, register
from worker_agent.context import Context
from worker_agent.draining import draining
from worker_agent.errors import MarketRefused, NetworkFailed
from worker_agent.journal import Journal

log = logging.getLogger(__name__)
_KIND: Final = "offer"
_CURRENT: Final = "current"
_LEAST_LIFE_S: Final = 30
"""Age below which no market's word ends an offer: one that ends each would flood the others."""


class Heartbeat:
    """Signs and publishes offers for one listing.

    Parameters
    ----------
    context:
        The daemon.
    listing:
        What is offered first; another one once that has ended.
    """

    def __init__(self, context: Context, listing: Listing) -> None:
        self._context = context
        self._listing = listing  # only this loop's thread changes it
        self._posted: dict[str, str] = {}
        self._turn = 0

    @property
    def listing(self) -> Listing:
        """What is offered now."""
        return self._listing

    def tick(self) -> None:
        """Refresh the offer when half of its life is over; tell every market that lacks it."""
        if draining(self._context.journal):
            self._turn = 0  # the owner may end the listing now: look at once when leases are taken
            self._withdraw()
            return
        if self._turn % 30 == 0:
            # A reorganisation can have removed the listing, its operator or the stake; its owner
            # can have ended it.
            self._listing = register(self._context, self._listing.document)
        self._turn += 1
        offer, signature = self._fresh_offer()
        digest = to_hex(offer.offer_id(self._context.chain.domain))
        body = {"offer": offer.to_json(), "signature": "0x" + signature}
        failure: NetworkFailed | None = None
        for url, market in self._context.markets.items():
            if self._posted.get(url) == digest:
                continue
            try:
                market.post("/v1/offers", body)
                self._posted[url] = digest
            except NetworkFailed as error:  # the other markets still get it
                self._drop_if_ended(offer, error)
                failure = error
        if failure is not None:
            raise failure

    def _drop_if_ended(self, offer: Offer, error: NetworkFailed) -> None:
        """Have the next turn sign a new offer when a market says that this one is over."""
        ended = isinstance(error, MarketRefused) and error.code == "offer_ended"
        if ended and self._context.chain.now() >= offer.issued_at + _LEAST_LIFE_S:
            self._context.journal.remove(_KIND, _CURRENT)

    def _fresh_offer(self) -> tuple[Offer, str]:
        settings, now = self._context.settings, self._context.chain.now()
        known = self._context.journal.get(_KIND, _CURRENT)
        if known is not None and not known.get("withdrawn"):
            offer = Offer.from_json(known["offer"])
            young = now < offer.expires_at - settings.offer_lifetime_s // 2
            if young and offer.issued_at <= now + 5 and self._same(offer):
                return offer, str(known["signature"])
        offer = self._make_offer(now)
        signature = sign(offer, self._context.chain.domain, self._context.account).hex()
        document = {"offer": offer.to_json(), "signature": signature}
        digest = offer.offer_id(self._context.chain.domain).hex()
        with self._context.journal.transaction():
            self._context.journal.put(_KIND, _CURRENT, document)
            self._context.journal.put(_KIND, digest, document)
        return offer, signature

    def _same(self, offer: Offer) -> bool:
        """Whether a new offer would say the same apart from its times."""
        new = self._make_offer(offer.issued_at)
        return {**new.to_json(), "nonce": ""} == {**offer.to_json(), "nonce": ""}

    def _make_offer(self, now: int) -> Offer:
        context, settings = self._context, self._context.settings
        return Offer(
            provider=context.provider,
            operator=str(context.account.address),
            token=context.token.address,
            arbiter=arbiter_of(context),
            listing_id=self._listing.listing_id,
            machine_hash=self._listing.machine_hash,
            hardware_class=self._listing.document.hardware_class,
            encryption_key=context.encryption_key.public,
            price_per_hour=parse_amount(settings.price_per_hour, context.token.decimals),
            fee_bps=context.chain.view(context.chain.escrow.fee_bps()),
            audit_bps=settings.audit_bps,
            max_segments=settings.max_segments,
            min_segment_seconds=0,
            verification=verification_mask(SUPPORTED),
            issued_at=now,
            expires_at=now + settings.offer_lifetime_s,
            nonce=secrets.randbits(64),
        )

    def _withdraw(self) -> None:
        """Take the kept offer down and, once all markets have ended it, drop it."""
        journal = self._context.journal
        known = journal.get(_KIND, _CURRENT)
        if known is None:
            return
        if not known.get("withdrawn"):
            # Those that end it now take it never again: a drain that is undone while other markets
            # are away must not bring it back.
            journal.put(_KIND, _CURRENT, {**known, "withdrawn": True})
        digest = to_hex(Offer.from_json(known["offer"]).offer_id(self._context.chain.domain))
        failure: NetworkFailed | None = None
        for url, market in self._context.markets.items():
            try:
                market.withdraw_offer(digest)
                log.info("withdrew the offer at %s", url)
            except NetworkFailed as error:  # the other markets still end it
                if not (isinstance(error, MarketRefused) and error.status == 404):
                    failure = error  # else it was never published there
        if failure is not None:
            raise failure
        journal.remove(_KIND, _CURRENT)


def find_offer(journal: Journal, digest: bytes = ZERO_HASH) -> Offer | None:
    """One of our own offers: by digest, or the newest one for a zero digest."""
    key = digest.hex() if any(digest) else _CURRENT
    known = journal.get(_KIND, key)
    return None if known is None else Offer.from_json(known["offer"])
