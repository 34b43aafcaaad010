"""Create the tables of logins and artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_create_account_tables"
down_revision = "2026_11_23_create_lease_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _login_nonces()
    _access_tokens()
    _artifacts()
    _artifact_access()


def downgrade() -> None:
    """Take back."""
    op.drop_table("artifact_access")
    op.drop_table("artifacts")
    op.drop_table("access_tokens")
    op.drop_table("login_nonces")


def _login_nonces() -> None:
    """Create ``login_nonces``."""
    op.create_table(
        "login_nonces",
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name="pk_login_nonces"),
    )
    op.create_index("ix_login_nonces_expires_at", "login_nonces", ["expires_at"])


def _access_tokens() -> None:
    """Create ``access_tokens``."""
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("address", sa.String(42), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_access_tokens"),
    )
    op.create_index("ix_access_tokens_address", "access_tokens", ["address"])
    op.create_index("ix_access_tokens_expires_at", "access_tokens", ["expires_at"])


def _artifacts() -> None:
    """Create ``artifacts``."""
    op.create_table(
        "artifacts",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("hash", name="pk_artifacts"),
    )


def _artifact_access() -> None:
    """Create ``artifact_access``."""
    op.create_table(
        "artifact_access",
        sa.Column(
            "hash",
            sa.String(64),
            sa.ForeignKey("artifacts.hash", name="fk_artifact_access_hash", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", "account", "reason", name="pk_artifact_access"),
    )
