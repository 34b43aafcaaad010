"""Find the relayed calls of the last hour without reading the whole outbox."""

from __future__ import annotations

from alembic import op

revision = "2026_11_28_index_outbox_kinds"
down_revision = "2026_11_28_record_demands"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_outbox_kind_created_at", "outbox", ["kind", "created_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_outbox_kind_created_at", "outbox")
