"""Shapes of leases and of what operators and renters report about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.verdicts import Verdict, close_cause
from marketplace.clock import iso
from marketplace.models import Challenge, Commit, Lease, Payment, Progress
from marketplace.web.schemas import CONTENT_HASH, HASH, SIGNATURE, Answer, Body

Attempt = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
FrameKind = Literal["log", "metric", "progress", "state"]
ArtifactKind = Literal["checkpoint", "output", "trace", "record"]


class OpenedAnswer(Answer):
    """Where a lease was opened."""

    block_number: int
    tx_hash: str
    at: str | None


class CommitAnswer(Answer):
    """One commit."""

    previous_up_to: int
    up_to: int
    trace_root: str
    root: str
    block_number: int
    tx_hash: str
    at: str | None


class PaymentAnswer(Answer):
    """One settlement; amounts in the token's smallest unit."""

    paid_segments: int
    to_provider: str
    to_treasury: str
    to_audit_pool: str
    block_number: int
    tx_hash: str
    at: str | None


class ChallengeAnswer(Answer):
    """One challenge, or a demand for data."""

    challenger: str
    segment: int
    is_demand: bool = Field(
        description="Whether the claim is that the checkpoint cannot be fetched."
    )
    bond: str
    ruling: str | None
    block_number: int
    tx_hash: str
    at: str | None


class ClosedAnswer(Answer):
    """How a lease was closed."""

    cause: str
    refund: str
    block_number: int
    tx_hash: str
    at: str | None


class LeaseAnswer(Answer):
    """A lease, as the chain tells it."""

    lease_id: str
    state: str
    renter: str
    provider: str
    operator: str
    token: str
    listing_id: str
    terms: dict[str, Any]
    paid_segments: int
    pending_segments: int = Field(description="Segments committed so far, paid ones included.")
    root: str
    opened: OpenedAnswer
    commits: list[CommitAnswer]
    payments: list[PaymentAnswer]
    challenges: list[ChallengeAnswer]
    stopped_at: str | None
    closed: ClosedAnswer | None
    confirmed: bool = Field(description="Whether enough blocks lie on top of the opening.")


class LeasesAnswer(Answer):
    """A page of leases."""

    leases: list[LeaseAnswer]
    next: str | None


class ProgressBody(Body):
    """The operator's signed progress."""

    progress: dict[str, Any] = Field(description="`gridlease/progress/1`")
    signature: str = Field(pattern=SIGNATURE)
    attempt: Attempt


class ProgressAnswer(Answer):
    """The newest progress of a lease."""

    attempt: str
    segments: int
    trace_root: str
    at: int = Field(description="Unix time by the operator's clock.")
    signature: str


class FrameBody(Body):
    """One sealed frame."""

    seq: int = Field(ge=0, lt=1 << 53)
    kind: FrameKind
    sealed: str = Field(max_length=1 << 20, description="Encrypted under the job key; base64.")


class FramesBody(Body):
    """Frames of one attempt."""

    attempt: Attempt
    frames: list[FrameBody] = Field(min_length=1)


class FramesAnswer(Answer):
    """How far the frames of an attempt have come."""

    accepted: int
    next_seq: int


class LeaseArtifactBody(Body):
    """One artifact that the operator stored for the renter."""

    kind: ArtifactKind
    segment: int | None = Field(default=None, ge=0, lt=1 << 16)
    name: str | None = Field(default=None, min_length=1, max_length=255)
    hash: str = Field(pattern=CONTENT_HASH)
    size: int = Field(ge=0)


class LeaseArtifactsBody(Body):
    """Artifacts that the operator stored for the renter."""

    artifacts: list[LeaseArtifactBody] = Field(min_length=1, max_length=1_000)


class EndingBody(Body):
    """How the work ended, by the operator's word."""

    verdict: Verdict
    attempt: Attempt
    evidence: dict[str, Any] = Field(
        default_factory=dict,
        description="`evidence` names one kind that goes with the verdict; the rest are details.",
    )
    segment_roots: list[Annotated[str, StringConstraints(pattern=HASH)]] = Field(
        default_factory=list, max_length=65_535
    )


class EndingAnswer(Answer):
    """The ending that counts: the first one reported."""

    verdict: str
    reported_at: str | None


class VoucherBody(Body):
    """A renter's signed voucher."""

    voucher: dict[str, Any] = Field(description="`gridlease/voucher/1`")
    signature: str = Field(pattern=SIGNATURE)


class VoucherAnswer(Answer):
    """The newest voucher."""

    voucher: dict[str, Any]
    signature: str


def lease_answer(
    row: Lease,
    commits: list[Commit],
    payments: list[Payment],
    challenges: list[Challenge],
    confirmed_block: int,
) -> LeaseAnswer:
    """Write a lease."""
    return LeaseAnswer(
        lease_id=row.lease_id,
        state=row.state,
        renter=checksum_address(row.renter),
        provider=checksum_address(row.provider),
        operator=checksum_address(row.operator),
        token=checksum_address(row.token),
        listing_id=row.listing_id,
        terms=row.terms,
        paid_segments=row.paid_segments,
        pending_segments=row.pending_segments,
        root=row.root,
        opened=OpenedAnswer(
            block_number=row.opened_block, tx_hash=row.opened_tx, at=iso(row.opened_at)
        ),
        commits=[_commit(commit) for commit in commits],
        payments=[_payment(payment) for payment in payments],
        challenges=[_challenge(challenge) for challenge in challenges],
        stopped_at=iso(row.stopped_at),
        closed=_closed(row),
        confirmed=row.opened_block <= confirmed_block,
    )


def progress_answer(row: Progress) -> ProgressAnswer:
    """Write a lease's progress."""
    return ProgressAnswer(
        attempt=row.attempt,
        segments=row.segments,
        trace_root=str(row.body["trace_root"]),
        at=int(row.body["at"]),
        signature=row.signature,
    )


def _commit(row: Commit) -> CommitAnswer:
    return CommitAnswer(
        previous_up_to=row.previous_up_to,
        up_to=row.up_to,
        trace_root=row.trace_root,
        root=row.root,
        block_number=row.block_number,
        tx_hash=row.tx_hash,
        at=iso(row.committed_at),
    )


def _payment(row: Payment) -> PaymentAnswer:
    return PaymentAnswer(
        paid_segments=row.paid_segments,
        to_provider=str(row.to_provider),
        to_treasury=str(row.to_treasury),
        to_audit_pool=str(row.to_audit_pool),
        block_number=row.block_number,
        tx_hash=row.tx_hash,
        at=iso(row.paid_at),
    )


def _challenge(row: Challenge) -> ChallengeAnswer:
    return ChallengeAnswer(
        challenger=checksum_address(row.challenger),
        segment=row.segment,
        is_demand=row.is_demand,
        bond=str(row.bond),
        ruling=row.ruling,
        block_number=row.block_number,
        tx_hash=row.tx_hash,
        at=iso(row.challenged_at),
    )


def _closed(row: Lease) -> ClosedAnswer | None:
    if row.closed_tx is None or row.cause is None or row.closed_block is None:
        return None
    return ClosedAnswer(
        cause=close_cause(row.cause).value,
        refund=str(row.refund),
        block_number=row.closed_block,
        tx_hash=row.closed_tx,
        at=iso(row.closed_at),
    )
