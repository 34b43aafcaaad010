"""Find the leases that something is due on without reading all open ones.

The node looks at each open lease once, and finds the time itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_schedule_leases"
down_revision = "2026_11_28_index_outbox_kinds"
branch_labels = None
depends_on = None

_COLUMNS = ["chain_id", "contract", "due_at"]


def upgrade() -> None:
    """Apply."""
    op.add_column("leases", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_leases_chain_id_contract_due_at", "leases", _COLUMNS)
    op.execute("UPDATE leases SET due_at = opened_at WHERE state <> 'closed'")


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_leases_chain_id_contract_due_at", "leases")
    with op.batch_alter_table("leases") as batch:
        batch.drop_column("due_at")
