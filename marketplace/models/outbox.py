"""The transactional outbox: work outside the database, written together with its cause."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from marketplace.models.base import Base, ObjectId, Word


class OutboxItem(Base):
    """One thing to do; done at least once, with one effect because its key is idempotent."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "state", "due_at"), Index(None, "kind", "updated_at"))

    item_id: Mapped[ObjectId] = mapped_column(primary_key=True)
    kind: Mapped[Word]
    key: Mapped[str] = mapped_column(String(200), unique=True)
    """Names the effect: a second item of the same effect is not written."""
    payload: Mapped[dict[str, Any]]
    state: Mapped[Word]
    num_tries: Mapped[int]
    due_at: Mapped[datetime]
    announced_at: Mapped[datetime | None]
    """When a worker was last told of it; it is told again while nothing happens."""
    lock_token: Mapped[Word | None]
    lock_expires_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text())
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Activity(Base):
    """Who did what, written in the transaction that did it."""

    __tablename__ = "activities"
    __table_args__ = (Index(None, "subject"),)

    activity_id: Mapped[ObjectId] = mapped_column(primary_key=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[Word]
    subject: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(index=True)
