"""Content-addressed files and who may read them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Address, Base, ContentHash, ObjectId, Word


class Artifact(Base):
    """One stored file, by the BLAKE3 hash of its (encrypted) bytes."""

    __tablename__ = "artifacts"

    hash: Mapped[ContentHash] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger())
    state: Mapped[Word]
    created_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    """When the stored bytes were last read back and hashed."""


class Upload(Base):
    """One upload on its way: a slot, and room for its bytes, until it has ended."""

    __tablename__ = "uploads"

    upload_id: Mapped[ObjectId] = mapped_column(primary_key=True)
    hash: Mapped[ContentHash] = mapped_column(index=True)
    account: Mapped[Address] = mapped_column(index=True)
    size: Mapped[int] = mapped_column(BigInteger())
    """Bytes that are kept free for it."""
    expires_at: Mapped[datetime]
    """When slot and room are free again although nobody said how it ended."""


class ArtifactAccess(Base):
    """That an account may read an artifact: as the one who stored it, or by a grant."""

    __tablename__ = "artifact_access"

    hash: Mapped[ContentHash] = mapped_column(
        ForeignKey("artifacts.hash", ondelete="CASCADE"), primary_key=True
    )
    account: Mapped[str] = mapped_column(String(42), primary_key=True)
    reason: Mapped[str] = mapped_column(String(80), primary_key=True)
    """``owner``, or the id of the order, lease or audit that grants it."""
    created_at: Mapped[datetime]
