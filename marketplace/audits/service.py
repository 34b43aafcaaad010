"""The exchange of an audit between auditor and operator: done blind, opened after the report.

Covered: the auditor reports before it sees the provider's hash; the operator opens before it sees
the report; an opening must lead to the committed root.
Not covered: whether the re-execution is right. A mismatch is decided on the chain.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.messages import AuditReport, BoundaryOpening
from client_sdk.protocol.states import AuditState
from marketplace import models
from marketplace.artifacts import repository as artifact_rows
from marketplace.artifacts import service as artifacts
from marketplace.audits import repository
from marketplace.context import Market
from marketplace.errors import (
    AuditNotReported,
    AuditOver,
    AuditUnknown,
    LeaseUnknown,
    OpeningRefused,
    ReportRefused,
)
from marketplace.leases.service import operated
from marketplace.orders.service import artifact_hashes


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


async def _run_by(
    session: AsyncSession, market: Market, audit_id: str, caller: str
) -> models.Audit:
    row = await visible(session, market, audit_id, caller)
    try:
        await operated(session, market.scope, row.lease_id, caller)
    except LeaseUnknown:
        raise AuditUnknown from None
    return row
