"""Create the tables of audits and of the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_create_audit_tables"
down_revision = "2026_11_23_create_job_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _auditors()
    _audits()
    _outbox()
    _activities()


def downgrade() -> None:
    """Take back."""
    op.drop_table("activities")
    op.drop_table("outbox")
    op.drop_table("audits")
    op.drop_table("auditors")


def _auditors() -> None:
    """Create ``auditors``."""
    op.create_table(
        "auditors",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("address", sa.String(42), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("encryption_key", sa.String(66), nullable=False),
        sa.Column("hardware_class", sa.String(66), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "address", "role", name="pk_auditors"),
    )


def _audits() -> None:
    """Create ``audits``."""
    op.create_table(
        "audits",
        sa.Column("audit_id", sa.String(40), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("cause", sa.String(100), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("operator", sa.String(42), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("auditor", sa.String(42), nullable=False),
        sa.Column("draw", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("sealed_key", sa.Text(), nullable=True),
        sa.Column("inputs", sa.JSON(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("report_signature", sa.String(132), nullable=True),
        sa.Column("opening", sa.JSON(), nullable=True),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audits"),
        sa.UniqueConstraint(
            "chain_id",
            "contract",
            "cause",
            "segment",
            "auditor",
            name="uq_audits_chain_id_contract_cause_segment_auditor",
        ),
    )
    op.create_index("ix_audits_auditor_state", "audits", ["auditor", "state"])
    op.create_index("ix_audits_lease_id", "audits", ["lease_id"])
    op.create_index("ix_audits_operator_state", "audits", ["operator", "state"])
    op.create_index("ix_audits_state_expires_at", "audits", ["state", "expires_at"])


def _outbox() -> None:
    """Create ``outbox``."""
    op.create_table(
        "outbox",
        sa.Column("item_id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("num_tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lock_token", sa.String(32), nullable=True),
        sa.Column("lock_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("item_id", name="pk_outbox"),
        sa.UniqueConstraint("key", name="uq_outbox_key"),
    )
    op.create_index("ix_outbox_state_due_at", "outbox", ["state", "due_at"])


def _activities() -> None:
    """Create ``activities``."""
    op.create_table(
        "activities",
        sa.Column("activity_id", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("activity_id", name="pk_activities"),
    )
    op.create_index("ix_activities_at", "activities", ["at"])
    op.create_index("ix_activities_subject", "activities", ["subject"])
