"""Create the table of uploads on their way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_27_create_uploads"
down_revision = "2026_11_27_sign_auditor_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.String(40), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_hash", "uploads", ["hash"])
    op.create_index("ix_uploads_account", "uploads", ["account"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("uploads")
