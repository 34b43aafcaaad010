from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.cases import Committed
from worker_agent.errors import Unrecoverable
from worker_agent.journal import Frame, Journal
from worker_agent.records import LeasePhase, Leases


def test_when_reopened_then_documents_and_history_are_there(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    journal = Journal(path)
    journal.put("lease", "a", {"phase": "signed"})
    journal.put("lease", "a", {"phase": "opened"})
    journal.note("lease", "a", "opened")
    journal.close()

    again = Journal(path)
    assert again.get("lease", "a") == {"phase": "opened"}
    assert again.history("lease", "a") == ["opened"]
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()


def test_when_killed_within_a_transaction_then_nothing_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = f"""
import os, signal
from pathlib import Path
from worker_agent.journal import Journal
journal = Journal(Path({str(path)!r}))
journal.put("lease", "kept", {{}})
with journal.transaction():
    journal.put("lease", "lost", {{}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    journal = Journal(path)
    assert journal.get("lease", "kept") == {}
    assert journal.get("lease", "lost") is None
    journal.close()


def test_when_an_inner_transaction_fails_then_the_outer_one_can_go_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")

    def nested() -> None:
        with journal.transaction():
            journal.put("a", "1", {})
            with journal.transaction():
                raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        nested()
    assert journal.all("a") == []
    journal.put("a", "2", {"n": 2})
    assert journal.all("a") == [{"n": 2}]
    journal.close()


def test_when_documents_are_removed_by_prefix_then_others_stay(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for key in ("x:0001", "x:0002", "y:0001"):
        journal.put("segment", key, {"key": key})
    assert journal.all("segment", "x:") == [{"key": "x:0001"}, {"key": "x:0002"}]
    journal.remove("segment", "x:")
    assert journal.all("segment") == [{"key": "y:0001"}]
    journal.close()


def test_when_frames_are_posted_then_numbers_are_never_given_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    numbers = [journal.next_frame_seq("l") for _ in range(3)]
    frames = [Frame("l", n, "att", "log", b"x") for n in numbers]
    for frame in frames:
        journal.add_frame(frame)
    assert journal.waiting_frames("l", 2) == frames[:2]
    journal.drop_frames(frames)
    assert journal.waiting_frames("l", 9) == []
    assert numbers == [0, 1, 2]
    assert journal.next_frame_seq("l") == 3
    assert journal.next_frame_seq("other") == 0
    journal.close()


def test_when_the_file_is_broken_or_newer_then_it_is_unrecoverable(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database" * 100)
    with pytest.raises(Unrecoverable, match="cannot use the journal"):
        Journal(broken)
    newer = tmp_path / "newer.db"
    database = sqlite3.connect(newer)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(Unrecoverable, match="newer worker"):
        Journal(newer)


def test_when_a_write_returns_then_it_has_reached_the_disk(tmp_path: Path) -> None:
    # A power cut cannot be tried here; these are the settings under which SQLite forces commits.
    journal = Journal(tmp_path / "journal.db")
    found = [
        journal._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode")
    ]
    assert found == [2, "wal"]
    journal.close()


def test_when_a_lease_is_over_then_it_moves_nowhere_any_more(tmp_path: Path) -> None:
    leases = Leases(Journal(tmp_path / "journal.db"))
    record = Committed.make(commit=False).record(phase=LeasePhase.CLOSED)
    leases.add(record)
    for phase in LeasePhase:
        with pytest.raises(AssertionError):
            leases.move(record.lease_id, phase)
    assert leases.all() == [record]
    leases.journal.close()
