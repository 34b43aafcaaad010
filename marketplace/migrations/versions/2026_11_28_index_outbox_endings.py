"""Find the relayed calls that ended in the last hour without reading the whole outbox."""

from __future__ import annotations

from alembic import op

revision = "2026_11_28_index_outbox_endings"
down_revision = "2026_11_28_record_late_debts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_outbox_kind_updated_at", "outbox", ["kind", "updated_at"])
    op.drop_index("ix_outbox_kind_created_at", "outbox")


def downgrade() -> None:
    """Take back."""
    op.create_index("ix_outbox_kind_created_at", "outbox", ["kind", "created_at"])
    op.drop_index("ix_outbox_kind_updated_at", "outbox")
