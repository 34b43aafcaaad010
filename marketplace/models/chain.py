"""The follower's own tables: cursor, recent block hashes, events, and what each event touches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Base, Block, Hash, OfChain, Word


class ChainCursor(OfChain, Base):
    """How far one contract was followed."""

    __tablename__ = "chain_cursors"

    next_block: Mapped[Block]
    """First block that was not read yet."""
    head_block: Mapped[Block]
    head_at: Mapped[datetime]
    """Block time of the newest block that was read."""
    confirmed_block: Mapped[Block]
    """Newest block whose events were acted on because enough blocks lie on top."""


class ChainBlock(OfChain, Base):
    """Hash of a recent block, to notice a reorganisation."""

    __tablename__ = "chain_blocks"

    number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    hash: Mapped[Hash]


class ChainEvent(OfChain, Base):
    """One event of the contract; everything else born on the chain is computed from these."""

    __tablename__ = "chain_events"
    __table_args__ = (UniqueConstraint("chain_id", "tx_hash", "log_index"),)

    block_number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    log_index: Mapped[int] = mapped_column(Integer(), primary_key=True)
    block_hash: Mapped[Hash]
    block_at: Mapped[datetime]
    tx_hash: Mapped[Hash]
    name: Mapped[Word]
    args: Mapped[dict[str, Any]]


class ChainSubject(OfChain, Base):
    """That an event changes a listing, a lease or a stake."""

    __tablename__ = "chain_subjects"
    __table_args__ = (Index(None, "chain_id", "contract", "block_number"),)

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[str] = mapped_column(String(90), primary_key=True)
    block_number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    log_index: Mapped[int] = mapped_column(Integer(), primary_key=True)
