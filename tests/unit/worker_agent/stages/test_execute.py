"""What the program in the sandbox reports, taken as a stranger's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client_sdk.protocol.trace import MAX_METRICS
from tests.fakes.cases import Committed
from worker_agent.errors import JobFailed
from worker_agent.journal import Journal
from worker_agent.records import Leases
from worker_agent.sandbox.errors import UnsafePath
from worker_agent.stages.execute import _Events
from worker_agent.store import LeaseStore

MIB = 1 << 20


class Program:
    """A program whose files are larger than any limit; keeps the limits."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}

    def copy_file(self, path: str, _destination: Path, max_bytes: int) -> int:
        self.limits[path.rpartition("/")[2]] = max_bytes
        raise UnsafePath("too large")

    def send(self, message: Mapping[str, Any]) -> None:
        raise AssertionError(message)


class Frames:
    """What reaches the renter's log."""

    def __init__(self) -> None:
        self.metrics: list[tuple[Any, ...]] = []
        self.counts: list[tuple[int, int]] = []

    def metric(self, *values: Any) -> None:
        self.metrics.append(values)

    def progress(self, index: int, count: int, **_: Any) -> None:
        self.counts.append((index, count))


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Leases]:
    made = Leases(Journal(tmp_path / "journal.db"))
    yield made
    made.journal.close()


def attempt_of(lease: Committed, leases: Leases, folder: Path) -> Any:
    record = lease.record()
    if leases.get(record.lease_id) is None:
        leases.add(record)
    return SimpleNamespace(
        machinery=SimpleNamespace(leases=leases),
        lease_id=record.lease_id,
        record=record,
        terms=lease.terms,
        frames=Frames(),
        store=LeaseStore(folder / "lease"),
    )


def listen(attempt: Any, program: Any = None) -> _Events:
    return _Events(attempt, program or Program())


def test_when_a_metered_program_counts_in_another_order_then_it_is_dropped(
    tmp_path: Path, leases: Leases
) -> None:
    attempt = attempt_of(Committed.make(commit=False, window=0), leases, tmp_path)
    hear = listen(attempt)
    hear({"event": "segment", "segment": 0})
    for index in (0, 2, "1", True):
        with pytest.raises(JobFailed):
            hear({"event": "segment", "segment": index})
    assert len(leases.segments(attempt.lease_id)) == 1


def test_when_a_metered_program_starts_again_then_no_time_is_counted_twice(
    tmp_path: Path, leases: Leases
) -> None:
    attempt = attempt_of(Committed.make(commit=False, window=0), leases, tmp_path)
    for num_segments in (2, 3):
        hear = listen(attempt)
        for index in range(num_segments):
            hear({"event": "segment", "segment": index})
    assert attempt.frames.counts == [(0, 1), (1, 2), (0, 2), (1, 2), (2, 3)]


def test_when_a_checkpoint_outgrows_what_was_measured_then_it_is_not_copied(
    tmp_path: Path, leases: Leases
) -> None:
    attempt = attempt_of(Committed.make(commit=False), leases, tmp_path)
    program = Program()
    with pytest.raises(JobFailed, match="cannot be taken"):
        listen(attempt, program)({"event": "segment", "segment": 0})
    assert program.limits == {"checkpoint.safetensors": 4 * 64 + 256 * MIB}
    assert leases.segments(attempt.lease_id) == []


def test_when_a_segment_comes_out_of_order_then_nothing_is_taken(
    tmp_path: Path, leases: Leases
) -> None:
    attempt = attempt_of(Committed.make(commit=False), leases, tmp_path)
    program = Program()
    with pytest.raises(JobFailed, match="expected was 0"):
        listen(attempt, program)({"event": "segment", "segment": 1})
    assert program.limits == {}


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {str(n): 1.0 for n in range(MAX_METRICS + 1)}},
        {"metrics": {"loss": "low"}},
        {"metrics": [1.0]},
        {"segment": -1},
        {"segment": 1 << 16},
        {"step": 1 << 48},
        {"step": True},
    ],
)
def test_when_a_metric_is_none_then_it_is_passed_over(
    tmp_path: Path, leases: Leases, change: dict[str, Any]
) -> None:
    attempt = attempt_of(Committed.make(commit=False), leases, tmp_path)
    hear = listen(attempt)
    event = {"event": "step", "segment": 0, "step": 1, "metrics": {"loss": 1.0}}
    hear(event)
    hear({**event, **change})
    assert attempt.frames.metrics == [(0, 1, {"loss": 1.0})]
