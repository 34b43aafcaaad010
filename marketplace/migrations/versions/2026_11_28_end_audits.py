"""Let audits end with their challenge window, and arbitrations with their dispute.

Live audits keep the end that they have until their lease changes next.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_end_audits"
down_revision = "2026_11_28_schedule_leases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("audits") as batch:
        batch.alter_column("expires_at", existing_type=sa.DateTime(timezone=True), nullable=True)
    op.execute(
        "UPDATE audits SET expires_at = NULL WHERE kind = 'arbitration' AND lease_id IN"
        " (SELECT lease_id FROM leases WHERE state = 'disputed')"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("UPDATE audits SET expires_at = created_at WHERE expires_at IS NULL")
    with op.batch_alter_table("audits") as batch:
        batch.alter_column("expires_at", existing_type=sa.DateTime(timezone=True), nullable=False)
