"""Record what late rulings have still to take from a stake.

Rows of earlier contracts owe nothing: a late ruling was used up by what it found.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_record_late_debts"
down_revision = "2026_11_28_end_audits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("stakes") as batch:
        batch.add_column(sa.Column("owed", sa.String(78), nullable=False, server_default="0"))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("stakes") as batch:
        batch.drop_column("owed")
