"""The loop that answers auditors and the arbiter, as provider.

Nobody gets the job's key because a market says so: the draw is computed again from the chain, an
arbiter must be the one of the terms, with a challenge on the chain, and the key that the job's key
is wrapped to must be signed by the account that was drawn. A segment's opening is given
only after the other side has posted its own result.

A demand for data is answered at every market that shows its arbitration, as a challenge is.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from client_sdk import sealing
from client_sdk.chain.signing import is_signed_by
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.jobspec import Audit
from client_sdk.protocol.states import AuditKind, AuditState
from worker_agent.case import Case, check_case, open_to_challenge
from worker_agent.context import Context
from worker_agent.delivery import Deliverer
from worker_agent.errors import (
    BadAuditorKey,
    BadDraw,
    MarketRefused,
    NetworkFailed,
    ProviderFault,
    RejectedInput,
)
from worker_agent.exchange import (
    Artifacts,
    AuditInputs,
    AuditView,
    give_inputs,
    give_opening,
    live_audits,
    parse_audit,
)
from worker_agent.inputs import load_inputs
from worker_agent.market import Market
from worker_agent.records import LeasePhase, LeaseRecord, Leases
from worker_agent.redelivery import Redelivery
from worker_agent.tracebook import TraceBook

log = logging.getLogger(__name__)
_ANSWERED: Final = {LeasePhase.RUNNING, LeasePhase.ENDED}


class ServeAudits:
    """Answers audits of this worker's leases.

    Parameters
    ----------
    hardware_class:
        Class of this machine, whose auditors are drawn.
    """

    def __init__(
        self, context: Context, leases: Leases, deliverer: Deliverer, hardware_class: bytes
    ) -> None:
        self._context = context
        self._leases = leases
        self._deliverer = deliverer
        self._hardware_class = hardware_class
        self._refused: set[tuple[str, str]] = set()
        self._redelivery = Redelivery(context.markets, context.journal)

    def tick(self) -> None:
        """Answer what waits at every market."""
        if not any(record.phase in _ANSWERED for record in self._leases.active()):
            return
        failure: NetworkFailed | None = None
        for market in self._context.markets.values():
            try:
                self._answer_all(market)
            except NetworkFailed as error:  # the other markets still get answers
                failure = error
        if failure is not None:
            raise failure

    def _answer_all(self, market: Market) -> None:
        for row in live_audits(market, "operator"):
            try:
                audit = parse_audit(row, market.url)
                self._answer(market, audit)
            except (RejectedInput, ProviderFault, MarketRefused) as error:
                # About this row alone: those behind it still get answers.
                name = (market.url, str(row.get("audit_id")) if isinstance(row, dict) else "?")
                if name not in self._refused:
                    log.warning("audit %s refused: %s", name[1], error)
                    self._refused.add(name)

    def _answer(self, market: Market, audit: AuditView) -> None:
        wants_inputs = audit.state is AuditState.ASSIGNED and audit.inputs is None
        wants_opening = audit.reported and audit.opening is None
        if not (wants_inputs or wants_opening):
            return
        record = self._leases.get(audit.lease_id.hex())
        if record is None or record.phase not in _ANSWERED or record.opened_block is None:
            return
        case = check_case(self._context, market, audit, record.opened_block)
        self._check_allowed(record, audit)
        book = TraceBook(record, self._leases.segments(record.lease_id))
        lease = self._context.chain.lease(record.digest)
        if wants_inputs and not open_to_challenge(lease, audit.segment):
            return  # paid: an audit can change nothing any more, and its checkpoint may be gone
        if wants_opening:
            give_opening(market, audit.audit_id, book.opening(audit.segment, case.commit.up_to))
        else:
            give_inputs(market, audit.audit_id, self._inputs(market, record, case, book))
        what = "opening" if wants_opening else "inputs"
        self._leases.journal.note("audit", audit.audit_id, f"{what} given to {audit.auditor}")
        log.info("%s: gave the %s to %s", case.short, what, audit.auditor)

    def _check_allowed(self, record: LeaseRecord, audit: AuditView) -> None:
        """The job spec says who may see the job; the arbiter always may."""
        if audit.kind is AuditKind.ARBITRATION:
            return
        store = self._deliverer.store(record.lease_id)
        inputs = load_inputs(store.inputs, record.parsed_terms.job_hash)
        if inputs is None:
            raise RejectedInput("the job's inputs are not here")
        manifest = inputs.manifest
        if manifest.audit is Audit.NONE:
            raise BadDraw("the renter allows no audits")
        named = any(same_address(audit.auditor, address) for address in manifest.auditors)
        if manifest.audit is Audit.NAMED and not named:
            raise BadDraw(f"the renter did not name {audit.auditor}")

    def _inputs(
        self, market: Market, record: LeaseRecord, case: Case, book: TraceBook
    ) -> AuditInputs:
        audit, opening = case.audit, None
        before = audit.segment - 1 if audit.segment > 0 else None
        if before is not None:
            opening = book.opening(before, case.commit.up_to)
        artifacts = self._artifacts(market, record, before)
        job_key = bytes.fromhex(record.job_key)
        job_hash = record.parsed_terms.job_hash
        auditor_key = self._auditor_key(audit)
        sealed = sealing.wrap_key(job_key, auditor_key, job_hash)
        return AuditInputs(sealed_key=sealed, artifacts=artifacts, opening=opening)

    def _artifacts(self, market: Market, record: LeaseRecord, before: int | None) -> Artifacts:
        """Name what the market has of the job, and deliver anew what it has not."""
        store, deliver = self._deliverer.store(record.lease_id), self._redelivery.deliver
        if market.url != record.market or before is None:
            return deliver(record, store, market, before)
        address = self._deliverer.checkpoint_address(record, before, market)
        return replace(deliver(record, store, market, None), checkpoint=address)

    def _auditor_key(self, audit: AuditView) -> bytes:
        """The key of the account that was drawn, by that account's word and not by a market's."""
        key, chain = audit.auditor_key, self._context.chain
        if not same_address(key.auditor, audit.auditor):
            raise BadAuditorKey(f"the encryption key is of {key.auditor}, not of {audit.auditor}")
        if not is_signed_by(key, chain.domain, audit.auditor_key_signature, audit.auditor):
            raise BadAuditorKey(f"the encryption key is not signed by {audit.auditor}")
        if key.expired(chain.now()):
            raise BadAuditorKey(f"the encryption key of {audit.auditor} has expired")
        if audit.kind is AuditKind.AUDIT and key.hardware_class != self._hardware_class:
            raise BadAuditorKey(f"the machine of {audit.auditor} is of another hardware class")
        return key.encryption_key
