"""Alembic's entry: runs the migrations on the database that the settings name."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from marketplace.database import Database
from marketplace.models import Base

LOCK_TIMEOUT_MS = 4_000


def _run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def _migrate(url: str) -> None:
    database = Database(url)
    try:
        async with database.engine.connect() as connection:
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await database.close()


asyncio.run(_migrate(context.config.attributes["database_url"]))
