"""Shapes of auditors and audits."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.states import AuditState
from marketplace.clock import iso
from marketplace.domain.states import AuditorRole
from marketplace.models import Audit, Auditor
from marketplace.orders.schemas import ContentHash, Named, Sealed
from marketplace.web.schemas import SIGNATURE, Answer, Body


class AuditorBody(Body):
    """Registers the caller."""

    key: dict[str, Any] = Field(description="`gridlease/auditor-key/1`")
    signature: str = Field(pattern=SIGNATURE)
    role: AuditorRole = AuditorRole.AUDITOR


class AuditorAnswer(Answer):
    """A registered auditor or arbiter."""

    address: str
    role: str
    key: dict[str, Any] = Field(description="`gridlease/auditor-key/1`, signed by the account.")
    key_signature: str
    seen_at: str | None


class AuditorsAnswer(Answer):
    """Registered auditors and arbiters."""

    auditors: list[AuditorAnswer]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class AuditArtifacts(Body):
    """Hashes of what the auditor needs."""

    manifest: ContentHash
    bundle: ContentHash
    data: Named = Field(default_factory=dict)
    extra: Named = Field(default_factory=dict)
    checkpoint: ContentHash | None = None


class InputsBody(Body):
    """What the operator hands to the auditor."""

    sealed_key: Sealed = Field(description="Job key, wrapped to the auditor; base64.")
    artifacts: AuditArtifacts
    opening: dict[str, Any] | None = Field(
        default=None, description="Opening of the segment before; null for the first."
    )


class ReportBody(Body):
    """The auditor's signed report."""

    report: dict[str, Any] = Field(description="`gridlease/audit-report/1`")
    signature: str = Field(pattern=SIGNATURE)


class OpeningBody(Body):
    """The operator's opening of the segment's end."""

    opening: dict[str, Any] = Field(description="`gridlease/boundary-opening/1`")


class OutcomeBody(Body):
    """The auditor's comparison."""

    result: Literal[AuditState.AGREED, AuditState.MISMATCH]
    evidence: dict[str, Any] = Field(default_factory=dict)


class AuditCommit(Answer):
    """The commit that is audited."""

    previous_up_to: int
    up_to: int
    trace_root: str
    root: str
    block_number: int
    tx_hash: str


class AuditInputs(Answer):
    """What the operator handed over."""

    sealed_key: str
    artifacts: dict[str, Any]
    opening: dict[str, Any] | None


class AuditAnswer(Answer):
    """One audit, as its auditor or its operator sees it."""

    audit_id: str
    kind: str
    state: str
    lease_id: str
    segment: int
    auditor: str
    auditor_key: dict[str, Any] | None = Field(
        description="`gridlease/auditor-key/1` of the auditor; check its signature before use."
    )
    auditor_key_signature: str | None
    commit: AuditCommit | None
    draw: dict[str, Any] = Field(description="What the draw was made of.")
    inputs: AuditInputs | None
    reported: bool
    report: dict[str, Any] | None
    report_signature: str | None
    opening: dict[str, Any] | None
    outcome: dict[str, Any] | None
    created_at: str | None
    expires_at: str | None


class AuditsAnswer(Answer):
    """The caller's audits; the leases take turns, each with its lowest segment first."""

    audits: list[AuditAnswer]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


def auditor_answer(row: Auditor) -> AuditorAnswer:
    """Write an auditor."""
    return AuditorAnswer(
        address=checksum_address(row.address),
        role=row.role,
        key=row.key,
        key_signature=row.key_signature,
        seen_at=iso(row.seen_at),
    )


def audit_answer(row: Audit, caller: str, auditor: Auditor | None) -> AuditAnswer:
    """Write an audit; the operator's side does not see the report before it has opened."""
    is_auditor = caller == row.auditor
    shows_report = is_auditor or row.opening is not None
    inputs = None
    if row.inputs is not None:
        inputs = AuditInputs(
            sealed_key=row.sealed_key or "",
            artifacts=row.inputs["artifacts"],
            opening=row.inputs["opening"],
        )
    commit = row.draw.get("commit")
    return AuditAnswer(
        audit_id=row.audit_id,
        kind=row.kind,
        state=row.state,
        lease_id=row.lease_id,
        segment=row.segment,
        auditor=checksum_address(row.auditor),
        auditor_key=auditor.key if auditor else None,
        auditor_key_signature=auditor.key_signature if auditor else None,
        commit=AuditCommit(**commit) if commit else None,
        draw={key: value for key, value in row.draw.items() if key != "commit"},
        inputs=inputs,
        reported=row.report is not None,
        report=row.report if shows_report else None,
        report_signature=row.report_signature if shows_report else None,
        opening=row.opening,
        outcome=row.outcome,
        created_at=iso(row.created_at),
        expires_at=iso(row.expires_at),
    )
