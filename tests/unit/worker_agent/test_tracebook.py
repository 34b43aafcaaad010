"""A finished segment, held against its bytes and its place in the job before it counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.records import SegmentRecord, StepDigests
from tests.fakes.cases import STEPS, Committed
from tests.fakes.sandbox import make_checkpoint
from worker_agent.errors import BadCheckpoint, JobFailed
from worker_agent.records import SegmentRow
from worker_agent.replay import _read
from worker_agent.store import LeaseStore
from worker_agent.tracebook import TraceBook, verify_segment

LEASE = Committed.make(commit=False)
STATE = make_checkpoint([1.0] * 8, STEPS)[2]


@pytest.fixture
def store(tmp_path: Path) -> LeaseStore:
    made = LeaseStore(tmp_path / "lease")
    for index in (0, 1):
        folder = made.segment(index)
        folder.mkdir(parents=True)
        tensors, document, _ = make_checkpoint([1.0] * 8, STEPS)
        (folder / "checkpoint.safetensors").write_bytes(tensors)
        (folder / "state.json").write_bytes(document)
    return made


def written(number: int = 0, **changes: Any) -> SegmentRecord:
    """What the program says of a segment."""
    record = SegmentRecord(
        lease_id=LEASE.lease_id,
        segment=number,
        first_step=number * STEPS,
        steps=(StepDigests(bytes(32), bytes(32)),) * STEPS,
        final=False,
        state_hash=STATE,
    )
    return replace(record, **changes)


def verify(
    store: LeaseStore, record: SegmentRecord, previous: SegmentRow | None = None
) -> SegmentRow:
    return verify_segment(LEASE.record(), store, record, previous)


def test_when_record_and_bytes_agree_then_the_segment_counts(store: LeaseStore) -> None:
    first = verify(store, written())
    second = verify(store, written(1), first)
    assert [row.index for row in (first, second)] == [0, 1]
    book = TraceBook(LEASE.record(), [first, second])
    opening = book.opening(1, 2)
    opening.verify(LEASE.lease_id, book.trace_root(2))
    assert opening.state_hash == STATE


@pytest.mark.parametrize(
    "change",
    [
        {"state_hash": b"\1" * 32},
        {"state_hash": STATE[:-1] + bytes([STATE[-1] ^ 1])},
        {"first_step": STEPS + 1},
        {"segment": 2},
        {"segment": 0},
        {"lease_id": b"\1" * 32},
    ],
)
def test_when_the_program_says_something_else_then_the_segment_does_not_count(
    store: LeaseStore, change: dict[str, Any]
) -> None:
    first = verify(store, written())
    with pytest.raises(BadCheckpoint):
        verify(store, written(1, **change), first)


def test_when_the_job_has_ended_then_no_segment_comes_after_it(store: LeaseStore) -> None:
    last = verify(store, written(final=True))
    with pytest.raises(BadCheckpoint, match="after the job's last one"):
        verify(store, written(1), last)


def read(store: LeaseStore, record: SegmentRecord) -> SegmentRecord:
    """Read the result of a re-execution of segment 1."""
    folder = store.segment(1)
    (folder / "record.json").write_text(json.dumps(record.to_json()))
    task: Any = type("Task", (), {"segment": 1, "lease_id": LEASE.lease_id})
    return _read(folder, task)


def test_when_a_replay_wrote_what_it_says_then_its_record_is_the_result(store: LeaseStore) -> None:
    assert read(store, written(1)).state_hash == STATE


@pytest.mark.parametrize(
    "change", [{"state_hash": b"\1" * 32}, {"segment": 0}, {"lease_id": b"\1" * 32}]
)
def test_when_a_replay_claims_another_result_then_it_is_none(
    store: LeaseStore, change: dict[str, Any]
) -> None:
    with pytest.raises(JobFailed):
        read(store, written(1, **change))
