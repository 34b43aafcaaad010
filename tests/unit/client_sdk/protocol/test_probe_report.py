"""The report on a failed probe: what counts as a failure, and what it hashes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk.protocol.canonical import canonical_json, parse_json
from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.machine import Isolation, MachineDocument
from client_sdk.protocol.probe_report import ProbeReport

CLASS = b"\x07" * 32
DOCUMENT = MachineDocument(
    cpu_name="EPYC",
    cpu_count=4,
    memory_bytes=1 << 33,
    disk_bytes=1 << 33,
    torch="2.13.0",
    isolation=Isolation.STRONG,
    hardware_class=CLASS,
    encryption_key=b"\x09" * 32,
)
REPORT = ProbeReport(
    lease_id=b"\x01" * 32,
    machine_hash=DOCUMENT.machine_hash(),
    document=DOCUMENT,
    measured_class=b"\x08" * 32,
    at=1_800_000_000,
)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, True),
        ({"measured_class": CLASS}, False),
        ({"measured_class": None}, False),
        ({"measured_class": None, "machine_hash": b"\x02" * 32}, True),
        ({"measured_class": CLASS, "machine_hash": b"\x02" * 32}, True),
    ],
)
def test_when_another_machine_or_class_was_found_then_it_is_a_failure(changes, failed):
    assert replace(REPORT, **changes).is_failure is failed


@pytest.mark.parametrize("measured", [b"\x08" * 32, None])
def test_when_a_report_travels_then_it_and_its_hash_arrive_equal(measured):
    report = replace(REPORT, measured_class=measured)
    again = ProbeReport.from_json(parse_json(canonical_json(report.to_json())))
    assert (again, again.digest()) == (report, report.digest())


@pytest.mark.parametrize(
    "changes",
    [
        {"lease_id": b"\x02" * 32},
        {"machine_hash": b"\x02" * 32},
        {"document": replace(DOCUMENT, cpu_count=5)},
        {"measured_class": None},
        {"at": 1},
    ],
)
def test_when_anything_in_a_report_changes_then_so_does_its_hash(changes):
    changed = replace(REPORT, **changes)
    assert changed.digest() != REPORT.digest()
    assert changed.statement.report == changed.digest()


@pytest.mark.parametrize("value", [None, [], {}, {**REPORT.to_json(), "more": 1}])
def test_when_json_of_a_report_is_hostile_then_it_is_refused(value):
    with pytest.raises(MessageError):
        ProbeReport.from_json(value)
