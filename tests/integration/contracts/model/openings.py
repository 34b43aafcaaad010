"""Listings, and the ways to open a lease. Source: docs/escrow, listing.md, open.md, orders.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from client_sdk.protocol.addresses import ZERO_ADDRESS, address_bytes
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from contracts.bindings import LeaseStatus, Source
from tests.integration.contracts.model.ledger import BPS, NATIVE, Ledger
from tests.integration.contracts.model.state import Lease, Listing, OrderUse, Refused, require

DAY: Final = 24 * 3600
MAX_COST: Final = 2**88 - 1


@dataclass(frozen=True)
class Permit:
    """An EIP-2612 permit; `signer` is None when the signature is of something else."""

    signer: str | None
    value: int
    deadline: int
    nonce: int


@dataclass(frozen=True)
class Authorization:
    """An EIP-3009 authorization; `signer` is None when the signature is of something else."""

    signer: str | None
    relay_fee: int
    valid_after: int
    valid_before: int


class Openings(Ledger):
    """`signer` is always who really signed exactly the message that is asked for, or None."""

    # Listings

    def listing_id(self, provider: str, token: str, machine_hash: bytes, serial: int) -> bytes:
        words = (
            self.domain.chain_id.to_bytes(32, "big"),
            *(address_bytes(x).rjust(32, b"\0") for x in (self.address, provider, token)),
            machine_hash,
            serial.to_bytes(32, "big"),
        )
        return keccak256(b"".join(words))

    def list_machine(
        self,
        caller: str,
        hardware_class: bytes,
        token: str,
        max_price_per_hour: int,
        operator: str,
        document: bytes,
    ) -> bytes:
        require(not self.state.is_paused, "EnforcedPause")
        self._check_token(token)
        require(operator != ZERO_ADDRESS, "AddressMissing")
        require(1 <= len(document) <= 1024, "DocumentSizeOutOfRange", size=len(document))
        machine_hash = keccak256(document)
        self.state.num_listings += 1
        new = self.listing_id(caller, token, machine_hash, self.state.num_listings)
        self.state.listings[new] = Listing(
            caller, token, operator, machine_hash, hardware_class, max_price_per_hour
        )
        return new

    def reprice(self, caller: str, listing_id: bytes, max_price_per_hour: int) -> None:
        self._own_listing(caller, listing_id).max_price_per_hour = max_price_per_hour

    def delist(self, caller: str, listing_id: bytes) -> None:
        listing = self._own_listing(caller, listing_id)
        require(listing.is_active, "ListingInactive", listingId=listing_id)
        listing.is_active = False

    def set_operator(self, caller: str, listing_id: bytes, operator: str) -> None:
        require(operator != ZERO_ADDRESS, "AddressMissing")
        self._own_listing(caller, listing_id).operator = operator

    def set_capacity(self, caller: str, listing_id: bytes, capacity: int) -> None:
        self._own_listing(caller, listing_id).capacity = capacity

    def cancel_nonces(self, caller: str, listing_id: bytes, word: int, mask: int) -> None:
        listing = self._own_listing(caller, listing_id)
        listing.cancelled |= {256 * word + i for i in range(256) if mask >> i & 1}

    def num_counted(self, listing_id: bytes) -> int:
        """Live leases that take one of the listing's places."""
        leases = self.state.leases.values()
        return sum(x.terms.listing_id == listing_id and x.takes_place and x.is_live for x in leases)

    def _own_listing(self, caller: str, listing_id: bytes) -> Listing:
        listing = self.state.listings.get(listing_id)
        owner = listing.provider if listing else ZERO_ADDRESS
        require(caller == owner, "NotListingProvider", caller=caller, provider=owner)
        assert listing is not None
        return listing

    # Ways to open

    def open(self, caller: str, terms: Terms, signer: str | None, value: int = 0) -> None:
        require(not self.state.is_paused, "EnforcedPause")
        require(caller == terms.renter, "NotRenter", caller=caller, renter=terms.renter)
        self._open(terms, signer)
        self._pull(terms.token, caller, terms.cost, value)

    def open_with_permit(
        self, caller: str, terms: Terms, signer: str | None, permit: Permit
    ) -> None:
        require(not self.state.is_paused, "EnforcedPause")
        require(caller == terms.renter, "NotRenter", caller=caller, renter=terms.renter)
        self._open(terms, signer)
        require(terms.token != NATIVE, "Unexplained")  # nothing is there to take a permit
        num_permits = self.state.num_permits.get((terms.token, caller), 0)
        # A void permit does not matter: what counts is the allowance.
        if (permit.signer, permit.nonce) == (caller, num_permits) and self.now <= permit.deadline:
            self.state.num_permits[terms.token, caller] = num_permits + 1
            self.state.allowances[terms.token, caller] = permit.value
        self._pull(terms.token, caller, terms.cost)

    def open_with_authorization(
        self, caller: str, terms: Terms, signer: str | None, authorization: Authorization
    ) -> None:
        require(not self.state.is_paused, "EnforcedPause")
        self._open(terms, signer)
        self._credit(terms.token, caller, authorization.relay_fee)
        require(terms.token != NATIVE, "Unexplained")  # nothing is there to authorize
        require(authorization.signer == terms.renter, "ERC3009InvalidSignature")
        is_now = authorization.valid_after < self.now < authorization.valid_before
        require(is_now, "ERC3009InvalidAuthorizationTime")
        amount = terms.cost + authorization.relay_fee
        self._move(terms.token, terms.renter, self.address, amount)

    def open_from(
        self,
        caller: str,
        terms: Terms,
        signer: str | None,
        source: Source,
        relay_fee: int,
        consent: str | None,
    ) -> None:
        require(not self.state.is_paused, "EnforcedPause")
        self._open(terms, signer)
        consents = caller == terms.renter or consent == terms.renter
        require(consents, "SignatureInvalid", signer=terms.renter)
        self._credit(terms.token, caller, relay_fee)
        self._take(source, terms.token, terms.renter, terms.cost + relay_fee)

    def open_for(
        self,
        caller: str,
        terms: Terms,
        signer: str | None,
        order: Order,
        order_signer: str | None,
    ) -> None:
        require(not self.state.is_paused, "EnforcedPause")
        lease = self._open(terms, signer)
        self._use_order(lease, order, order_signer)
        self._take(Source.CREDIT, terms.token, terms.renter, terms.cost)

    # What every opening checks

    def _open(self, terms: Terms, signer: str | None) -> Lease:
        self._check_money(terms)
        self._check_periods(terms)
        if not terms.metered:
            self._check_arbiter(terms)
        listing = self._check_listing(terms)
        lease_id = terms.lease_id(self.domain)
        require(lease_id not in self.state.leases, "LeaseExists", leaseId=lease_id)
        is_known = terms.predecessor == ZERO_HASH or terms.predecessor in self.state.leases
        require(is_known, "PredecessorUnknown", predecessor=terms.predecessor)
        require(signer == terms.operator, "SignatureInvalid", signer=terms.operator)
        free = self.free_stake(terms.provider, terms.token)
        enough = terms.bond <= free or terms.bond == 0
        require(enough, "FreeStakeTooLow", needed=terms.bond, free=free)
        lease = Lease(terms, opened_at=self.now, takes_place=listing.capacity > 0)
        self.state.leases[lease_id] = lease
        return lease

    def _check_money(self, terms: Terms) -> None:
        require(terms.segments > 0, "SegmentsMissing")
        require(terms.price_per_segment > 0, "PriceMissing")
        require(terms.cost <= MAX_COST, "CostTooHigh", cost=terms.cost)
        require(terms.fee_bps == self.state.fee_bps, "FeeDiffers", current=self.state.fee_bps)
        require(terms.audit_bps <= 2000, "AuditShareTooHigh")
        most = 0 if terms.metered else terms.segments
        require(terms.reserve_segments <= most, "ReserveTooLong", maxReserveSegments=most)

    def _check_periods(self, terms: Terms) -> None:
        require(self.now <= terms.open_by, "AfterOpenBy", openBy=terms.open_by)
        require(terms.window <= 30 * DAY, "WindowTooLong")
        require(terms.commit_grace <= 30 * DAY, "CommitGraceTooLong")
        # Else a close could be faster than the newest voucher.
        has_grace = terms.commit_grace > 0 or not terms.metered
        require(has_grace, "CommitGraceMissing")
        require(0 < terms.max_duration <= 1096 * DAY, "MaxDurationOutOfRange")

    def _check_arbiter(self, terms: Terms) -> None:
        require(terms.arbiter != ZERO_ADDRESS, "ArbiterMissing")
        parties = (terms.renter, terms.provider, terms.operator)
        require(terms.arbiter not in parties, "ArbiterIsParty", arbiter=terms.arbiter)
        require(0 < terms.dispute_timeout <= 90 * DAY, "DisputeTimeoutOutOfRange")

    def _check_listing(self, terms: Terms) -> Listing:
        listing = self.state.listings.get(terms.listing_id)
        if listing is None or not listing.is_active:
            raise Refused("ListingInactive", listingId=terms.listing_id)
        require(terms.operator == listing.operator, "OperatorDiffersFromListing")
        agreed = (terms.provider, terms.token, terms.machine_hash)
        listed = (listing.provider, listing.token, listing.machine_hash)
        require(agreed == listed, "TermsDifferFromListing")
        require(terms.nonce not in listing.cancelled, "NonceIsCancelled", nonce=terms.nonce)
        has_place = not listing.capacity or self.num_counted(terms.listing_id) < listing.capacity
        require(has_place, "ListingFull", capacity=listing.capacity)
        return listing

    # Orders

    def revoke_order(self, caller: str, order: Order, signer: str | None) -> None:
        signed = caller == order.renter or signer == order.renter
        require(signed, "SignatureInvalid", signer=order.renter)
        use = self.order_use(order.order_digest(self.domain))
        require(not use.is_revoked, "OrderIsRevoked")
        use.is_revoked = True

    def order_use(self, digest: bytes) -> OrderUse:
        return self.state.orders.setdefault(digest, OrderUse())

    def _use_order(self, lease: Lease, order: Order, signer: str | None) -> None:
        terms, digest = lease.terms, order.order_digest(self.domain)
        self._check_order(terms, order)
        require(signer == order.renter, "SignatureInvalid", signer=order.renter)
        use = self.order_use(digest)
        require(not use.is_revoked, "OrderIsRevoked", orderDigest=digest)
        if terms.predecessor != ZERO_HASH:
            self._continue(digest, self.state.leases[terms.predecessor])
        use.spent += terms.cost
        require(use.spent <= order.budget, "BudgetExceeded", spent=use.spent)
        use.segments += terms.segments
        require(use.segments <= order.segments, "OrderSegmentsExceeded", segments=use.segments)
        lease.order = digest

    def _check_order(self, terms: Terms, order: Order) -> None:
        is_openable = order.min_window > 0 and order.max_price_per_segment > 0
        require(is_openable, "OrderNotOpenable")
        require(self.now < order.expires_at, "OrderExpired", expiresAt=order.expires_at)
        listed_class = self.state.listings[terms.listing_id].hardware_class
        caps = (  # in the order of `OrderRule`
            terms.renter == order.renter,
            terms.token == order.token,
            terms.arbiter == order.arbiter,
            terms.job_hash == order.job_hash,
            order.listing_id in (ZERO_HASH, terms.listing_id),
            order.hardware_class in (ZERO_HASH, listed_class),
            terms.price_per_segment <= order.max_price_per_segment,
            terms.bond >= order.min_bond,
            terms.bond * BPS >= terms.cost * order.min_bond_bps,
            terms.audit_bps >= order.min_audit_bps,
            terms.max_duration <= order.max_duration_s,
            terms.window >= order.min_window,
            terms.window <= order.max_window,
            terms.dispute_timeout // 2 >= order.min_window,
            terms.dispute_timeout <= order.max_dispute_timeout,
            terms.first_commit_within <= order.max_first_commit,
            terms.min_segment_seconds >= order.min_segment_seconds,
            terms.commit_grace <= order.min_window,
        )
        for rule, is_kept in enumerate(caps):
            require(is_kept, "TermsOutsideOrder", rule=rule)

    def _continue(self, digest: bytes, earlier: Lease) -> None:
        """A lease of the order goes on where a closed one ended, once."""
        is_own = earlier.order == digest and not earlier.was_continued
        require(is_own, "PredecessorOfOtherOrder")
        is_closed = earlier.status is LeaseStatus.CLOSED
        require(is_closed, "PredecessorNotClosed", status=earlier.status)
        earlier.was_continued = True
