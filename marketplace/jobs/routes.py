"""A renter's jobs: state, logs, artifacts, receipt. Nobody sees another renter's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import StreamingResponse

from marketplace.artifacts import repository as artifact_rows
from marketplace.errors import (
    JobUnknown,
    RateLimited,
    ReceiptPending,
    RequestInvalid,
    Unauthenticated,
)
from marketplace.jobs import repository, service
from marketplace.jobs.schemas import (
    JobAnswer,
    JobArtifactsAnswer,
    JobsAnswer,
    input_answers,
    output_answer,
)
from marketplace.jobs.stream import stream
from marketplace.jobs.views import job_answers
from marketplace.leases import repository as lease_rows
from marketplace.orders import repository as order_rows
from marketplace.orders.service import artifact_hashes
from marketplace.receipts import service as receipts
from marketplace.web.access import CallerDep, MarketDep
from marketplace.web.schemas import errors

router = APIRouter(prefix="/jobs", tags=["jobs"])
JobId = Annotated[str, Path(max_length=40)]
_COMMON = (Unauthenticated, RequestInvalid, JobUnknown, RateLimited)


@router.get("", responses=errors(Unauthenticated, RequestInvalid, RateLimited))
async def jobs(
    caller: CallerDep,
    market: MarketDep,
    after: Annotated[str | None, Query(max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobsAnswer:
    """Return the caller's jobs, newest first."""
    async with market.database.reading() as session:
        rows = await repository.page(session, market.scope, caller, after=after, limit=limit)
        answers = await job_answers(session, market.scope, rows)
    return JobsAnswer(jobs=answers, next=rows[-1].job_id if len(rows) == limit else None)


@router.get("/{job_id}", responses=errors(*_COMMON))
async def job(job_id: JobId, caller: CallerDep, market: MarketDep) -> JobAnswer:
    """Return a job, to its renter and to who runs it."""
    async with market.database.reading() as session:
        row = await service.visible(session, market.scope, job_id, caller)
        return (await job_answers(session, market.scope, [row]))[0]


@router.get(
    "/{job_id}/logs",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "frame, job and end events."},
        **errors(*_COMMON),
    },
)
async def logs(
    job_id: JobId,
    caller: CallerDep,
    market: MarketDep,
    after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    follow: bool = True,
    last_event_id: Annotated[int, Header(ge=0, lt=1 << 63)] = 0,
) -> StreamingResponse:
    """Stream a job's sealed frames and its changes; `Last-Event-ID` or `after` resumes."""
    async with market.database.reading() as session:
        await service.visible(session, market.scope, job_id, caller)
    body = stream(market, job_id, max(after, last_event_id), follow=follow)
    return StreamingResponse(
        body,
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


@router.get("/{job_id}/artifacts", responses=errors(*_COMMON))
async def artifacts(job_id: JobId, caller: CallerDep, market: MarketDep) -> JobArtifactsAnswer:
    """Return the job's inputs and what the operator stored for it."""
    async with market.database.reading() as session:
        row = await service.visible(session, market.scope, job_id, caller)
        order = await order_rows.find(session, market.scope, row.order_id)
        assert order is not None, "a job has an order"
        hashes = artifact_hashes(order.artifacts)
        sizes = await artifact_rows.readable_among(session, hashes, caller)
        outputs = []
        if row.lease_id is not None:
            outputs = list(await lease_rows.artifacts(session, market.scope, row.lease_id))
    found = [*input_answers(order, sizes), *(output_answer(output) for output in outputs)]
    return JobArtifactsAnswer(artifacts=found)


@router.get(
    "/{job_id}/receipt",
    response_model=dict[str, Any],
    responses=errors(*_COMMON, ReceiptPending),
)
async def receipt(job_id: JobId, caller: CallerDep, market: MarketDep) -> dict[str, Any]:
    """Return the receipt (`gridlease/receipt/1`) of a closed lease."""
    async with market.database.reading() as session:
        row = await service.visible(session, market.scope, job_id, caller)
        return await receipts.of_job(session, market.scope, row)
