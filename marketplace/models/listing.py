"""Machines listed on the chain, and what their providers stake."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Address, Base, Block, Hash, Money, OfChain


class Listing(OfChain, Base):
    """A provider's record of one machine."""

    __tablename__ = "listings"
    __table_args__ = (
        Index(None, "chain_id", "contract", "provider"),
        Index(None, "chain_id", "contract", "operator"),
    )

    listing_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    provider: Mapped[Address]
    operator: Mapped[Address]
    hardware_class: Mapped[Hash]
    machine_hash: Mapped[Hash]
    token: Mapped[Address]
    max_price_per_hour: Mapped[Money]
    """Cap on every offer, in the token's smallest unit."""
    document: Mapped[str] = mapped_column(Text())
    """The machine document's bytes as 0x-hex."""
    active: Mapped[bool]
    listed_block: Mapped[Block]
    listed_at: Mapped[datetime]


class Stake(OfChain, Base):
    """A provider's deposit in one token."""

    __tablename__ = "stakes"

    provider: Mapped[str] = mapped_column(String(42), primary_key=True)
    token: Mapped[str] = mapped_column(String(42), primary_key=True)
    total: Mapped[Money]
    locked: Mapped[Money]
    unbonding: Mapped[Money]
    claimable_at: Mapped[datetime | None]
    owed: Mapped[Money]
    """What late rulings have still to take."""
