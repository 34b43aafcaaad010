"""Alembic migrations; see ``schema`` for running them."""
