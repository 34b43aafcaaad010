"""Keep auditors' encryption keys as the auditors signed them.

Unsigned keys are dropped: nobody may wrap a job key to them any more, and every auditor signs and
registers again within minutes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_27_sign_auditor_keys"
down_revision = "2026_11_23_create_audit_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.drop_table("auditors")
    _create(
        sa.Column("key", sa.JSON(), nullable=False),
        sa.Column("key_signature", sa.String(132), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("auditors")
    _create(sa.Column("encryption_key", sa.String(66), nullable=False))


def _create(*key: sa.Column[object]) -> None:
    op.create_table(
        "auditors",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("address", sa.String(42), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        *key,
        sa.Column("hardware_class", sa.String(66), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "address", "role", name="pk_auditors"),
    )
