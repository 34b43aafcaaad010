"""What a key has signed: written to disk before anything is broadcast.

A row is one *attempt* to get one call mined, under the caller's key. Each signature for it is a
*variant*: fee bumps sign again with the same nonce, and at most one variant of a nonce can ever be
mined. The rows of one chain are told from those of another by id and an early block's hash, so that
a wiped development chain does not inherit an older one's transactions.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from client_sdk.chain.errors import JournalUnusable
from contracts.bindings import Call


class TxState(StrEnum):
    """Where an attempt stands, as far as it was last looked at."""

    SENT = "sent"  # signed and journaled; in no block that we know
    MINED = "mined"  # in a block that may still go away
    CONFIRMED = "confirmed"  # executed, under enough blocks
    REVERTED = "reverted"  # refused by the contract, under enough blocks
    CANCELLED = "cancelled"  # a no-op took its nonce, under enough blocks


MOVES: Final[Mapping[TxState, frozenset[TxState]]] = {
    # Any state may fall back to SENT: a development chain can lose blocks of any depth.
    TxState.SENT: frozenset(TxState),
    TxState.MINED: frozenset(TxState),
    TxState.CONFIRMED: frozenset({TxState.CONFIRMED, TxState.SENT}),
    TxState.REVERTED: frozenset({TxState.REVERTED, TxState.SENT}),
    TxState.CANCELLED: frozenset({TxState.CANCELLED, TxState.SENT}),
}
"""Total transition table."""

OPEN_STATES: Final = (TxState.SENT, TxState.MINED)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    sender TEXT NOT NULL,
    key TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    target TEXT NOT NULL,
    data BLOB NOT NULL,
    value TEXT NOT NULL,
    name TEXT NOT NULL,
    gas INTEGER NOT NULL,
    state TEXT NOT NULL,
    withdrawn INTEGER NOT NULL,
    mined_hash BLOB,
    mined_block INTEGER,
    taken_since INTEGER,
    reason TEXT,
    UNIQUE (scope, sender, key, attempt)
);
CREATE INDEX IF NOT EXISTS attempts_by_state ON attempts (scope, sender, state, nonce);
CREATE TABLE IF NOT EXISTS variants (
    tx_hash BLOB PRIMARY KEY,
    attempt_id INTEGER NOT NULL REFERENCES attempts (id),
    nonce INTEGER NOT NULL,
    no_op INTEGER NOT NULL,
    raw BLOB NOT NULL,
    max_fee TEXT NOT NULL,
    priority_fee TEXT NOT NULL,
    signed_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS variants_by_attempt ON variants (attempt_id);
"""
_COLUMNS: Final = (
    "id, key, attempt, nonce, target, data, value, name, gas, state, withdrawn,"
    " mined_hash, mined_block, taken_since, reason"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One signed transaction of an attempt. Fees in wei per gas."""

    tx_hash: bytes
    nonce: int
    no_op: bool
    """Sends nothing to oneself: takes the nonce so that the call cannot be mined any more."""

    raw: bytes
    max_fee: int
    priority_fee: int
    signed_at: float
    """Seconds since 1970, for the age before a fee bump."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One row with its variants, oldest first."""

    id: int
    key: str
    number: int
    nonce: int
    call: Call
    gas: int
    state: TxState
    withdrawn: bool
    """The caller cancelled it, or it only fills a gap between nonces."""

    mined_hash: bytes | None
    mined_block: int | None
    taken_since: int | None
    """Block at which its nonce was first seen used by a transaction that is not ours."""

    reason: tuple[str, dict[str, Any]] | None
    """Name and arguments of the contract's error, when it was mined and refused."""

    variants: tuple[Variant, ...]

    @property
    def newest(self) -> Variant:
        return self.variants[-1]

    @property
    def tx_hash(self) -> bytes:
        return self.mined_hash or self.newest.tx_hash


class Journal:
    """The journal of one sender on one chain. The sender's lock guards all use of it.

    Parameters
    ----------
    scope:
        Names the chain: its id, and the hash of an early block.
    """

    def __init__(self, path: Path, scope: str, sender: str) -> None:
        self._path = path
        self._scope = scope
        self._sender = sender
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
        except OSError as error:
            raise JournalUnusable(f"cannot create {path}: {error.strerror}") from error
        with self._open() as database:
            database.executescript(_SCHEMA)

    def latest(self, key: str) -> Attempt | None:
        """The newest attempt under a key."""
        with self._open() as database:
            rows = self._select(database, "key = ? ORDER BY attempt DESC LIMIT 1", key)
            return rows[0] if rows else None

    def open_attempts(self) -> list[Attempt]:
        """Attempts that are not settled, by nonce."""
        with self._open() as database:
            return self._select(database, "state IN (?, ?) ORDER BY nonce, id", *OPEN_STATES)

    def settled_from(self, nonce: int) -> list[Attempt]:
        """Settled attempts whose nonce the chain says is still free: their blocks were lost."""
        with self._open() as database:
            return self._select(
                database,
                "state NOT IN (?, ?) AND mined_block IS NOT NULL AND nonce >= ? ORDER BY nonce",
                *OPEN_STATES,
                nonce,
            )

    def next_nonce(self) -> int:
        """One more than the highest nonce that was ever signed here."""
        with self._open() as database:
            row = database.execute(
                "SELECT max(nonce) FROM attempts WHERE scope = ? AND sender = ?",
                (self._scope, self._sender),
            ).fetchone()
        return 0 if row[0] is None else int(row[0]) + 1

    def add(self, key: str, call: Call, gas: int, variant: Variant, *, withdrawn: bool) -> None:
        """Write a new attempt with its first signature, durably."""
        with self._open() as database:
            (number,) = database.execute(
                "SELECT coalesce(max(attempt), 0) + 1 FROM attempts"
                " WHERE scope = ? AND sender = ? AND key = ?",
                (self._scope, self._sender, key),
            ).fetchone()
            cursor = database.execute(
                "INSERT INTO attempts (scope, sender, key, attempt, nonce, target, data, value,"
                " name, gas, state, withdrawn) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._scope,
                    self._sender,
                    key,
                    number,
                    variant.nonce,
                    call.to,
                    call.data,
                    str(call.value),
                    call.name,
                    gas,
                    TxState.SENT,
                    withdrawn,
                ),
            )
            assert cursor.lastrowid is not None
            self._insert_variant(database, cursor.lastrowid, variant)

    def add_variant(self, attempt: Attempt, variant: Variant, *, withdrawn: bool) -> None:
        """Write one more signature for an attempt, durably; a new nonce replaces the old one."""
        with self._open() as database:
            self._insert_variant(database, attempt.id, variant)
            database.execute(
                "UPDATE attempts SET nonce = ?, withdrawn = ?, taken_since = NULL WHERE id = ?",
                (variant.nonce, withdrawn, attempt.id),
            )

    def move(
        self,
        attempt: Attempt,
        state: TxState,
        *,
        mined_hash: bytes | None = None,
        mined_block: int | None = None,
        reason: tuple[str, dict[str, Any]] | None = None,
    ) -> None:
        """Record where an attempt stands now; whatever is not given is forgotten."""
        assert state in MOVES[attempt.state], f"{attempt.state} -> {state}"
        with self._open() as database:
            database.execute(
                "UPDATE attempts SET state = ?, mined_hash = ?, mined_block = ?, reason = ?,"
                " taken_since = NULL WHERE id = ?",
                (state, mined_hash, mined_block, _reason_text(reason), attempt.id),
            )

    def mark_taken(self, attempt: Attempt, block: int) -> None:
        """Note from which block on the attempt's nonce is used by a transaction not ours."""
        with self._open() as database:
            database.execute(
                "UPDATE attempts SET taken_since = ? WHERE id = ?", (block, attempt.id)
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One connection per use: cheap, and safe across threads, forks and killed processes."""
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")  # a row is on disk before a broadcast
                with database:
                    yield database
        except sqlite3.Error as error:
            raise JournalUnusable(f"{self._path}: {error}") from error

    def _select(
        self, database: sqlite3.Connection, condition: str, *values: object
    ) -> list[Attempt]:
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM attempts"  # noqa: S608 - only our own constants
            f" WHERE scope = ? AND sender = ? AND {condition}",
            (self._scope, self._sender, *values),
        ).fetchall()
        return [_attempt(row, _variants(database, row[0])) for row in rows]

    @staticmethod
    def _insert_variant(database: sqlite3.Connection, attempt_id: int, variant: Variant) -> None:
        database.execute(
            "INSERT OR IGNORE INTO variants VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                variant.tx_hash,
                attempt_id,
                variant.nonce,
                variant.no_op,
                variant.raw,
                str(variant.max_fee),
                str(variant.priority_fee),
                variant.signed_at,
            ),
        )


def _variants(database: sqlite3.Connection, attempt_id: int) -> tuple[Variant, ...]:
    rows = database.execute(
        "SELECT tx_hash, nonce, no_op, raw, max_fee, priority_fee, signed_at FROM variants"
        " WHERE attempt_id = ? ORDER BY rowid",
        (attempt_id,),
    )
    return tuple(
        Variant(
            tx_hash=row[0],
            nonce=row[1],
            no_op=bool(row[2]),
            raw=row[3],
            max_fee=int(row[4]),
            priority_fee=int(row[5]),
            signed_at=row[6],
        )
        for row in rows
    )


def _attempt(row: tuple[Any, ...], variants: tuple[Variant, ...]) -> Attempt:
    return Attempt(
        id=row[0],
        key=row[1],
        number=row[2],
        nonce=row[3],
        call=Call(row[4], row[5], int(row[6]), row[7]),
        gas=row[8],
        state=TxState(row[9]),
        withdrawn=bool(row[10]),
        mined_hash=row[11],
        mined_block=row[12],
        taken_since=row[13],
        reason=_reason(row[14]),
        variants=variants,
    )


def _reason_text(reason: tuple[str, dict[str, Any]] | None) -> str | None:
    if reason is None:
        return None
    name, values = reason
    plain = {
        key: {"hex": value.hex()} if isinstance(value, bytes) else value
        for key, value in values.items()
    }
    return json.dumps([name, plain])


def _reason(text: str | None) -> tuple[str, dict[str, Any]] | None:
    if text is None:
        return None
    name, plain = json.loads(text)
    return name, {
        key: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
        for key, value in plain.items()
    }
