"""Leases as the chain tells them: terms, commits, payments, challenges, credits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Address, Base, Block, Hash, Money, OfChain, Word


class Lease(OfChain, Base):
    """One lease; its id is the EIP-712 digest of the terms."""

    __tablename__ = "leases"
    __table_args__ = (
        Index(None, "chain_id", "contract", "renter"),
        Index(None, "chain_id", "contract", "provider"),
        Index(None, "chain_id", "contract", "operator"),
        Index(None, "chain_id", "contract", "state"),
        Index(None, "chain_id", "contract", "due_at"),
    )

    lease_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    renter: Mapped[Address]
    provider: Mapped[Address]
    operator: Mapped[Address]
    token: Mapped[Address]
    listing_id: Mapped[Hash]
    terms: Mapped[dict[str, Any]]
    state: Mapped[Word]
    paid_segments: Mapped[int]
    pending_segments: Mapped[int]
    root: Mapped[Hash]
    is_unretrievable: Mapped[bool]
    """Whether the arbiter said that checkpoints cannot be fetched: nothing more is committed."""
    opened_block: Mapped[Block]
    opened_at: Mapped[datetime]
    opened_tx: Mapped[Hash]
    started_at: Mapped[datetime]
    """Opening, commit and stop on the lease's clock, which stands still during a dispute."""
    committed_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    disputed_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    """Chain time at which the node looks again at what nobody did; none once it is closed."""
    closed_block: Mapped[int | None] = mapped_column(BigInteger())
    closed_at: Mapped[datetime | None]
    closed_tx: Mapped[Hash | None]
    cause: Mapped[int | None]
    """The contract's cause of the closing."""
    refund: Mapped[Money]


class Commit(OfChain, Base):
    """Segments that an operator committed to."""

    __tablename__ = "commits"
    __table_args__ = (Index(None, "chain_id", "contract", "lease_id"),)

    block_number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    log_index: Mapped[int] = mapped_column(Integer(), primary_key=True)
    lease_id: Mapped[Hash]
    previous_up_to: Mapped[int]
    up_to: Mapped[int]
    trace_root: Mapped[Hash]
    root: Mapped[Hash]
    tx_hash: Mapped[Hash]
    committed_at: Mapped[datetime]


class Payment(OfChain, Base):
    """One settlement of a lease."""

    __tablename__ = "payments"
    __table_args__ = (Index(None, "chain_id", "contract", "lease_id"),)

    block_number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    log_index: Mapped[int] = mapped_column(Integer(), primary_key=True)
    lease_id: Mapped[Hash]
    paid_segments: Mapped[int]
    """Segments paid so far, this payment included."""
    to_provider: Mapped[Money]
    to_treasury: Mapped[Money]
    to_audit_pool: Mapped[Money]
    tx_hash: Mapped[Hash]
    paid_at: Mapped[datetime]


class Challenge(OfChain, Base):
    """A challenge of a segment, or a demand for its checkpoint, and how it ended."""

    __tablename__ = "challenges"
    __table_args__ = (Index(None, "chain_id", "contract", "lease_id"),)

    block_number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    log_index: Mapped[int] = mapped_column(Integer(), primary_key=True)
    lease_id: Mapped[Hash]
    challenger: Mapped[Address]
    segment: Mapped[int]
    is_demand: Mapped[bool]
    """Whether the claim is that the checkpoint cannot be fetched; else that the work is wrong."""
    bond: Mapped[Money]
    tx_hash: Mapped[Hash]
    challenged_at: Mapped[datetime]
    ruling: Mapped[Word | None]
    """``fraud``, ``honest``, ``unretrievable`` or ``timed_out``; empty while the dispute lasts."""
    ruled_tx: Mapped[Hash | None]


class CreditEntry(OfChain, Base):
    """One change of an account's credit in the contract's pull ledger."""

    __tablename__ = "credit_entries"
    __table_args__ = (Index(None, "chain_id", "contract", "token", "account"),)

    block_number: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    log_index: Mapped[int] = mapped_column(Integer(), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer(), primary_key=True)
    token: Mapped[Address]
    account: Mapped[Address]
    delta: Mapped[Money]
    reason: Mapped[Word]
    lease_id: Mapped[Hash | None]


class Credit(OfChain, Base):
    """What an account can withdraw: the sum of its entries."""

    __tablename__ = "credits"

    token: Mapped[str] = mapped_column(String(42), primary_key=True)
    account: Mapped[str] = mapped_column(String(42), primary_key=True)
    amount: Mapped[Money]
