"""Tell demands for data from challenges, and leases whose checkpoints cannot be fetched.

Rows of earlier contracts have neither: no such event existed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_record_demands"
down_revision = "2026_11_27_create_uploads"
branch_labels = None
depends_on = None

_COLUMNS = (("challenges", "is_demand"), ("leases", "is_unretrievable"))


def upgrade() -> None:
    """Apply."""
    for table, column in _COLUMNS:
        with op.batch_alter_table(table) as batch:
            batch.add_column(
                sa.Column(column, sa.Boolean(), nullable=False, server_default=sa.false())
            )


def downgrade() -> None:
    """Take back."""
    for table, column in _COLUMNS:
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
