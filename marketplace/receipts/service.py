"""Receipts: written once a lease is closed and confirmed, from the chain's rows and the reports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.messages import AuditReport
from client_sdk.protocol.probe_report import ProbeReport
from client_sdk.protocol.receipt import (
    Amounts,
    ArtifactKind,
    AuditResult,
    ChainEvent,
    Receipt,
    ReceiptArtifact,
    ReceiptAudit,
)
from client_sdk.protocol.states import AuditKind, AuditState, LeaseState
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verdicts import Verdict, close_cause, final_verdict
from marketplace import models
from marketplace.artifacts import repository as artifact_rows
from marketplace.audits import repository as audit_rows
from marketplace.context import Market
from marketplace.domain.events import EventRecord
from marketplace.domain.ledger import Subject, SubjectKind
from marketplace.errors import ReceiptPending
from marketplace.indexer import repository as chain_rows
from marketplace.jobs.schemas import input_answers
from marketplace.leases import repository as lease_rows
from marketplace.orders import repository as order_rows
from marketplace.orders.service import artifact_hashes
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import RECEIPT_WRITE
from marketplace.scope import Scope

_RESULTS = {
    AuditState.AGREED: AuditResult.AGREED,
    AuditState.MISMATCH: AuditResult.MISMATCH,
}
_RULED = {
    True: AuditResult.RULED_FRAUD,
    False: AuditResult.RULED_HONEST,
    None: AuditResult.UNRETRIEVABLE,
}


async def order_receipts(
    session: AsyncSession, events: Iterable[EventRecord], now: datetime
) -> None:
    """Order the receipt of each lease whose closing is confirmed."""
    for event in events:
        key = f"{RECEIPT_WRITE}:{event.lease_id}:{event.block_hash}"
        payload = {"lease_id": event.lease_id, "block_hash": event.block_hash}
        await outbox.add(session, RECEIPT_WRITE, key, payload, now=now)


async def of_job(session: AsyncSession, scope: Scope, job: models.Job) -> dict[str, Any]:
    """Return the receipt of a job's lease.

    Raises
    ------
    ReceiptPending
        It is not written yet, or its closing was taken back by the chain.
    """
    if job.lease_id is None:
        raise ReceiptPending
    row = await session.get(models.StoredReceipt, scope.id(job.lease_id))
    lease = await lease_rows.find(session, scope, job.lease_id)
    if row is None or lease is None or lease.state != LeaseState.CLOSED:
        raise ReceiptPending
    return row.body


async def write(
    session: AsyncSession, market: Market, lease_id: str, block_hash: str, now: datetime
) -> bool:
    """Write the receipt of a closed lease; false where this node never held its order.

    A lease that was closed again after a reorganisation gets a new receipt.
    """
    scope = market.scope
    lease = await lease_rows.find(session, scope, lease_id)
    order = await order_rows.by_lease(session, scope, lease_id)
    if lease is None or lease.cause is None or order is None or order.terms_signature is None:
        return False
    receipt = await _build(session, market, lease, order, now)
    await session.merge(
        models.StoredReceipt(
            **scope.key,
            lease_id=lease_id,
            body=dict(receipt.to_json()),
            closed_block_hash=block_hash,
            written_at=now,
        )
    )
    return True


async def _build(
    session: AsyncSession,
    market: Market,
    lease: models.Lease,
    order: models.Order,
    now: datetime,
) -> Receipt:
    scope, lease_id = market.scope, lease.lease_id
    events = await chain_rows.events_of(session, scope, Subject(SubjectKind.LEASE, lease_id))
    commits = await lease_rows.commits(session, scope, lease_id)
    ending = await lease_rows.ending(session, scope, lease_id)
    audits = await audit_rows.of_leases(session, scope, [lease_id])
    assert lease.cause is not None, "the lease is closed"
    reported = Verdict(ending.verdict) if ending else None
    trace_root = _bytes(commits[-1].trace_root) if commits else None
    roots = ending.segment_roots[: commits[-1].up_to] if ending and commits else []
    return Receipt(
        domain=market.domain,
        lease_id=_bytes(lease_id),
        job_id=order.job_id,
        terms=Terms.from_json(dict(lease.terms)),
        signature=_bytes(order.terms_signature or "0x"),
        verdict=final_verdict(close_cause(lease.cause), reported),
        events=tuple(_event(event) for event in events),
        segment_roots=tuple(_bytes(root) for root in roots),
        trace_root=trace_root,
        audits=tuple(_audit(row) for row in audits),
        artifacts=tuple(await _artifacts(session, scope, order, lease_id)),
        probe_report=_probe_report(ending, events),
        amounts=amounts(lease, events),
        issued_at=int(now.timestamp()),
    )


def _probe_report(
    ending: models.Ending | None, events: Iterable[EventRecord]
) -> ProbeReport | None:
    """Return the operator's report on a failed probe, if it is the one that the chain names."""
    named = {event.text("report") for event in events if event.name == "MachineRejected"}
    if ending is None or not named:
        return None
    try:
        report = ProbeReport.from_json(ending.evidence.get("report"))
    except ProtocolError:
        return None
    return report if to_hex(report.digest()) in named else None


def amounts(lease: models.Lease, events: Iterable[EventRecord]) -> Amounts:
    """Return where the money of a closed lease went, from its events."""
    sums = dict.fromkeys(("to_provider", "to_treasury", "to_audit_pool"), 0)
    slashed = dict.fromkeys(("slashed_to_renter", "slashed_to_challenger"), 0)
    for event in events:
        if event.name in ("Settled", "DisputeTimedOut"):
            for key in sums:
                sums[key] += event.amount(key)
        elif event.name == "Ruled":
            for key in slashed:
                slashed[key] += event.amount(key)
        elif event.name in ("LateFraud", "LatePaid"):
            slashed["slashed_to_renter"] += event.amount("slashed_to_renter")
    return Amounts(
        funded=int(lease.terms["price_per_segment"]) * int(lease.terms["segments"]),
        refunded=lease.refund,
        **sums,
        **slashed,
    )


def _event(event: EventRecord) -> ChainEvent:
    fields = {k: _scalar(v) for k, v in event.args.items() if k != "terms"}
    return ChainEvent(
        name=event.name,
        block_number=event.block_number,
        tx_hash=_bytes(event.tx_hash),
        log_index=event.log_index,
        fields=fields,
    )


def _scalar(value: Any) -> str | bool:
    if isinstance(value, bool):
        return value
    text = str(value)
    is_address = text.startswith("0x") and len(text) == 42
    return checksum_address(text) if is_address else text


def _audit(row: models.Audit) -> ReceiptAudit:
    if row.kind == AuditKind.ARBITRATION and row.state == AuditState.RULED:
        result = _RULED[row.outcome["fraud"] if row.outcome else False]
    else:
        result = _RESULTS.get(AuditState(row.state), AuditResult.EXPIRED)
    return ReceiptAudit(
        segment=row.segment,
        auditor=checksum_address(row.auditor),
        result=result,
        report=AuditReport.from_json(row.report) if row.report else None,
        signature=_bytes(row.report_signature or "0x"),
    )


async def _artifacts(
    session: AsyncSession, scope: Scope, order: models.Order, lease_id: str
) -> list[ReceiptArtifact]:
    sizes = await artifact_rows.readable_among(
        session, artifact_hashes(order.artifacts), order.renter
    )
    found = [
        ReceiptArtifact(
            kind=ArtifactKind(a.kind), hash=a.hash, size=sizes.get(a.hash, 0), name=a.name
        )
        for a in input_answers(order, sizes)
        if a.kind in set(ArtifactKind)
    ]
    for row in await lease_rows.artifacts(session, scope, lease_id):
        if row.kind in set(ArtifactKind):
            found.append(
                ReceiptArtifact(
                    kind=ArtifactKind(row.kind),
                    hash=row.hash,
                    size=row.size,
                    segment=row.segment if row.segment >= 0 else None,
                    name=row.name or None,
                )
            )
    return found


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
