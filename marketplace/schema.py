"""Brings a database to the schema of this release, and tells whether it has it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from marketplace.database import Database
from marketplace.errors import ConfigurationError

FOLDER = Path(__file__).parent / "migrations"


def configuration(database_url: str) -> Config:
    """Return Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    config.attributes["database_url"] = database_url
    return config


def migrate(database_url: str) -> None:
    """Apply all migrations that are missing; must be called outside an event loop."""
    command.upgrade(configuration(database_url), "head")


def newest() -> str | None:
    """Return the newest revision of this release."""
    return ScriptDirectory(str(FOLDER)).get_current_head()


async def require_newest(database: Database) -> None:
    """Refuse a database without the schema of this release.

    Raises
    ------
    ConfigurationError
        Migrations are missing, or the database is of a newer release.
    """

    def current(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with database.engine.connect() as connection:
        found = await connection.run_sync(current)
    if found != newest():
        raise ConfigurationError(
            f"the database has the schema {found or 'of no release'}, this release needs "
            f"{newest()}: run `gridlease market migrate` first"
        )
