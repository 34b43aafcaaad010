"""The journal of resources and the uid slots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker_agent.sandbox.errors import SandboxBusy
from worker_agent.sandbox.resources import JobRecord, Journal, started_ticks, take_uid_slot


def test_when_records_are_written_then_a_later_journal_reads_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    record = JobRecord(job_id="job-1", cgroups=("/a", "/b"), image="/c.img")
    journal.write(record)
    changed = journal.note_process(record, os.getpid())
    assert changed.started_ticks == started_ticks(os.getpid())
    journal.write(JobRecord(job_id="job-2"))
    journal.forget("job-2")
    journal.forget("job-2")
    (tmp_path / "state" / "jobs" / "job-3.new").write_text("half")
    journal.close()
    journal.close()
    later = Journal(tmp_path / "state")
    assert later.records() == [changed]
    later.close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_when_a_folder_is_in_use_then_a_second_worker_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(SandboxBusy, match="another worker"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_when_slots_are_taken_then_each_has_its_own_uid(tmp_path: Path) -> None:
    one = take_uid_slot(tmp_path, 41000, 2)
    two = take_uid_slot(tmp_path, 41000, 2)
    assert {one.uid, two.uid} == {41000, 41001}
    with pytest.raises(SandboxBusy, match="all 2 job uids"):
        take_uid_slot(tmp_path, 41000, 2)
    one.release()
    again = take_uid_slot(tmp_path, 41000, 2)
    assert again.uid == one.uid
    again.release()
    two.release()


def test_when_an_account_has_the_uid_then_it_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(SandboxBusy):
        take_uid_slot(tmp_path, 0, 1)


def test_when_a_process_is_gone_then_it_has_no_start() -> None:
    assert started_ticks(2**22 + 1) is None
