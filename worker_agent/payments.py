"""Carries out what :mod:`worker_agent.settlement` decides: at most one transaction at a time.

Every transaction has a key made of what it does, and is journaled by the sender before it is
broadcast: the same decision made again, by a restarted worker, sends nothing twice.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from client_sdk.chain.errors import CallReverted, UnknownKey
from client_sdk.chain.journal import TxState
from client_sdk.protocol.terms import Terms
from contracts.bindings import Call, LeaseStatus, LeaseView
from worker_agent.ports import ChainPort, SenderPort
from worker_agent.records import LeasePhase, LeaseRecord, Leases
from worker_agent.settlement import TIMEOUT_SLACK_S, Facts, Move, MoveKind, next_move
from worker_agent.tracebook import TraceBook

log = logging.getLogger(__name__)

#: How long after the end of a metered job the worker waits for the renter's last voucher.
VOUCHER_PATIENCE_S: Final = 30
_OPEN: Final = frozenset({TxState.SENT, TxState.MINED})


class Payments:
    """Commits, settlements and closings of the provider's leases.

    Parameters
    ----------
    chain, sender:
        Reads, and transactions of the operator's key.
    leases:
        The journal's records.
    """

    def __init__(self, chain: ChainPort, sender: SenderPort, leases: Leases) -> None:
        self._chain = chain
        self._sender = sender
        self._leases = leases

    def step(self, record: LeaseRecord, lease: LeaseView) -> None:
        """Send the next transaction of a lease, unless one is still on its way."""
        if self._waiting(record):
            return
        terms = record.parsed_terms
        move = self._decide(record, terms, lease)
        if move.kind is MoveKind.NONE:
            return
        if move.kind is MoveKind.CLOSE and not record.delivered:
            return  # the renter's artifacts come first; closing is nobody's hurry but ours
        call, key = self._call(record, terms, lease, move)
        # The intention is journaled first: after a crash the sender knows whether it was sent.
        known = [*record.transactions, *([] if key in record.transactions else [key])]
        self._leases.update(record.lease_id, transaction=key, transactions=known)
        try:
            self._sender.submit(call, key, retry=True)
        except CallReverted as error:
            log.info("lease %s: %s", record.lease_id[:10], error)
            self._leases.update(record.lease_id, transaction=None)
            return
        log.info("lease %s: %s %s", record.lease_id[:10], move.kind, move.up_to or "")

    def abandon(self, record: LeaseRecord) -> None:
        """Take back everything of this attempt that no block holds (any more).

        After a reorganisation the seed may be another one: then a commit that is sent again would
        claim work that was not done, and cost the bond.
        """
        for key in record.transactions:
            try:
                self._sender.cancel(key)
            except UnknownKey:
                log.debug("%s was never sent", key)
        self._leases.update(record.lease_id, transaction=None)

    def _waiting(self, record: LeaseRecord) -> bool:
        if record.transaction is None:
            return False
        if self._sender.state(record.transaction) in _OPEN:
            return True
        self._leases.update(record.lease_id, transaction=None)
        return False

    def _decide(self, record: LeaseRecord, terms: Terms, lease: LeaseView) -> Move:
        now = self._chain.now()
        if lease.status is LeaseStatus.DISPUTED:
            dispute = self._chain.view(self._chain.escrow.dispute_of(record.digest))
            over = dispute.disputed_at + terms.dispute_timeout + TIMEOUT_SLACK_S
            return Move(MoveKind.TIMEOUT if now > over else MoveKind.NONE)
        if lease.status is not LeaseStatus.ACTIVE:
            return Move(MoveKind.NONE)
        ended = record.phase is LeasePhase.ENDED
        facts = Facts(
            verified=len(self._leases.segments(record.lease_id)),
            ended=ended,
            now=now,
            voucher=int(record.voucher["segments"]) if record.voucher else 0,
            gave_up=ended and time.time() >= (record.ended_at or 0) + VOUCHER_PATIENCE_S,
            failed_probe=record.failed_probe is not None,
        )
        return next_move(terms, lease, facts)

    def _call(
        self, record: LeaseRecord, terms: Terms, lease: LeaseView, move: Move
    ) -> tuple[Call, str]:
        escrow, packed = self._chain.escrow, terms.abi_tuple()
        prefix = f"{move.kind}:{record.lease_id}"
        match move.kind:
            case MoveKind.COMMIT:
                book = TraceBook(record, self._leases.segments(record.lease_id))
                root = book.trace_root(move.up_to)
                key = f"{prefix}:{move.up_to}:{root.hex()[:16]}"
                return escrow.commit(packed, move.up_to, root), key
            case MoveKind.SETTLE:
                return escrow.settle(packed), f"{prefix}:{lease.pending}"
            case MoveKind.SETTLE_VOUCHER:
                assert record.voucher is not None
                signature = bytes.fromhex(record.voucher["signature"])
                call = escrow.settle_voucher(packed, move.up_to, signature)
                return call, f"{prefix}:{move.up_to}"
            case MoveKind.CLOSE:
                return escrow.close(packed), prefix
            case MoveKind.REJECT:
                assert record.failed_probe is not None
                report, signature = record.failed_probe
                return escrow.reject_machine(packed, report, signature), prefix
            case MoveKind.TIMEOUT:
                return escrow.timeout_dispute(packed), f"{prefix}:{lease.pending}"
            case MoveKind.NONE:
                raise AssertionError("nothing to send")
