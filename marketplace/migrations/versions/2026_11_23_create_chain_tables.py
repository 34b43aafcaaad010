"""Create the follower's tables: cursor, blocks, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_create_chain_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _chain_cursors()
    _chain_blocks()
    _chain_events()
    _chain_subjects()


def downgrade() -> None:
    """Take back."""
    op.drop_table("chain_subjects")
    op.drop_table("chain_events")
    op.drop_table("chain_blocks")
    op.drop_table("chain_cursors")


def _chain_cursors() -> None:
    """Create ``chain_cursors``."""
    op.create_table(
        "chain_cursors",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("next_block", sa.BigInteger(), nullable=False),
        sa.Column("head_block", sa.BigInteger(), nullable=False),
        sa.Column("head_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_block", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", name="pk_chain_cursors"),
    )


def _chain_blocks() -> None:
    """Create ``chain_blocks``."""
    op.create_table(
        "chain_blocks",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(66), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "number", name="pk_chain_blocks"),
    )


def _chain_events() -> None:
    """Create ``chain_events``."""
    op.create_table(
        "chain_events",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("block_hash", sa.String(66), nullable=False),
        sa.Column("block_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tx_hash", sa.String(66), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "block_number", "log_index", name="pk_chain_events"
        ),
        sa.UniqueConstraint(
            "chain_id", "tx_hash", "log_index", name="uq_chain_events_chain_id_tx_hash_log_index"
        ),
    )


def _chain_subjects() -> None:
    """Create ``chain_subjects``."""
    op.create_table(
        "chain_subjects",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(90), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "chain_id",
            "contract",
            "kind",
            "key",
            "block_number",
            "log_index",
            name="pk_chain_subjects",
        ),
    )
    op.create_index(
        "ix_chain_subjects_chain_id_contract_block_number",
        "chain_subjects",
        ["chain_id", "contract", "block_number"],
    )
