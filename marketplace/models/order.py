"""Renters' orders and the jobs behind them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Address, Base, Block, Hash, ObjectId, Word


class Order(Base):
    """A renter's signed demand, directed at one offer."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("chain_id", "contract", "digest"),
        Index(None, "chain_id", "contract", "listing_id", "state"),
        Index(None, "chain_id", "contract", "lease_id"),
        Index(None, "state", "expires_at"),
    )

    order_id: Mapped[ObjectId] = mapped_column(primary_key=True)
    job_id: Mapped[ObjectId] = mapped_column(unique=True)
    chain_id: Mapped[Block]
    contract: Mapped[Address]
    digest: Mapped[Hash]
    renter: Mapped[Address] = mapped_column(index=True)
    operator: Mapped[Address] = mapped_column(index=True)
    listing_id: Mapped[Hash]
    offer: Mapped[Hash]
    body: Mapped[dict[str, Any]]
    """The order as it was signed."""
    signature: Mapped[str] = mapped_column(String(132))
    artifacts: Mapped[dict[str, Any]]
    """Hashes by role: manifest, bundle, data by name, extra by name."""
    sealed_key: Mapped[str] = mapped_column(Text())
    """The job key, wrapped to the worker by the renter; base64."""
    audit: Mapped[dict[str, Any]]
    state: Mapped[Word]
    lock_token: Mapped[Word | None]
    lock_expires_at: Mapped[datetime | None]
    terms: Mapped[dict[str, Any] | None]
    terms_signature: Mapped[str | None] = mapped_column(String(132))
    probe: Mapped[dict[str, Any] | None]
    lease_id: Mapped[Hash | None]
    decline_code: Mapped[Word | None]
    decline_reason: Mapped[str | None] = mapped_column(Text())
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    expires_at: Mapped[datetime]
