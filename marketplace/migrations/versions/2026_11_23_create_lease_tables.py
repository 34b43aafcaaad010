"""Create the tables computed from the chain's events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_create_lease_tables"
down_revision = "2026_11_23_create_chain_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _listings()
    _stakes()
    _leases()
    _commits()
    _payments()
    _challenges()
    _credit_entries()
    _credits()


def downgrade() -> None:
    """Take back."""
    op.drop_table("credits")
    op.drop_table("credit_entries")
    op.drop_table("challenges")
    op.drop_table("payments")
    op.drop_table("commits")
    op.drop_table("leases")
    op.drop_table("stakes")
    op.drop_table("listings")


def _listings() -> None:
    """Create ``listings``."""
    op.create_table(
        "listings",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("listing_id", sa.String(66), nullable=False),
        sa.Column("provider", sa.String(42), nullable=False),
        sa.Column("operator", sa.String(42), nullable=False),
        sa.Column("hardware_class", sa.String(66), nullable=False),
        sa.Column("machine_hash", sa.String(66), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("max_price_per_hour", sa.String(78), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("listed_block", sa.BigInteger(), nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "listing_id", name="pk_listings"),
    )
    op.create_index(
        "ix_listings_chain_id_contract_operator", "listings", ["chain_id", "contract", "operator"]
    )
    op.create_index(
        "ix_listings_chain_id_contract_provider", "listings", ["chain_id", "contract", "provider"]
    )


def _stakes() -> None:
    """Create ``stakes``."""
    op.create_table(
        "stakes",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("provider", sa.String(42), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("total", sa.String(78), nullable=False),
        sa.Column("locked", sa.String(78), nullable=False),
        sa.Column("unbonding", sa.String(78), nullable=False),
        sa.Column("claimable_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("chain_id", "contract", "provider", "token", name="pk_stakes"),
    )


def _leases() -> None:
    """Create ``leases``."""
    op.create_table(
        "leases",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("renter", sa.String(42), nullable=False),
        sa.Column("provider", sa.String(42), nullable=False),
        sa.Column("operator", sa.String(42), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("listing_id", sa.String(66), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("paid_segments", sa.Integer(), nullable=False),
        sa.Column("pending_segments", sa.Integer(), nullable=False),
        sa.Column("root", sa.String(66), nullable=False),
        sa.Column("opened_block", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_tx", sa.String(66), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disputed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_block", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_tx", sa.String(66), nullable=True),
        sa.Column("cause", sa.Integer(), nullable=True),
        sa.Column("refund", sa.String(78), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "lease_id", name="pk_leases"),
    )
    op.create_index(
        "ix_leases_chain_id_contract_operator", "leases", ["chain_id", "contract", "operator"]
    )
    op.create_index(
        "ix_leases_chain_id_contract_provider", "leases", ["chain_id", "contract", "provider"]
    )
    op.create_index(
        "ix_leases_chain_id_contract_renter", "leases", ["chain_id", "contract", "renter"]
    )
    op.create_index(
        "ix_leases_chain_id_contract_state", "leases", ["chain_id", "contract", "state"]
    )


def _commits() -> None:
    """Create ``commits``."""
    op.create_table(
        "commits",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("previous_up_to", sa.Integer(), nullable=False),
        sa.Column("up_to", sa.Integer(), nullable=False),
        sa.Column("trace_root", sa.String(66), nullable=False),
        sa.Column("root", sa.String(66), nullable=False),
        sa.Column("tx_hash", sa.String(66), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "block_number", "log_index", name="pk_commits"
        ),
    )
    op.create_index(
        "ix_commits_chain_id_contract_lease_id", "commits", ["chain_id", "contract", "lease_id"]
    )


def _payments() -> None:
    """Create ``payments``."""
    op.create_table(
        "payments",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("paid_segments", sa.Integer(), nullable=False),
        sa.Column("to_provider", sa.String(78), nullable=False),
        sa.Column("to_treasury", sa.String(78), nullable=False),
        sa.Column("to_audit_pool", sa.String(78), nullable=False),
        sa.Column("tx_hash", sa.String(66), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "block_number", "log_index", name="pk_payments"
        ),
    )
    op.create_index(
        "ix_payments_chain_id_contract_lease_id", "payments", ["chain_id", "contract", "lease_id"]
    )


def _challenges() -> None:
    """Create ``challenges``."""
    op.create_table(
        "challenges",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=False),
        sa.Column("challenger", sa.String(42), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("bond", sa.String(78), nullable=False),
        sa.Column("tx_hash", sa.String(66), nullable=False),
        sa.Column("challenged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ruling", sa.String(32), nullable=True),
        sa.Column("ruled_tx", sa.String(66), nullable=True),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "block_number", "log_index", name="pk_challenges"
        ),
    )
    op.create_index(
        "ix_challenges_chain_id_contract_lease_id",
        "challenges",
        ["chain_id", "contract", "lease_id"],
    )


def _credit_entries() -> None:
    """Create ``credit_entries``."""
    op.create_table(
        "credit_entries",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("delta", sa.String(78), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("lease_id", sa.String(66), nullable=True),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "block_number", "log_index", "ordinal", name="pk_credit_entries"
        ),
    )
    op.create_index(
        "ix_credit_entries_chain_id_contract_token_account",
        "credit_entries",
        ["chain_id", "contract", "token", "account"],
    )


def _credits() -> None:
    """Create ``credits``."""
    op.create_table(
        "credits",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("amount", sa.String(78), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", "token", "account", name="pk_credits"),
    )
