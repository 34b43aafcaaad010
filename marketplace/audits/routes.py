"""Auditors and the exchange between auditor and worker."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.messages import AuditorKey, AuditReport, BoundaryOpening
from client_sdk.protocol.states import AuditKind, AuditState
from marketplace import models
from marketplace.audits import pages, registry, repository, service
from marketplace.audits.schemas import (
    AuditAnswer,
    AuditorAnswer,
    AuditorBody,
    AuditorsAnswer,
    AuditsAnswer,
    InputsBody,
    OpeningBody,
    OutcomeBody,
    ReportBody,
    audit_answer,
    auditor_answer,
)
from marketplace.clock import now
from marketplace.context import Market
from marketplace.domain.states import AuditorRole
from marketplace.errors import (
    ArtifactUnknown,
    AuditNotReported,
    AuditOver,
    AuditUnknown,
    MessageRefused,
    OpeningRefused,
    RateLimited,
    ReportRefused,
    RequestInvalid,
    SignatureRefused,
    Unauthenticated,
)
from marketplace.signed import read, require_signer
from marketplace.web.access import CallerDep, MarketDep, VisitorDep
from marketplace.web.schemas import HASH, errors

auditors_router = APIRouter(prefix="/auditors", tags=["audits"])
router = APIRouter(prefix="/audits", tags=["audits"])
AuditId = Annotated[str, Path(max_length=40)]
_AUDITOR = r"^0x[0-9a-f]{40}:(auditor|arbiter)$"
_COMMON = (Unauthenticated, RequestInvalid, RateLimited)


@auditors_router.post(
    "", status_code=201, responses=errors(*_COMMON, MessageRefused, SignatureRefused)
)
async def register(body: AuditorBody, caller: CallerDep, market: MarketDep) -> AuditorAnswer:
    """Register the caller, or refresh its registration."""
    message = read(AuditorKey, body.key)
    await require_signer(message, market.domain, body.signature, caller)
    async with market.database.writing() as session:
        row = await registry.register(
            session, market, message, body.signature, caller, body.role, now()
        )
    return auditor_answer(row)


@auditors_router.get("", responses=errors(RequestInvalid, RateLimited))
async def auditors(
    market: MarketDep,
    _visitor: VisitorDep,
    role: AuditorRole | None = None,
    hardware_class: Annotated[str | None, Query(pattern=HASH)] = None,
    after: Annotated[str | None, Query(pattern=_AUDITOR)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> AuditorsAnswer:
    """Return registered auditors and arbiters, in the order of their addresses."""
    address, _, last_role = (after or "").partition(":")
    async with market.database.reading() as session:
        rows = await repository.auditors(
            session,
            market.scope,
            role=role,
            hardware_class=hardware_class,
            after=(address, last_role) if after else None,
            limit=limit,
        )
    following = f"{rows[-1].address}:{rows[-1].role}" if len(rows) == limit else None
    return AuditorsAnswer(auditors=[auditor_answer(row) for row in rows], next=following)


@router.get("", responses=errors(*_COMMON))
async def audits(
    caller: CallerDep,
    market: MarketDep,
    role: Literal["auditor", "operator"] | None = None,
    state: Annotated[list[AuditState] | None, Query()] = None,
    after: Annotated[str | None, Query(pattern=pages.PLACE)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> AuditsAnswer:
    """Return the audits that the caller was drawn for, or whose work it runs.

    The leases take turns, each with its lowest segment first.
    """
    states = [s.value for s in state or []]
    place = pages.Place.parse(after) if after else pages.Place.start(now())
    async with market.database.reading() as session:
        rows, following = await pages.page(
            session, market.scope, caller, role=role, states=states, after=place, limit=limit
        )
        answers = [await _answer(session, market, row, caller) for row in rows]
    return AuditsAnswer(audits=answers, next=str(following) if following else None)


@router.get("/{audit_id}", responses=errors(*_COMMON, AuditUnknown))
async def audit(audit_id: AuditId, caller: CallerDep, market: MarketDep) -> AuditAnswer:
    """Return one audit."""
    async with market.database.reading() as session:
        row = await service.visible(session, market, audit_id, caller)
        return await _answer(session, market, row, caller)


@router.post(
    "/{audit_id}/inputs",
    responses=errors(*_COMMON, AuditUnknown, AuditOver, ArtifactUnknown, MessageRefused),
)
async def inputs(
    audit_id: AuditId, body: InputsBody, caller: CallerDep, market: MarketDep
) -> AuditAnswer:
    """Hand over what the auditor needs; may be repeated until the report."""
    if body.opening is not None:
        _opening(body.opening)
    async with market.database.writing() as session:
        row = await service.hand_inputs(session, market, audit_id, caller, body.model_dump(), now())
        return await _answer(session, market, row, caller)


@router.post(
    "/{audit_id}/report",
    responses=errors(
        *_COMMON, AuditUnknown, AuditOver, ReportRefused, MessageRefused, SignatureRefused
    ),
)
async def report(
    audit_id: AuditId, body: ReportBody, caller: CallerDep, market: MarketDep
) -> AuditAnswer:
    """Report the state that the segment ended in, before the operator opens it."""
    message = read(AuditReport, body.report)
    await require_signer(message, market.domain, body.signature, caller)
    async with market.database.writing() as session:
        row = await service.take_report(
            session, market, audit_id, caller, message, body.signature, now()
        )
        return await _answer(session, market, row, caller)


@router.post(
    "/{audit_id}/opening",
    responses=errors(
        *_COMMON, AuditUnknown, AuditNotReported, AuditOver, OpeningRefused, MessageRefused
    ),
)
async def opening(
    audit_id: AuditId, body: OpeningBody, caller: CallerDep, market: MarketDep
) -> AuditAnswer:
    """Open the end of the audited segment; taken only after the report."""
    message = _opening(body.opening)
    async with market.database.writing() as session:
        row = await service.take_opening(session, market, audit_id, caller, message, now())
        return await _answer(session, market, row, caller)


@router.post(
    "/{audit_id}/outcome", responses=errors(*_COMMON, AuditUnknown, AuditOver, ReportRefused)
)
async def outcome(
    audit_id: AuditId, body: OutcomeBody, caller: CallerDep, market: MarketDep
) -> AuditAnswer:
    """Say whether report and opening agree."""
    async with market.database.writing() as session:
        row = await service.take_outcome(
            session, market, audit_id, caller, body.result, body.evidence, now()
        )
        return await _answer(session, market, row, caller)


def _opening(value: dict[str, Any]) -> BoundaryOpening:
    """Read an opening. One of any size would not fit in a page of audits."""
    try:
        return BoundaryOpening.from_json(value)
    except ProtocolError as error:
        raise MessageRefused(f"BoundaryOpening: {error}") from error


async def _answer(
    session: AsyncSession, market: Market, row: models.Audit, caller: str
) -> AuditAnswer:
    role = AuditorRole.AUDITOR if row.kind == AuditKind.AUDIT else AuditorRole.ARBITER
    auditor = await repository.auditor(session, market.scope, row.auditor, role)
    return audit_answer(row, caller, auditor)
