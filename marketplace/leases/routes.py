"""Leases: chain facts for everybody, reports by their operators, vouchers by their renters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from client_sdk.protocol.messages import Progress
from client_sdk.protocol.states import LeaseState
from client_sdk.protocol.terms import Voucher
from marketplace.clock import iso, now
from marketplace.errors import (
    ArtifactRefused,
    ArtifactUnknown,
    EndingRefused,
    FrameRefused,
    LeaseUnknown,
    MessageRefused,
    ProgressRefused,
    RateLimited,
    RequestInvalid,
    SignatureRefused,
    TooLarge,
    Unauthenticated,
    VoucherRefused,
    VoucherUnknown,
)
from marketplace.leases import repository, service
from marketplace.leases.schemas import (
    EndingAnswer,
    EndingBody,
    FramesAnswer,
    FramesBody,
    LeaseAnswer,
    LeaseArtifactsBody,
    LeasesAnswer,
    ProgressAnswer,
    ProgressBody,
    VoucherAnswer,
    VoucherBody,
    progress_answer,
)
from marketplace.leases.views import lease_answers
from marketplace.signed import read, require_signer
from marketplace.web.access import CallerDep, MarketDep, VisitorDep
from marketplace.web.schemas import ADDRESS, HASH, errors

router = APIRouter(prefix="/leases", tags=["leases"])
LeaseId = Annotated[str, Path(pattern=HASH)]
AddressQuery = Annotated[str | None, Query(pattern=ADDRESS)]
_COMMON = (Unauthenticated, RequestInvalid, LeaseUnknown, RateLimited)


@router.get("", responses=errors(RequestInvalid, RateLimited))
async def leases(
    market: MarketDep,
    _visitor: VisitorDep,
    renter: AddressQuery = None,
    provider: AddressQuery = None,
    operator: AddressQuery = None,
    state: LeaseState | None = None,
    after: Annotated[str | None, Query(pattern=HASH)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> LeasesAnswer:
    """Return leases, in the order of their ids."""
    accounts = {"renter": renter, "provider": provider, "operator": operator}
    wanted = {column: value.lower() for column, value in accounts.items() if value}
    if state is not None:
        wanted["state"] = state.value
    async with market.database.reading() as session:
        rows = await repository.page(session, market.scope, wanted=wanted, after=after, limit=limit)
        answers = await lease_answers(session, market.scope, rows)
    return LeasesAnswer(leases=answers, next=rows[-1].lease_id if len(rows) == limit else None)


@router.get("/{lease_id}", responses=errors(RequestInvalid, LeaseUnknown, RateLimited))
async def lease(lease_id: LeaseId, market: MarketDep, _visitor: VisitorDep) -> LeaseAnswer:
    """Return one lease."""
    async with market.database.reading() as session:
        row = await repository.find(session, market.scope, lease_id)
        if row is None:
            raise LeaseUnknown
        return (await lease_answers(session, market.scope, [row]))[0]


@router.post(
    "/{lease_id}/progress",
    responses=errors(*_COMMON, MessageRefused, SignatureRefused, ProgressRefused),
)
async def progress(
    lease_id: LeaseId, body: ProgressBody, caller: CallerDep, market: MarketDep
) -> ProgressAnswer:
    """Report signed progress; returns the newest one of the attempt."""
    message = read(Progress, body.progress)
    await require_signer(message, market.domain, body.signature, caller)
    async with market.database.writing() as session:
        row = await service.report_progress(
            session, market, lease_id, caller, body.attempt, message, body.signature, now()
        )
    return progress_answer(row)


@router.post("/{lease_id}/frames", responses=errors(*_COMMON, FrameRefused, TooLarge))
async def frames(
    lease_id: LeaseId, body: FramesBody, caller: CallerDep, market: MarketDep
) -> FramesAnswer:
    """Add sealed frames; a frame of a known (attempt, seq) changes nothing."""
    given = [frame.model_dump() for frame in body.frames]
    async with market.database.writing() as session:
        next_seq = await service.add_frames(
            session, market, lease_id, caller, body.attempt, given, now()
        )
    return FramesAnswer(accepted=len(given), next_seq=next_seq)


@router.post(
    "/{lease_id}/artifacts",
    status_code=204,
    responses=errors(*_COMMON, ArtifactUnknown, ArtifactRefused),
)
async def artifacts(
    lease_id: LeaseId, body: LeaseArtifactsBody, caller: CallerDep, market: MarketDep
) -> None:
    """Hand stored artifacts to the renter; again is no error."""
    given = [item.model_dump() for item in body.artifacts]
    async with market.database.writing() as session:
        await service.add_artifacts(session, market, lease_id, caller, given, now())


@router.post("/{lease_id}/ending", responses=errors(*_COMMON, EndingRefused))
async def ending(
    lease_id: LeaseId, body: EndingBody, caller: CallerDep, market: MarketDep
) -> EndingAnswer:
    """Report how the work ended; the first report stays."""
    async with market.database.writing() as session:
        row = await service.report_ending(
            session, market, lease_id, caller, body.model_dump(), now()
        )
    return EndingAnswer(verdict=row.verdict, reported_at=iso(row.reported_at))


@router.post(
    "/{lease_id}/vouchers",
    responses=errors(*_COMMON, MessageRefused, SignatureRefused, VoucherRefused),
)
async def add_voucher(
    lease_id: LeaseId, body: VoucherBody, caller: CallerDep, market: MarketDep
) -> VoucherAnswer:
    """Leave a voucher for the operator; returns the newest one."""
    voucher = read(Voucher, body.voucher)
    await require_signer(voucher, market.domain, body.signature, caller)
    async with market.database.writing() as session:
        row = await service.add_voucher(
            session, market, lease_id, caller, voucher, body.signature, now()
        )
    return _voucher_answer(lease_id, row.segments, row.signature)


@router.get("/{lease_id}/vouchers/latest", responses=errors(*_COMMON, VoucherUnknown))
async def latest_voucher(lease_id: LeaseId, caller: CallerDep, market: MarketDep) -> VoucherAnswer:
    """Return the newest voucher, to the renter and to who runs the lease."""
    async with market.database.reading() as session:
        row = await repository.find(session, market.scope, lease_id)
        if row is None:
            raise LeaseUnknown
        if row.renter != caller:
            await service.operated(session, market.scope, lease_id, caller)
        voucher = await repository.voucher(session, market.scope, lease_id)
    if voucher is None:
        raise VoucherUnknown
    return _voucher_answer(lease_id, voucher.segments, voucher.signature)


def _voucher_answer(lease_id: str, segments: int, signature: str) -> VoucherAnswer:
    voucher = Voucher(lease_id=bytes.fromhex(lease_id[2:]), segments=segments)
    return VoucherAnswer(voucher=dict(voucher.to_json()), signature=signature)
