"""Registered auditors and the audits they were drawn for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Address, Base, Block, Hash, ObjectId, OfChain, Word


class Auditor(OfChain, Base):
    """An account that re-executes others' segments, or rules on disputes."""

    __tablename__ = "auditors"

    address: Mapped[str] = mapped_column(String(42), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[dict[str, Any]]
    """The signed ``gridlease/auditor-key/1``."""
    key_signature: Mapped[str] = mapped_column(String(132))
    hardware_class: Mapped[Hash]
    registered_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class Audit(Base):
    """One segment that one auditor (or the arbiter) must re-execute."""

    __tablename__ = "audits"
    __table_args__ = (
        UniqueConstraint("chain_id", "contract", "cause", "segment", "auditor"),
        Index(None, "auditor", "state"),
        Index(None, "operator", "state"),
        Index(None, "auditor", "updated_at"),
        Index(None, "operator", "updated_at"),
        Index(None, "state", "expires_at"),
    )

    audit_id: Mapped[ObjectId] = mapped_column(primary_key=True)
    chain_id: Mapped[Block]
    contract: Mapped[Address]
    kind: Mapped[Word]
    cause: Mapped[str] = mapped_column(String(100))
    """The event behind it, ``tx_hash:log_index``: the commit or the challenge."""
    lease_id: Mapped[Hash] = mapped_column(index=True)
    operator: Mapped[Address]
    segment: Mapped[int]
    auditor: Mapped[Address]
    draw: Mapped[dict[str, Any]]
    """What the draw was made of, so that both sides can repeat it."""
    state: Mapped[Word]
    sealed_key: Mapped[str | None] = mapped_column(Text())
    inputs: Mapped[dict[str, Any] | None]
    report: Mapped[dict[str, Any] | None]
    report_signature: Mapped[str | None] = mapped_column(String(132))
    opening: Mapped[dict[str, Any] | None]
    outcome: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    """On the chain's clock; nothing for an arbitration, or while a dispute stops the window."""
