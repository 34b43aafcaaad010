"""Signed standing offers of providers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Address, Base, Hash, Money, OfChain, Word


class Offer(OfChain, Base):
    """One offer; its id is the EIP-712 digest that the operator signed."""

    __tablename__ = "offers"
    __table_args__ = (
        Index(None, "chain_id", "contract", "listing_id"),
        Index(None, "chain_id", "contract", "revision"),
        Index(None, "state", "expires_at"),
    )

    digest: Mapped[str] = mapped_column(String(66), primary_key=True)
    listing_id: Mapped[Hash]
    provider: Mapped[Address]
    operator: Mapped[Address]
    token: Mapped[Address]
    price_per_hour: Mapped[Money]
    body: Mapped[dict[str, Any]]
    """The offer as it was signed."""
    signature: Mapped[str] = mapped_column(String(132))
    state: Mapped[Word]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(BigInteger())
    """Grows with every change that a search index must hear of."""


class OfferRevision(OfChain, Base):
    """The newest revision; its row lock puts changes of offers in commit order."""

    __tablename__ = "offer_revisions"

    revision: Mapped[int] = mapped_column(BigInteger(), default=0)
