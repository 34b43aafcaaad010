"""Life of a lease. Source: docs/escrow, commit.md to timeout.md."""

from __future__ import annotations

from client_sdk.protocol.terms import Terms, chained_root
from contracts.bindings import CloseCause, LeaseStatus, Source
from tests.integration.contracts.model.ledger import challenge_bond, challenge_reward
from tests.integration.contracts.model.openings import Openings
from tests.integration.contracts.model.state import Dispute, Lease, Refused, require

FOREVER = -1
"""A time that has passed for ever."""


class Leases(Openings):
    def lease(self, terms: Terms) -> Lease | None:
        return self.state.leases.get(terms.lease_id(self.domain))

    def _with(self, terms: Terms, status: LeaseStatus, error: str) -> Lease:
        lease = self.lease(terms)
        if lease is None or lease.status is not status:
            found = LeaseStatus.NONE if lease is None else lease.status
            raise Refused(error, leaseId=terms.lease_id(self.domain), status=found)
        return lease

    def _active(self, terms: Terms) -> Lease:
        return self._with(terms, LeaseStatus.ACTIVE, "LeaseNotActive")

    def _live(self, terms: Terms) -> Lease:
        lease = self.lease(terms)
        if lease is None or not lease.is_live:
            raise Refused("LeaseNotLive", leaseId=terms.lease_id(self.domain))
        return lease

    # Clocks

    def matures_at(self, lease: Lease) -> int:
        return lease.committed_at + lease.terms.window

    def commit_deadline(self, lease: Lease) -> int:
        """Last time for a commit, and for a stop, of a lease that was not stopped."""
        terms = lease.terms
        period = terms.max_duration
        if not terms.metered and lease.committed_at == 0:
            period = min(period, terms.first_commit_within)
        return lease.opened_at + period

    def claim_deadline(self, lease: Lease) -> int:
        """Last time at which the provider can still claim something."""
        terms = lease.terms
        if lease.is_unretrievable:
            return FOREVER
        if not lease.stopped_at:
            return self.commit_deadline(lease) + (terms.commit_grace if terms.metered else 0)
        made_final_commit = not terms.metered and lease.committed_at > lease.stopped_at
        return FOREVER if made_final_commit else lease.stopped_at + terms.commit_grace

    def ruling_deadline(self, lease: Lease) -> int:
        assert lease.dispute is not None
        return lease.dispute.disputed_at + lease.terms.dispute_timeout

    def lower_deadline(self, lease: Lease) -> int:
        """From when on nobody may point at a lower segment: the arbiter has as long for it."""
        assert lease.dispute is not None
        return lease.dispute.disputed_at + lease.terms.dispute_timeout // 2

    # Commit and settle

    def payable(self, lease: Lease, good: int) -> int:
        """How many of `good` segments are paid: without the reserve, unless there is a final
        checkpoint, which can be fetched, or the renter stopped the lease."""
        is_final = good == lease.terms.segments or lease.stopped_at
        if not is_final or lease.is_unretrievable:
            good = min(good, lease.terms.segments - lease.terms.reserve_segments)
        return max(good, lease.paid)

    def _pay(self, lease: Lease, good: int) -> None:
        up_to = self.payable(lease, good)
        amount = lease.terms.price_per_segment * (up_to - lease.paid)
        lease.paid = up_to
        self._pay_out(lease.terms, amount)

    def _is_matured(self, lease: Lease) -> bool:
        return lease.pending > lease.paid and self.now >= self.matures_at(lease)

    def _is_provider_side(self, caller: str, terms: Terms) -> bool:
        return caller in (terms.provider, self.state.listings[terms.listing_id].operator)

    def commit(self, caller: str, terms: Terms, up_to: int, trace_root: bytes) -> None:
        lease = self._active(terms)
        require(not terms.metered, "LeaseMetered")
        require(not lease.is_unretrievable, "LeaseUnretrievable")
        require(self._is_provider_side(caller, terms), "NotProviderOrOperator", caller=caller)
        in_range = lease.pending < up_to <= terms.segments
        require(in_range, "UpToOutOfRange", upTo=up_to, pending=lease.pending)
        deadline = self.claim_deadline(lease)
        require(deadline != FOREVER, "FinalCommitMade")
        require(self.now <= deadline, "AfterCommitDeadline", deadline=deadline)
        elapsed = self.now - lease.opened_at
        if lease.stopped_at:  # what was finished by then, and the segment that was running
            elapsed = lease.stopped_at - lease.opened_at + terms.min_segment_seconds
        require(up_to * terms.min_segment_seconds <= elapsed, "CommitTooFast")
        if self._is_matured(lease):
            self._pay(lease, lease.pending)
        lease.pending = up_to
        # The final commit is one that is later than the stop, also within the same second.
        lease.committed_at = self.now + (lease.stopped_at == self.now)
        lease.root = chained_root(lease.root, up_to, trace_root)

    def settle(self, _caller: str, terms: Terms) -> None:
        lease = self._active(terms)
        require(self.payable(lease, lease.pending) > lease.paid, "NothingToSettle")
        matures_at = self.matures_at(lease)
        require(self._is_matured(lease), "WindowOpen", maturesAt=matures_at)
        self._settle(lease)

    def settle_many(self, _caller: str, many: list[Terms]) -> int:
        num_settled = 0
        for terms in many:
            lease = self.lease(terms)
            if lease is None or lease.status is not LeaseStatus.ACTIVE:
                continue
            if self._is_matured(lease) and self.payable(lease, lease.pending) > lease.paid:
                self._settle(lease)
                num_settled += 1
        return num_settled

    def settle_voucher(self, _caller: str, terms: Terms, segments: int, signer: str | None) -> None:
        lease = self._active(terms)
        require(terms.metered, "LeaseNotMetered")
        in_range = lease.paid < segments <= terms.segments
        require(in_range, "VoucherOutOfRange", given=segments, paid=lease.paid)
        require(signer == terms.renter, "SignatureInvalid", signer=terms.renter)
        lease.pending, lease.committed_at = segments, self.now
        self._settle(lease)

    def _settle(self, lease: Lease) -> None:
        self._pay(lease, lease.pending)
        if lease.paid == lease.terms.segments:
            self._close(lease, CloseCause.COMPLETED)

    # Stop and close

    def stop(self, caller: str, terms: Terms) -> None:
        require(caller == terms.renter, "NotRenter", caller=caller, renter=terms.renter)
        self._stop(terms)

    def stop_for(self, _caller: str, terms: Terms, signer: str | None) -> None:
        require(signer == terms.renter, "SignatureInvalid", signer=terms.renter)
        self._stop(terms)

    def _stop(self, terms: Terms) -> None:
        lease = self._live(terms)
        require(not lease.stopped_at, "AlreadyStopped", stoppedAt=lease.stopped_at)
        # A dispute stops the lease's clock.
        time = lease.dispute.disputed_at if lease.dispute else self.now
        deadline = self.commit_deadline(lease)
        require(time <= deadline, "AfterCommitDeadline", timestamp=time, deadline=deadline)
        lease.stopped_at = time

    def close(self, caller: str, terms: Terms) -> None:
        lease = self._active(terms)
        if lease.pending > lease.paid:
            matures_at = self.matures_at(lease)
            require(self.now >= matures_at, "WindowOpen", maturesAt=matures_at)
            self._pay(lease, lease.pending)
        is_complete = lease.paid == terms.segments
        is_over = is_complete or self.now > self.claim_deadline(lease)
        may_close = is_over or self._is_provider_side(caller, terms)
        require(may_close, "BeforeCloseTime", closableAfter=self.claim_deadline(lease))
        if is_complete:
            cause = CloseCause.COMPLETED
        elif lease.is_unretrievable:
            cause = CloseCause.UNRETRIEVABLE
        elif lease.stopped_at:
            cause = CloseCause.RENTER_STOPPED
        elif not terms.metered and lease.committed_at == 0:
            cause = CloseCause.NEVER_COMMITTED
        elif is_over:
            cause = CloseCause.EXPIRED
        else:
            cause = CloseCause.PROVIDER_CLOSED
        self._close(lease, cause)

    def _close(self, lease: Lease, cause: CloseCause, paid_otherwise: int = 0) -> None:
        """Refund what is left in escrow; the bond is free, for it is no live lease's any more."""
        refund = lease.escrow - paid_otherwise
        if lease.order:
            use = self.order_use(lease.order)
            use.spent -= refund
            use.segments -= lease.terms.segments - lease.paid
        self._credit(lease.terms.token, lease.terms.renter, refund)
        lease.status, lease.cause, lease.dispute = LeaseStatus.CLOSED, cause, None

    # Disputes

    def challenge(self, caller: str, terms: Terms, segment: int, value: int = 0) -> None:
        self._dispute(caller, terms, segment, is_demand=False)
        self._pull(terms.token, caller, challenge_bond(terms), value)

    def challenge_from(
        self,
        caller: str,
        terms: Terms,
        segment: int,
        source: Source,
        challenger: str,
        consent: tuple[str | None, bytes],
        expires_at: int,
    ) -> None:
        """`consent`: who signed exactly this challenge, and its digest."""
        signer, digest = consent
        if caller != challenger:
            require(self.now < expires_at, "ConsentExpired", expiresAt=expires_at)
            is_used = (challenger, digest) in self.state.used_consents
            require(not is_used, "ConsentUsed", account=challenger)
            require(signer == challenger, "SignatureInvalid", signer=challenger)
            self.state.used_consents[challenger, digest] = True
        self._dispute(challenger, terms, segment, is_demand=False)
        self._take(source, terms.token, challenger, challenge_bond(terms))

    def demand_data(self, caller: str, terms: Terms, segment: int, value: int = 0) -> None:
        """A dispute whose claim is that a checkpoint cannot be fetched."""
        self._dispute(caller, terms, segment, is_demand=True)
        self._pull(terms.token, caller, challenge_bond(terms), value)

    def _dispute(self, challenger: str, terms: Terms, segment: int, *, is_demand: bool) -> None:
        require(challenger != terms.arbiter, "ArbiterMayNotChallenge", arbiter=challenger)
        lease = self.lease(terms)
        if lease is not None and lease.dispute:
            self._point_lower(lease, lease.dispute, challenger, segment)
            lease.dispute.is_lower_demand = is_demand
            return
        lease = self._active(terms)
        require(not terms.metered, "LeaseMetered")
        self._check_segment(segment, lease.paid, lease.pending)
        matures_at = self.matures_at(lease)
        require(self.now < matures_at, "AfterWindow", maturesAt=matures_at)
        lease.status = LeaseStatus.DISPUTED
        lease.dispute = Dispute(challenger, self.now, segment, is_demand)

    def _point_lower(self, lease: Lease, dispute: Dispute, challenger: str, segment: int) -> None:
        deadline = self.lower_deadline(lease)
        require(self.now < deadline, "AfterLowerDeadline", deadline=deadline)
        self._check_segment(segment, lease.paid, dispute.lowest_segment)
        if dispute.lower_challenger:
            self._return_bond(lease.terms, dispute.lower_challenger)
        dispute.lowest_segment, dispute.lower_challenger = segment, challenger

    def _check_segment(self, segment: int, lowest: int, end: int) -> None:
        require(lowest <= segment < end, "SegmentOutOfRange", lowest=lowest, end=end)

    def _return_bond(self, terms: Terms, challenger: str) -> None:
        self._credit(terms.token, challenger, challenge_bond(terms))

    def _disputed(self, terms: Terms) -> tuple[Lease, Dispute]:
        lease = self._with(terms, LeaseStatus.DISPUTED, "LeaseNotDisputed")
        assert lease.dispute is not None
        return lease, lease.dispute

    def _check_arbiter_calls(self, caller: str, terms: Terms) -> None:
        require(caller == terms.arbiter, "NotArbiter", caller=caller, arbiter=terms.arbiter)

    def rule(self, caller: str, terms: Terms, fraud: bool, segment: int) -> None:
        lease, dispute = self._disputed(terms)
        self._check_arbiter_calls(caller, terms)
        deadline = self.ruling_deadline(lease)
        require(self.now < deadline, "AfterDisputeTimeout", deadline=deadline)
        if fraud:
            require(lease.paid <= segment < lease.pending, "SegmentOutOfRange")
            self._rule_fraud(lease, dispute, segment)
        else:
            require(segment == dispute.lowest_segment, "NotLowestSegment")
            self._rule_honest(lease, dispute)

    def _rule_fraud(self, lease: Lease, dispute: Dispute, good_segments: int) -> None:
        terms, reward = lease.terms, challenge_reward(lease.terms)
        self.staked(terms.provider, terms.token).total -= terms.bond
        self._credit(terms.token, dispute.challenger, reward)
        self._credit(terms.token, terms.renter, terms.bond - reward)
        for challenger in dispute.challengers:
            self._return_bond(terms, challenger)
        self._pay(lease, good_segments)
        lease.is_proven = True
        self._close(lease, CloseCause.FRAUD)

    def _rule_honest(self, lease: Lease, dispute: Dispute) -> None:
        """Pays nothing: the window goes on."""
        terms = lease.terms
        half = challenge_bond(terms) // 2
        is_demand = (dispute.is_demand, dispute.is_lower_demand)
        for challenger, demanded in zip(dispute.challengers, is_demand, strict=False):
            # What a provider answers is no income: else it would wait to be asked by the arbiter.
            self._credit(terms.token, challenger if demanded else terms.provider, half)
            # A provider that challenges itself to gain time pays for it.
            self._accrue(terms.token, 0, half)
        self._resume(lease, dispute)

    def _resume(self, lease: Lease, dispute: Dispute) -> None:
        """No clock ran while nobody could commit."""
        frozen = self.now - dispute.disputed_at
        lease.opened_at += frozen
        lease.committed_at += frozen
        lease.stopped_at += frozen if lease.stopped_at else 0
        lease.status, lease.dispute = LeaseStatus.ACTIVE, None

    def attest_unretrievable(self, caller: str, terms: Terms, good_segments: int) -> None:
        lease = self._live(terms)
        self._check_arbiter_calls(caller, terms)
        # In a dispute none above the challenged one: nobody has ruled that it is good.
        end = lease.dispute.lowest_segment + 1 if lease.dispute else lease.pending
        require(lease.paid <= good_segments < end, "GoodSegmentsOutOfRange")
        if lease.dispute:
            deadline = self.ruling_deadline(lease)
            require(self.now < deadline, "AfterDisputeTimeout", deadline=deadline)
            for challenger in lease.dispute.challengers:
                self._return_bond(terms, challenger)
            self._resume(lease, lease.dispute)
        else:
            matures_at = self.matures_at(lease)
            require(self.now < matures_at, "AfterWindow", maturesAt=matures_at)
        lease.pending, lease.is_unretrievable = good_segments, True

    def timeout_dispute(self, _caller: str, terms: Terms) -> None:
        lease, dispute = self._disputed(terms)
        deadline = self.ruling_deadline(lease)
        require(self.now >= deadline, "BeforeDisputeTimeout", deadline=deadline)
        below = self.payable(lease, dispute.lowest_segment) - lease.paid
        half = terms.price_per_segment * below // 2
        self._pay_out(terms, half)
        for challenger in dispute.challengers:
            self._return_bond(terms, challenger)
        self._close(lease, CloseCause.DISPUTE_TIMED_OUT, paid_otherwise=half)

    # Findings outside of disputes

    def reject_machine(self, caller: str, terms: Terms, signer: str | None) -> None:
        """`signer`: who signed that the machine failed its probe."""
        lease = self._active(terms)
        require(lease.committed_at == 0, "WorkCommitted")
        operator = self.state.listings[terms.listing_id].operator
        by_arbiter = caller == terms.arbiter and not terms.metered
        require(by_arbiter or signer == operator, "SignatureInvalid", signer=operator)
        self._close(lease, CloseCause.ACCEPTANCE_FAILED)

    def rule_late(self, caller: str, terms: Terms, good_segments: int) -> None:
        lease = self._with(terms, LeaseStatus.CLOSED, "LeaseNotClosed")
        require(not terms.metered, "LeaseMetered")
        self._check_arbiter_calls(caller, terms)
        require(not lease.is_proven, "FraudRuled")
        require(good_segments < lease.paid, "GoodSegmentsOutOfRange")
        deadline = self.matures_at(lease) + self.unbonding_period
        require(self.now < deadline, "AfterLateDeadline", deadline=deadline)
        lease.is_proven = True
        held = self.staked(terms.provider, terms.token)
        hidden = min(
            self.locked(terms.provider, terms.token), self.debt(terms.provider, terms.token)
        )
        self._take_late(lease, min(terms.bond, held.total - hidden))

    def pay_late(self, _caller: str, terms: Terms) -> None:
        lease = self.lease(terms)
        owed = lease.owed if lease else 0
        taken = self._take_late(lease, owed) if lease and owed else 0
        require(taken > 0, "NothingToPay", leaseId=terms.lease_id(self.domain), owed=owed)

    def _take_late(self, lease: Lease, due: int) -> int:
        """What live leases keep stays owed."""
        terms = lease.terms
        taken = self._take_free(terms.provider, terms.token, due)
        lease.owed = due - taken
        self._credit(terms.token, terms.renter, taken)
        return taken
