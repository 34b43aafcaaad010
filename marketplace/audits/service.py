"""Audits: drawn after a confirmed commit, done blind, opened only after the report.

Covered: who is drawn follows from the chain alone (both sides repeat the draw); the auditor reports
before it sees the provider's hash; the operator opens before it sees the report; an opening must
lead to the committed root.
Not covered: whether the re-execution is right. A mismatch is decided on the chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.draw import draw_audits
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.messages import AuditReport, BoundaryOpening
from client_sdk.protocol.states import LIVE_AUDITS, AuditKind, AuditState, LeaseState
from marketplace import models
from marketplace.artifacts import repository as artifact_rows
from marketplace.artifacts import service as artifacts
from marketplace.audits import repository
from marketplace.context import Market
from marketplace.domain.events import EventRecord
from marketplace.domain.states import AuditorRole
from marketplace.errors import (
    AuditNotReported,
    AuditOver,
    AuditUnknown,
    LeaseUnknown,
    OpeningRefused,
    ReportRefused,
)
from marketplace.leases import repository as lease_rows
from marketplace.leases.service import operated
from marketplace.listings import repository as listing_rows
from marketplace.orders import repository as order_rows
from marketplace.orders.service import artifact_hashes
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import AUDIT_DRAW
from marketplace.scope import Scope


async def visible(
    session: AsyncSession, market: Market, audit_id: str, caller: str
) -> models.Audit:
    """Return an audit that the caller was drawn for, or whose work it runs.

    Raises
    ------
    AuditUnknown
        There is none, or it is not for this account.
    """
    row = await repository.find(session, market.scope, audit_id)
    if row is None:
        raise AuditUnknown
    if caller == row.auditor:
        return row
    try:
        await operated(session, market.scope, row.lease_id, caller)
    except LeaseUnknown:
        raise AuditUnknown from None
    return row


async def hand_inputs(
    session: AsyncSession,
    market: Market,
    audit_id: str,
    caller: str,
    given: dict[str, Any],
    now: datetime,
) -> models.Audit:
    """Take what the auditor needs from the operator, and let the auditor read it.

    Raises
    ------
    AuditUnknown, ArtifactUnknown, AuditOver
        It is not the caller's to hand, or past the report.
    """
    row = await _run_by(session, market, audit_id, caller)
    hashes = artifact_hashes(given["artifacts"])
    await artifacts.sizes(session, hashes, caller)
    what = {"sealed_key": given.pop("sealed_key"), "inputs": given}
    ready = AuditState.INPUTS_READY
    moved = await repository.move(session, audit_id, ready, now, **what)
    moved = moved or await repository.amend(session, audit_id, ready, now, **what)
    await session.refresh(row)
    if not moved:
        raise AuditOver(f"The audit is {row.state}.")
    await artifact_rows.grant(session, hashes, row.auditor, audit_id, now)
    return row


async def take_report(
    session: AsyncSession,
    market: Market,
    audit_id: str,
    caller: str,
    report: AuditReport,
    signature: str,
    now: datetime,
) -> models.Audit:
    """Take the auditor's blind report; the same one again changes nothing.

    Raises
    ------
    AuditUnknown, ReportRefused, AuditOver
        It is not the caller's audit, for another segment, or there is another report.
    """
    row = await repository.find(session, market.scope, audit_id)
    if row is None or row.auditor != caller:
        raise AuditUnknown
    if to_hex(report.lease_id) != row.lease_id or report.segment != row.segment:
        raise ReportRefused("The report is of another lease or segment.")
    if row.report is not None and row.report_signature == signature.lower():
        return row
    moved = await repository.move(
        session,
        audit_id,
        AuditState.REPORTED,
        now,
        report=dict(report.to_json()),
        report_signature=signature.lower(),
    )
    await session.refresh(row)
    if not moved:
        raise AuditOver(f"The audit is {row.state}.")
    return row


async def take_opening(
    session: AsyncSession,
    market: Market,
    audit_id: str,
    caller: str,
    opening: BoundaryOpening,
    now: datetime,
) -> models.Audit:
    """Take the operator's opening of the audited segment's end, after the report.

    Raises
    ------
    AuditUnknown, AuditNotReported, OpeningRefused, AuditOver
        It comes too early, or does not lead to the committed root.
    """
    row = await _run_by(session, market, audit_id, caller)
    if row.state in (AuditState.ASSIGNED, AuditState.INPUTS_READY):
        raise AuditNotReported
    body = dict(opening.to_json())
    if row.opening == body:
        return row
    commit = row.draw["commit"]
    if opening.segment != row.segment or opening.up_to != commit["up_to"]:
        raise OpeningRefused("The opening is of another segment or commit.")
    try:
        opening.verify(bytes.fromhex(row.lease_id[2:]), bytes.fromhex(commit["trace_root"][2:]))
    except ProtocolError as error:
        raise OpeningRefused(f"The opening does not hold: {error}") from error
    moved = await repository.move(session, audit_id, AuditState.OPENED, now, opening=body)
    await session.refresh(row)
    if not moved:
        raise AuditOver(f"The audit is {row.state}.")
    return row


async def take_outcome(
    session: AsyncSession,
    market: Market,
    audit_id: str,
    caller: str,
    result: AuditState,
    evidence: dict[str, Any],
    now: datetime,
) -> models.Audit:
    """Take the auditor's comparison of its report with the opening.

    Raises
    ------
    AuditUnknown, AuditOver, ReportRefused
        The audit is not opened, or the outcome contradicts report and opening.
    """
    row = await repository.find(session, market.scope, audit_id)
    if row is None or row.auditor != caller:
        raise AuditUnknown
    if row.state == result:
        return row
    if row.state != AuditState.OPENED or row.opening is None or row.report is None:
        raise AuditOver(f"The audit is {row.state}.")
    equal = row.report["state_hash"] == row.opening["state_hash"]
    if equal != (result is AuditState.AGREED):
        raise ReportRefused("The outcome contradicts the report and the opening.")
    await repository.move(session, audit_id, result, now, outcome=evidence)
    await session.refresh(row)
    return row


async def order_draws(session: AsyncSession, events: Iterable[EventRecord], now: datetime) -> None:
    """Order the draw of each confirmed commit."""
    for event in events:
        key = f"{AUDIT_DRAW}:{cause_of(event)}"
        payload = {
            "block_number": event.block_number,
            "log_index": event.log_index,
            "block_hash": event.block_hash,
        }
        await outbox.add(session, AUDIT_DRAW, key, payload, now=now)


async def draw(
    session: AsyncSession,
    market: Market,
    place: tuple[int, int],
    block_hash: str,
    beacon: bytes,
    now: datetime,
) -> int:
    """Write the audits of a commit; return how many were drawn.

    Nobody is drawn for a lease that is over, or whose renter wants no audits.
    """
    scope, settings = market.scope, market.settings
    commit = await session.get(models.Commit, scope.id(*place))
    event = await session.get(models.ChainEvent, scope.id(*place))
    if commit is None or event is None or event.block_hash != block_hash:
        return 0
    lease = await lease_rows.find(session, scope, commit.lease_id)
    if lease is None or lease.state == LeaseState.CLOSED or lease.paid_segments >= commit.up_to:
        return 0
    addresses = await _eligible(session, market, lease, now)
    excluded = {lease.provider, lease.operator, lease.renter}
    drawn = draw_audits(
        beacon,
        bytes.fromhex(lease.lease_id[2:]),
        bytes.fromhex(commit.root[2:]),
        commit.previous_up_to,
        commit.up_to,
        addresses,
        settings.audit_samples,
        excluded,
    )
    basis = {
        "commit": _commit_json(commit),
        "auditors": addresses,
        "num_samples": settings.audit_samples,
        "beacon": to_hex(beacon),
    }
    cause = f"{block_hash}:{place[1]}"
    rows = [
        _row(market, AuditKind.AUDIT, cause, lease, d.segment, d.auditor.lower(), basis, now)
        for d in drawn
    ]
    await repository.add(session, scope, rows)
    return len(rows)


async def arbitrate(
    session: AsyncSession, market: Market, events: Iterable[EventRecord], now: datetime
) -> None:
    """Write an arbitration for each confirmed challenge, or demand for data."""
    scope = market.scope
    for event in events:
        lease = await lease_rows.find(session, scope, event.lease_id or "")
        if lease is None or lease.state == LeaseState.CLOSED:
            continue
        commits = await lease_rows.commits(session, scope, lease.lease_id)
        basis = {
            "commit": _commit_json(commits[-1]) if commits else None,
            "challenger": event.challenger,
            "is_demand": event.is_demand,
        }
        arbiter = str(lease.terms["arbiter"]).lower()
        segment = int(event.args["segment"])
        kind = AuditKind.ARBITRATION
        row = _row(market, kind, cause_of(event), lease, segment, arbiter, basis, now)
        await repository.add(session, scope, [row])


async def follow_rulings(
    session: AsyncSession, scope: Scope, events: Iterable[EventRecord], now: datetime
) -> None:
    """End the arbitrations of leases that were ruled on, or whose dispute ended otherwise."""
    for event in events:
        timed_out = event.name == "DisputeTimedOut"
        state = AuditState.EXPIRED if timed_out else AuditState.RULED
        # An attestation says nothing on the work.
        fraud = event.args["fraud"] if event.name == "Ruled" else None
        outcome = {"fraud": fraud, "tx_hash": event.tx_hash}
        for row in await repository.of_leases(session, scope, [event.lease_id or ""]):
            if row.kind == AuditKind.ARBITRATION:
                await repository.move(session, row.audit_id, state, now, outcome=outcome)


async def rewind(
    session: AsyncSession, scope: Scope, lease_ids: Iterable[str], ancestor: int, now: datetime
) -> None:
    """End audits of commits and challenges that the chain took back."""
    for row in await repository.of_leases(session, scope, list(lease_ids)):
        commit = row.draw.get("commit")
        gone = commit is not None and commit["block_number"] > ancestor
        if gone:
            live, expired = LIVE_AUDITS, AuditState.EXPIRED
            await repository.move(session, row.audit_id, expired, now, by=live)


def cause_of(event: EventRecord) -> str:
    """Name the event behind an audit."""
    return f"{event.block_hash}:{event.log_index}"


async def _eligible(
    session: AsyncSession, market: Market, lease: models.Lease, now: datetime
) -> list[str]:
    scope = market.scope
    order = await order_rows.by_lease(session, scope, lease.lease_id)
    wish = order.audit if order else {"mode": "market", "auditors": []}
    if wish["mode"] == "none":
        return []
    listing = await listing_rows.find(session, scope, lease.listing_id)
    rows = await repository.auditors(
        session,
        scope,
        role=AuditorRole.AUDITOR,
        hardware_class=listing.hardware_class if listing else "",
        seen_after=now - timedelta(seconds=market.settings.auditor_ttl_s),
    )
    addresses = sorted(row.address for row in rows)
    if wish["mode"] == "named":
        named = {address.lower() for address in wish["auditors"]}
        addresses = [address for address in addresses if address in named]
    return addresses


async def _run_by(
    session: AsyncSession, market: Market, audit_id: str, caller: str
) -> models.Audit:
    row = await visible(session, market, audit_id, caller)
    try:
        await operated(session, market.scope, row.lease_id, caller)
    except LeaseUnknown:
        raise AuditUnknown from None
    return row


def _commit_json(commit: models.Commit) -> dict[str, Any]:
    return {
        "previous_up_to": commit.previous_up_to,
        "up_to": commit.up_to,
        "trace_root": commit.trace_root,
        "root": commit.root,
        "block_number": commit.block_number,
        "tx_hash": commit.tx_hash,
    }


def _row(
    market: Market,
    kind: AuditKind,
    cause: str,
    lease: models.Lease,
    segment: int,
    auditor: str,
    basis: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    return {
        "audit_id": new_id(IdKind.AUDIT),
        "kind": kind,
        "cause": cause,
        "lease_id": lease.lease_id,
        "operator": lease.operator,
        "segment": segment,
        "auditor": auditor,
        "draw": basis,
        "state": AuditState.ASSIGNED,
        "created_at": now,
        "updated_at": now,
        "expires_at": now + timedelta(seconds=market.settings.audit_deadline_s),
    }
