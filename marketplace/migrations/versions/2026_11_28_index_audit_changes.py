"""Find an account's audits that changed lately without reading all that it ever had."""

from __future__ import annotations

from alembic import op

revision = "2026_11_28_index_audit_changes"
down_revision = "2026_11_28_index_outbox_endings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_audits_auditor_updated_at", "audits", ["auditor", "updated_at"])
    op.create_index("ix_audits_operator_updated_at", "audits", ["operator", "updated_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_audits_operator_updated_at", "audits")
    op.drop_index("ix_audits_auditor_updated_at", "audits")
