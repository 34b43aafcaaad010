"""Declarative base, constraint names and column types of all tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Amount(TypeDecorator[int]):
    """A token amount as decimal text: a uint256 fits no integer column."""

    impl = String(78)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """Write the integer as text."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:
        """Read the text as an integer."""
        return None if value is None else int(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware time; SQLite keeps it without a zone, as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times are stored aware, in UTC")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return aware times whatever the database keeps."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this class attribute
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        datetime: UtcTime(),
    }


# Column types by meaning. Addresses and hashes are lower-case 0x-hex.
Address = Annotated[str, mapped_column(String(42))]
Hash = Annotated[str, mapped_column(String(66))]
ContentHash = Annotated[str, mapped_column(String(64))]
ObjectId = Annotated[str, mapped_column(String(40))]
Word = Annotated[str, mapped_column(String(32))]
Money = Annotated[int, mapped_column(Amount())]
Block = Annotated[int, mapped_column(BigInteger())]
# SQLite numbers rows by itself only for a column declared INTEGER.
Serial = Annotated[
    int,
    mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
]


class OfChain:
    """Key columns of what was born on a chain: one contract on one chain."""

    # First in every key: rows of one contract lie together.
    chain_id = mapped_column(BigInteger(), primary_key=True, sort_order=-2)
    contract = mapped_column(String(42), primary_key=True, sort_order=-1)
