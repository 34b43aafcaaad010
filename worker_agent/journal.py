"""What the worker must not forget: written, and forced to disk, before the effect it describes.

One SQLite file in write-ahead mode with full synchronisation. It holds current documents (leases,
segments, audits, cursors), an append-only history, and the outbox of encrypted frames. A process
killed at any instruction finds here, at its next start, everything it had promised or received.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker_agent.errors import Unrecoverable

_SCHEMA_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, what TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS frames (
    lease_id TEXT NOT NULL, seq INTEGER NOT NULL, attempt TEXT NOT NULL, kind TEXT NOT NULL,
    sealed BLOB NOT NULL, PRIMARY KEY (lease_id, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frame_counters (lease_id TEXT PRIMARY KEY, next_seq INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Frame:
    """One encrypted frame that waits to be posted."""

    lease_id: str
    seq: int
    attempt: str
    kind: str
    sealed: bytes


class Journal:
    """Documents, history and outbox of one worker.

    Parameters
    ----------
    path:
        SQLite file; created with its folder (mode 0700) when missing.

    Raises
    ------
    Unrecoverable
        The file cannot be used: broken, of a newer version, or held by another worker.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._db = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            # FULL: a commit has reached the disk before the effect that it announces.
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > _SCHEMA_VERSION:
                raise Unrecoverable(f"{path} was written by a newer worker (version {version})")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            raise Unrecoverable(f"cannot use the journal {path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several writes all or nothing; may be nested."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def put(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        """Write one document, replacing the former one."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO documents VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value",
                (kind, key, json.dumps(document, separators=(",", ":"))),
            )

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Read one document."""
        with self._lock:
            row = self._db.execute(
                "SELECT value FROM documents WHERE kind = ? AND id = ?", (kind, key)
            ).fetchone()
        return None if row is None else _object(row[0])

    def all(self, kind: str, prefix: str = "") -> list[dict[str, Any]]:
        """Read all documents of a kind whose key starts with ``prefix``, in key order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT value FROM documents WHERE kind = ? AND substr(id, 1, ?) = ? ORDER BY id",
                (kind, len(prefix), prefix),
            ).fetchall()
        return [_object(row[0]) for row in rows]

    def remove(self, kind: str, prefix: str) -> None:
        """Remove all documents of a kind whose key starts with ``prefix``."""
        with self.transaction():
            self._db.execute(
                "DELETE FROM documents WHERE kind = ? AND substr(id, 1, ?) = ?",
                (kind, len(prefix), prefix),
            )

    def note(self, kind: str, key: str, what: str) -> None:
        """Append one line of history."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO history (at, kind, id, what) VALUES (?, ?, ?, ?)",
                (datetime.now(UTC).isoformat(), kind, key, what),
            )

    def history(self, kind: str, key: str) -> list[str]:
        """Lines of history of one object, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT what FROM history WHERE kind = ? AND id = ? ORDER BY n", (kind, key)
            ).fetchall()
        return [str(row[0]) for row in rows]

    def next_frame_seq(self, lease_id: str) -> int:
        """Take the next frame number of a lease; numbers are never given twice."""
        with self.transaction():
            row = self._db.execute(
                "INSERT INTO frame_counters VALUES (?, 1) ON CONFLICT (lease_id)"
                " DO UPDATE SET next_seq = next_seq + 1 RETURNING next_seq - 1",
                (lease_id,),
            ).fetchone()
        return int(row[0])

    def add_frame(self, frame: Frame) -> None:
        """Put one frame in the outbox."""
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?, ?)",
                (frame.lease_id, frame.seq, frame.attempt, frame.kind, frame.sealed),
            )

    def waiting_frames(self, lease_id: str, limit: int) -> list[Frame]:
        """Oldest frames of a lease that have not been posted yet."""
        with self._lock:
            rows = self._db.execute(
                "SELECT lease_id, seq, attempt, kind, sealed FROM frames"
                " WHERE lease_id = ? ORDER BY seq LIMIT ?",
                (lease_id, limit),
            ).fetchall()
        return [Frame(*row) for row in rows]

    def drop_frames(self, frames: list[Frame]) -> None:
        """Forget frames that were posted."""
        with self.transaction():
            self._db.executemany(
                "DELETE FROM frames WHERE lease_id = ? AND seq = ?",
                [(frame.lease_id, frame.seq) for frame in frames],
            )


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return value
