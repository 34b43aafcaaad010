"""What a worker reports about a job: state, progress, frames, artifacts, ending, vouchers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import (
    Address,
    Base,
    Block,
    ContentHash,
    Hash,
    ObjectId,
    OfChain,
    Serial,
    Word,
)


class Job(Base):
    """What to run under a lease."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "renter", "job_id"),)

    job_id: Mapped[ObjectId] = mapped_column(primary_key=True)
    order_id: Mapped[ObjectId] = mapped_column(unique=True)
    chain_id: Mapped[Block]
    contract: Mapped[Address]
    renter: Mapped[Address]
    listing_id: Mapped[Hash]
    lease_id: Mapped[Hash | None] = mapped_column(index=True)
    state: Mapped[Word]
    verdict: Mapped[Word | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Progress(OfChain, Base):
    """The newest signed progress of one attempt."""

    __tablename__ = "progress"

    lease_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    attempt: Mapped[str] = mapped_column(String(40), primary_key=True)
    segments: Mapped[int]
    body: Mapped[dict[str, Any]]
    signature: Mapped[str] = mapped_column(String(132))
    received_at: Mapped[datetime]


class Frame(Base):
    """One encrypted piece of a job's log, metrics or progress."""

    __tablename__ = "frames"
    __table_args__ = (
        UniqueConstraint("chain_id", "contract", "lease_id", "attempt", "seq"),
        Index(None, "chain_id", "contract", "lease_id", "frame_id"),
    )

    frame_id: Mapped[Serial]
    chain_id: Mapped[Block]
    contract: Mapped[Address]
    lease_id: Mapped[Hash]
    attempt: Mapped[ObjectId]
    seq: Mapped[int] = mapped_column(BigInteger())
    kind: Mapped[Word]
    sealed: Mapped[bytes] = mapped_column(LargeBinary())


class LeaseArtifact(OfChain, Base):
    """A checkpoint, trace or output that the operator stored for the renter."""

    __tablename__ = "lease_artifacts"

    lease_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    segment: Mapped[int] = mapped_column(Integer(), primary_key=True)
    """Segment of a checkpoint; -1 where there is none."""
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    hash: Mapped[ContentHash]
    size: Mapped[int] = mapped_column(BigInteger())
    created_at: Mapped[datetime]


class Ending(OfChain, Base):
    """The operator's verdict on how a lease's work ended; the first one stays."""

    __tablename__ = "endings"

    lease_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    attempt: Mapped[ObjectId]
    verdict: Mapped[Word]
    evidence: Mapped[dict[str, Any]]
    segment_roots: Mapped[list[Any]]
    reported_at: Mapped[datetime]


class Voucher(OfChain, Base):
    """The renter's newest voucher for a metered lease."""

    __tablename__ = "vouchers"

    lease_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    segments: Mapped[int]
    signature: Mapped[str] = mapped_column(String(132))
    received_at: Mapped[datetime]


class StoredReceipt(OfChain, Base):
    """The receipt of a closed lease."""

    __tablename__ = "receipts"

    lease_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    body: Mapped[dict[str, Any]]
    closed_block_hash: Mapped[Hash]
    """The block of the closing when the receipt was written: another one makes it stale."""
    written_at: Mapped[datetime]
