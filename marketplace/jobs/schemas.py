"""Shapes of jobs."""

from __future__ import annotations

from pydantic import Field

from marketplace.clock import iso
from marketplace.leases.schemas import LeaseAnswer, ProgressAnswer, progress_answer
from marketplace.models import Job, LeaseArtifact, Order, Progress
from marketplace.web.schemas import Answer


class JobAnswer(Answer):
    """A job, with its lease once that is open."""

    job_id: str
    order_id: str
    state: str
    verdict: str | None = Field(description="Why it ended, once its lease is closed.")
    lease_id: str | None
    listing_id: str
    renter: str
    created_at: str | None
    updated_at: str | None
    progress: ProgressAnswer | None
    lease: LeaseAnswer | None


class JobsAnswer(Answer):
    """A page of jobs, newest first."""

    jobs: list[JobAnswer]
    next: str | None


class JobArtifactAnswer(Answer):
    """One artifact of a job."""

    kind: str
    name: str | None
    segment: int | None
    hash: str
    size: int | None


class JobArtifactsAnswer(Answer):
    """All artifacts of a job: its inputs, and what came out."""

    artifacts: list[JobArtifactAnswer]


def job_answer(row: Job, progress: Progress | None, lease: LeaseAnswer | None) -> JobAnswer:
    """Write a job."""
    return JobAnswer(
        job_id=row.job_id,
        order_id=row.order_id,
        state=row.state,
        verdict=row.verdict,
        lease_id=row.lease_id,
        listing_id=row.listing_id,
        renter=row.renter,
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
        progress=progress_answer(progress) if progress else None,
        lease=lease,
    )


def input_answers(order: Order, sizes: dict[str, int]) -> list[JobArtifactAnswer]:
    """Write the inputs of an order."""
    inputs: list[tuple[str, str | None, str]] = [
        (kind, None, order.artifacts[kind]) for kind in ("manifest", "bundle")
    ]
    for kind in ("data", "extra"):
        inputs += [(kind, name, digest) for name, digest in order.artifacts[kind].items()]
    return [
        JobArtifactAnswer(kind=kind, name=name, segment=None, hash=h, size=sizes.get(h))
        for kind, name, h in inputs
    ]


def output_answer(row: LeaseArtifact) -> JobArtifactAnswer:
    """Write what the operator stored."""
    return JobArtifactAnswer(
        kind=row.kind,
        name=row.name or None,
        segment=None if row.segment < 0 else row.segment,
        hash=row.hash,
        size=row.size,
    )
