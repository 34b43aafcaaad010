"""Create the tables of offers, orders, jobs and what workers report."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_create_job_tables"
down_revision = "2026_11_23_create_account_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _offers()
    _offer_revisions()
    _orders()
    _jobs()
    _progress()
    _frames()
    _lease_artifacts()
    _endings()
    _vouchers()
    _receipts()


def downgrade() -> None:
    """Take back."""
    op.drop_table("receipts")
    op.drop_table("vouchers")
    op.drop_table("endings")
    op.drop_table("lease_artifacts")
    op.drop_table("frames")
    op.drop_table("progress")
    op.drop_table("jobs")
    op.drop_table("orders")
    op.drop_table("offer_revisions")
    op.drop_table("offers")


def _offers() -> None:
    """Create ``offers``."""
    op.create_table(
        "offers",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("digest", sa.String(66), nullable=False),
        sa.Column("listing_id", sa.String(66), nullable=False),
        sa.Column("provider", sa.String(42), nullable=False),
        sa.Column("operator", sa.String(42), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("price_per_hour", sa.String(78), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("signature", sa.String(132), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "digest", name="pk_offers"),
    )
    op.create_index(
        "ix_offers_chain_id_contract_listing_id", "offers", ["chain_id", "contract", "listing_id"]
    )
    op.create_index(
        "ix_offers_chain_id_contract_revision", "offers", ["chain_id", "contract", "revision"]
    )
    op.create_index("ix_offers_state_expires_at", "offers", ["state", "expires_at"])


def _offer_revisions() -> None:
    """Create ``offer_revisions``."""
    op.create_table(
        "offer_revisions",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", name="pk_offer_revisions"),
    )


def _orders() -> None:
    """Create ``orders``."""
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("digest", sa.String(66), nullable=False),
        sa.Column("renter", sa.String(42), nullable=False),
        sa.Column("operator", sa.String(42), nullable=False),
        sa.Column("listing_id", sa.String(66), nullable=False),
        sa.Column("offer", sa.String(66), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("signature", sa.String(132), nullable=False),
        sa.Column("artifacts", sa.JSON(), nullable=False),
        sa.Column("sealed_key", sa.Text(), nullable=False),
        sa.Column("audit", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("lock_token", sa.String(32), nullable=True),
        sa.Column("lock_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("terms", sa.JSON(), nullable=True),
        sa.Column("terms_signature", sa.String(132), nullable=True),
        sa.Column("probe", sa.JSON(), nullable=True),
        sa.Column("lease_id", sa.String(66), nullable=True),
        sa.Column("decline_code", sa.String(32), nullable=True),
        sa.Column("decline_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
        sa.UniqueConstraint("job_id", name="uq_orders_job_id"),
        sa.UniqueConstraint(
            "chain_id", "contract", "digest", name="uq_orders_chain_id_contract_digest"
        ),
    )
    op.create_index(
        "ix_orders_chain_id_contract_lease_id", "orders", ["chain_id", "contract", "lease_id"]
    )
    op.create_index(
        "ix_orders_chain_id_contract_listing_id_state",
        "orders",
        ["chain_id", "contract", "listing_id", "state"],
    )
    op.create_index("ix_orders_operator", "orders", ["operator"])
    op.create_index("ix_orders_renter", "orders", ["renter"])
    op.create_index("ix_orders_state_expires_at", "orders", ["state", "expires_at"])


def _jobs() -> None:
    """Create ``jobs``."""
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("order_id", sa.String(40), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("renter", sa.String(42), nullable=False),
        sa.Column("listing_id", sa.String(66), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("verdict", sa.String(32), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_jobs"),
        sa.UniqueConstraint("order_id", name="uq_jobs_order_id"),
    )
    op.create_index("ix_jobs_lease_id", "jobs", ["lease_id"])
    op.create_index("ix_jobs_renter_job_id", "jobs", ["renter", "job_id"])


def _progress() -> None:
    """Create ``progress``."""
    op.create_table(
        "progress",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("attempt", sa.String(40), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("signature", sa.String(132), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "lease_id", "attempt", name="pk_progress"),
    )


def _frames() -> None:
    """Create ``frames``."""
    op.create_table(
        "frames",
        sa.Column("frame_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("attempt", sa.String(40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("frame_id", name="pk_frames"),
        sa.UniqueConstraint(
            "chain_id",
            "contract",
            "lease_id",
            "attempt",
            "seq",
            name="uq_frames_chain_id_contract_lease_id_attempt_seq",
        ),
    )
    op.create_index(
        "ix_frames_chain_id_contract_lease_id_frame_id",
        "frames",
        ["chain_id", "contract", "lease_id", "frame_id"],
    )


def _lease_artifacts() -> None:
    """Create ``lease_artifacts``."""
    op.create_table(
        "lease_artifacts",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "lease_id", "kind", "segment", "name", name="pk_lease_artifacts"
        ),
    )


def _endings() -> None:
    """Create ``endings``."""
    op.create_table(
        "endings",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("attempt", sa.String(40), nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("segment_roots", sa.JSON(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "lease_id", name="pk_endings"),
    )


def _vouchers() -> None:
    """Create ``vouchers``."""
    op.create_table(
        "vouchers",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("signature", sa.String(132), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "lease_id", name="pk_vouchers"),
    )


def _receipts() -> None:
    """Create ``receipts``."""
    op.create_table(
        "receipts",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("closed_block_hash", sa.String(66), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "lease_id", name="pk_receipts"),
    )
