"""The loop that answers orders: fetch, check, measure, sign terms, or decline with a reason.

A signature on terms means that the inputs are here and checked. The lease is journaled before its
terms leave the machine; a worker killed in between posts the same terms again.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from typing import Any, Final

from client_sdk import sealing
from client_sdk.chain.signing import is_signed_by, sign
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.ids import IdKind, check_id
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.units import format_duration
from worker_agent.context import Context
from worker_agent.draining import draining
from worker_agent.errors import (
    BadArtifact,
    JobFailed,
    MarketRefused,
    NetworkFailed,
    OrderRejected,
    StageTimeout,
)
from worker_agent.exchange import MAX_SEALED_KEY_BYTES, Artifacts, parse_artifacts, parse_base64
from worker_agent.heartbeat import Heartbeat, find_offer
from worker_agent.inputs import JobInputs, fetch_inputs
from worker_agent.jobs import Jobs
from worker_agent.losses import Losses
from worker_agent.market import Json, Market
from worker_agent.measure import measure_steps
from worker_agent.quotes import Machine, Measured, check_manifest, check_order, make_terms
from worker_agent.records import LeasePhase, LeaseRecord, Leases
from worker_agent.store import LeaseStore

log = logging.getLogger(__name__)
_KIND: Final = "order"
#: Signed terms that may wait for their opening at the same time.
_MAX_WAITING: Final = 4


class Orders:
    """Answers orders for the listing that is offered.

    Parameters
    ----------
    context:
        The daemon.
    leases:
        Where signed terms are journaled.
    jobs:
        Runs probes.
    heartbeat:
        Knows what is offered.
    machine:
        What is rented out.
    """

    def __init__(
        self, context: Context, leases: Leases, jobs: Jobs, heartbeat: Heartbeat, machine: Machine
    ) -> None:
        self._context = context
        self._leases = leases
        self._jobs = jobs
        self._heartbeat = heartbeat
        self._machine = machine
        self._losses = Losses(context.journal, leases, context.settings.loss_allowance_s)

    def tick(self) -> None:
        """Answer the oldest order of each market, while this machine is free."""
        self._post_again()
        failure: NetworkFailed | None = None
        for market in self._context.markets.values():
            if not self._free():
                return
            try:
                self._answer_one(market)
            except NetworkFailed as error:  # the other markets still get an answer
                failure = error
        if failure is not None:
            raise failure

    def _free(self) -> bool:
        if draining(self._context.journal):
            return False
        phases = [record.phase for record in self._leases.active()]
        working = {LeasePhase.OPENED, LeasePhase.RUNNING} & set(phases)
        return not working and phases.count(LeasePhase.SIGNED) < _MAX_WAITING

    def _answer_one(self, market: Market) -> None:
        listing = to_hex(self._heartbeat.listing.listing_id)
        for state in ("claimed", "pending"):
            answer = market.get("/v1/worker/orders", listing_id=listing, state=state)
            waiting = answer.get("orders")
            for view in waiting if isinstance(waiting, list) else []:
                if self._answer(market, view):
                    return

    def _answer(self, market: Market, view: object) -> bool:
        """Claim and answer one order; whether it was ours to answer."""
        try:
            raw_id = view.get("order_id") if isinstance(view, dict) else None
            order_id = check_id(raw_id, IdKind.ORDER, "order_id")
        except ProtocolError as error:
            log.warning("a market sent a malformed order: %s", error)
            return False
        if self._context.journal.get(_KIND, order_id) is not None:
            return False  # answered before; its terms or refusal are with the market
        try:
            claim = market.post(f"/v1/orders/{order_id}/claim", {})
        except MarketRefused as error:
            log.info("order %s: %s", order_id, error)
            return False
        try:
            record = self._prepare(market, order_id, claim)
        except OrderRejected as error:
            self._decline(market, order_id, claim, error.code, str(error))
        except (BadArtifact, ProtocolError, sealing.SealingError) as error:
            self._decline(market, order_id, claim, "bad_inputs", str(error))
        except JobFailed as error:
            # What the code printed is the renter's secret; the market gets the exit code only.
            log.info("order %s: the job failed in the probe: %s", order_id, error)
            text = f"Your code failed in a probe run (exit code {error.exit_code}): run it locally."
            self._decline(market, order_id, claim, "job_failed", text)
        except StageTimeout as error:
            self._decline(market, order_id, claim, "too_long", str(error))
        else:
            self._post_terms(market, order_id, record, claim.get("lock_token"))
        return True

    def _prepare(self, market: Market, order_id: str, claim: Json) -> LeaseRecord:
        """Do everything that a signature promises, and journal the lease."""
        context = self._context
        order, offer = self._read_order(claim)
        stake = context.chain.view(
            context.chain.escrow.stake_of(context.provider, context.token.address)
        )
        token = context.token.address
        credit = context.chain.view(context.chain.escrow.credit_of(token, order.renter))
        funds = context.chain.token_balance(token, order.renter) + credit
        check_order(order, offer, context.chain.now(), stake.total, funds)
        excess_s = self._losses.excess_s(order.renter)
        if excess_s > 0:
            lost = format_duration(math.ceil(excess_s))
            text = f"Your failed jobs cost this worker {lost} too much: mend the job, try tomorrow."
            raise OrderRejected("unpaid_work", text)
        artifacts = parse_artifacts(claim.get("artifacts"))
        sealed = parse_base64(claim.get("sealed_key"), "sealed_key", MAX_SEALED_KEY_BYTES)
        job_key = sealing.unwrap_key(sealed, context.encryption_key, order.job_hash)
        store = LeaseStore(context.folder("orders") / order_id)
        layers = context.folder("layers")
        inputs = fetch_inputs(market, artifacts, job_key, order.job_hash, store.inputs, layers)
        longest = context.settings.max_duration_s
        check_manifest(inputs.manifest, order, offer, self._machine, longest)
        measured = measure_steps(self._jobs, inputs, context.settings.accept_limit_s)
        # The probe took time: the offer may have lapsed, and blocks have passed.
        terms = make_terms(
            order,
            offer,
            inputs.manifest,
            measured,
            context.settings,
            context.chain.now(),
            stake.free,
        )
        record = self._record(market, order_id, claim, terms, job_key, artifacts, inputs, measured)
        target = context.folder("leases") / record.lease_id
        shutil.rmtree(target, ignore_errors=True)
        store.folder.rename(target)
        with context.journal.transaction():
            self._leases.add(record)
            answered = {"lease_id": record.lease_id, "market": market.url, "posted": False}
            context.journal.put(_KIND, order_id, answered)
        return record

    def _read_order(self, claim: Json) -> tuple[Order, Offer]:
        """The order, signed by its renter, and the offer of ours that it answers."""
        order = Order.from_json(claim.get("order"), "order")
        signature = str(claim.get("signature", "")).removeprefix("0x")
        domain = self._context.chain.domain
        try:
            signed = is_signed_by(order, domain, bytes.fromhex(signature), order.renter)
        except ValueError:
            signed = False
        if not signed:
            raise OrderRejected("bad_inputs", "The order is not signed by its renter.")
        offer = find_offer(self._context.journal, order.offer)
        if offer is None:
            raise OrderRejected("not_mine", "The order answers an offer that is not ours.")
        return order, offer

    def _record(
        self,
        market: Market,
        order_id: str,
        claim: Json,
        terms: Terms,
        job_key: bytes,
        artifacts: Artifacts,
        inputs: JobInputs,
        measured: Measured,
    ) -> LeaseRecord:
        domain = self._context.chain.domain
        return LeaseRecord(
            lease_id=terms.lease_id(domain).hex(),
            market=market.url,
            order_id=order_id,
            job_id=check_id(claim.get("job_id"), IdKind.JOB, "job_id"),
            terms=terms.to_json(),
            signature=sign(terms, domain, self._context.account).hex(),
            job_key=job_key.hex(),
            artifacts=artifacts.to_json(),
            salt_secret=os.urandom(32).hex(),
            segment_s=measured.segment_s(inputs.manifest),
            step_s=measured.step_s,
            state_bytes=measured.state_bytes,
            probe_s=measured.probe_s,
            signed_block=self._context.chain.head(),
        )

    def _post_terms(
        self, market: Market, order_id: str, record: LeaseRecord, lock_token: Any
    ) -> None:
        market.post(
            f"/v1/orders/{order_id}/terms",
            {
                "lock_token": lock_token,
                "terms": record.terms,
                "signature": "0x" + record.signature,
                "probe": {"step_seconds": record.step_s},
            },
        )
        answered = {"lease_id": record.lease_id, "market": market.url, "posted": True}
        self._context.journal.put(_KIND, order_id, answered)
        log.info("order %s: signed terms for lease %s", order_id, record.lease_id[:10])

    def _post_again(self) -> None:
        """Post terms that were journaled, but perhaps not received, before this process."""
        for record in self._leases.active():
            answered = self._context.journal.get(_KIND, record.order_id)
            if record.phase is not LeasePhase.SIGNED or not answered or answered["posted"]:
                continue
            market = self._context.markets.get(record.market)
            if market is None:
                continue
            try:
                claim = market.post(f"/v1/orders/{record.order_id}/claim", {})
                self._post_terms(market, record.order_id, record, claim.get("lock_token"))
            except MarketRefused as error:
                # The market knows them already, or the order is over: either way nothing to do.
                log.info("order %s: %s", record.order_id, error)
                self._context.journal.put(_KIND, record.order_id, {**answered, "posted": True})

    def _decline(self, market: Market, order_id: str, claim: Json, code: str, text: str) -> None:
        log.info("order %s: declined, %s: %s", order_id, code, text)
        body = {"lock_token": claim.get("lock_token"), "code": code, "reason": text[:500]}
        market.post(f"/v1/orders/{order_id}/decline", body)
        self._context.journal.put(_KIND, order_id, {"declined": code, "posted": True})
        shutil.rmtree(self._context.folder("orders") / order_id, ignore_errors=True)
