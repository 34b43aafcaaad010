"""Segment records and the opening of a segment's end."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.canonical import canonical_json, parse_json
from client_sdk.protocol.errors import MessageError, OutOfRange, ProofError, WrongType
from client_sdk.protocol.merkle import inclusion_proof
from client_sdk.protocol.records import (
    BoundaryOpening,
    SegmentRecord,
    StepDigests,
    open_boundary,
    read_metric,
)
from client_sdk.protocol.trace import (
    boundary_leaf,
    indices_digest,
    metrics_digest,
    segment_root,
    segment_salt,
    step_leaf,
    trace_root,
)

LEASE = b"\x01" * 32
SECRET = b"\x02" * 32


def make_record(segment: int = 0, num_steps: int = 3, **changes) -> SegmentRecord:
    steps = tuple(
        StepDigests(indices_digest([segment, i]), metrics_digest({"loss": float(i)}))
        for i in range(num_steps)
    )
    values = {
        "lease_id": LEASE,
        "segment": segment,
        "first_step": segment * num_steps,
        "steps": steps,
        "final": False,
        "state_hash": bytes([segment + 1]) * 32,
        "metrics": {"loss": 0.5},
        "seconds": 1.25,
    }
    return SegmentRecord(**(values | changes))


def trace_of(records: list[SegmentRecord]) -> list[bytes]:
    return [record.root(segment_salt(SECRET, LEASE, record.segment)) for record in records]


def test_when_a_record_makes_leaves_then_steps_come_first_and_the_boundary_last():
    record, salt = make_record(segment=2), segment_salt(SECRET, LEASE, 2)
    expected = [
        step_leaf(LEASE, 2, 6 + i, step.indices, step.metrics, salt)
        for i, step in enumerate(record.steps)
    ]
    expected.append(boundary_leaf(LEASE, 2, 9, record.state_hash, salt, False))
    assert record.leaves(salt) == expected
    assert record.root(salt) == segment_root(expected)
    assert record.end_step == 9


@given(st.integers(1, 9), st.data())
def test_when_a_segment_s_end_is_opened_then_it_leads_to_the_trace_root(count, data):
    records = [make_record(i, num_steps=data.draw(st.integers(0, 5))) for i in range(count)]
    roots = trace_of(records)
    at = data.draw(st.integers(0, count - 1))
    opening = open_boundary(records[at], segment_salt(SECRET, LEASE, at), roots)
    again = BoundaryOpening.from_json(parse_json(canonical_json(opening.to_json())))
    assert again == opening
    again.verify(LEASE, trace_root(roots))


@pytest.mark.parametrize(
    "change",
    [
        {"segment": 1},
        {"end_step": 8},
        {"final": True},
        {"state_hash": b"\x09" * 32},
        {"salt": b"\x09" * 32},
        {"num_leaves": 5},
        {"segment_root": b"\x09" * 32},
        {"up_to": 9},
        {"segment_proof": ()},
        {"trace_proof": ()},
    ],
)
def test_when_anything_of_an_opening_is_changed_then_it_does_not_hold(change):
    records = [make_record(i) for i in range(4)]
    roots = trace_of(records)
    opening = open_boundary(records[2], segment_salt(SECRET, LEASE, 2), roots)
    opening.verify(LEASE, trace_root(roots))
    with pytest.raises(ProofError):
        dataclasses.replace(opening, **change).verify(LEASE, trace_root(roots))


def test_when_lease_or_trace_root_is_another_then_an_opening_does_not_hold():
    roots = trace_of([make_record()])
    opening = open_boundary(make_record(), segment_salt(SECRET, LEASE, 0), roots)
    with pytest.raises(ProofError):
        opening.verify(b"\x07" * 32, trace_root(roots))
    with pytest.raises(ProofError):
        opening.verify(LEASE, b"\x07" * 32)


def test_when_a_segment_has_two_ends_then_only_the_last_one_can_be_opened():
    """A provider that hides a second boundary among the steps cannot choose which one to show."""
    salt = segment_salt(SECRET, LEASE, 0)
    honest = make_record()
    leaves = honest.leaves(salt)
    hidden = boundary_leaf(LEASE, 0, 3, b"\x66" * 32, salt, False)
    forged = [hidden, *leaves]
    root = segment_root(forged)
    opening = BoundaryOpening(
        segment=0,
        end_step=3,
        final=False,
        state_hash=b"\x66" * 32,
        salt=salt,
        num_leaves=len(forged),
        segment_proof=inclusion_proof(forged, 0),
        segment_root=root,
        up_to=1,
        trace_proof=(),
    )
    for num_leaves in range(1, len(forged) + 3):
        with pytest.raises(ProofError):
            dataclasses.replace(opening, num_leaves=num_leaves).verify(LEASE, trace_root([root]))


def test_when_the_record_is_not_in_the_trace_then_it_cannot_be_opened():
    salt = segment_salt(SECRET, LEASE, 1)
    for record, roots in (
        (make_record(1), trace_of([make_record(0)])),
        (make_record(1, state_hash=b"\x55" * 32), trace_of([make_record(0), make_record(1)])),
    ):
        with pytest.raises(ProofError):
            open_boundary(record, salt, roots)


def test_when_a_record_travels_as_json_then_it_arrives_equal():
    record = make_record(metrics={"loss": 0.5, "inf": math.inf, "low": -math.inf})
    assert SegmentRecord.from_json(parse_json(canonical_json(record.to_json()))) == record
    nan = SegmentRecord.from_json(make_record(metrics={"loss": math.nan}).to_json())
    assert math.isnan(nan.metrics["loss"])


def test_when_work_is_compared_then_time_and_shown_metrics_do_not_count():
    record = make_record()
    assert record.same_work(make_record(seconds=9.0, metrics={}))
    assert not record.same_work(make_record(state_hash=b"\x09" * 32))
    assert not record.same_work(make_record(num_steps=2))
    assert not record.same_work(make_record(final=True))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", [["0x"]]),
        ("steps", [[1, 2]]),
        ("steps", "x"),
        ("steps", [[]] * 20_001),
        ("segment", 65_535),
        ("final", 0),
        ("metrics", {"a": "fast"}),
        ("metrics", {"a": True}),
        ("metrics", {"a": None}),
        ("metrics", {str(i): 0 for i in range(65)}),
        ("seconds", "1"),
        ("extra", 1),
        ("schema", "gridlease/segment-record/2"),
    ],
)
def test_when_a_record_is_hostile_then_it_is_refused(key, value):
    with pytest.raises(MessageError):
        SegmentRecord.from_json(make_record().to_json() | {key: value})


def test_when_a_metric_is_read_then_numbers_and_the_three_names_are_accepted():
    assert read_metric(3, "m") == 3.0
    assert read_metric("-inf", "m") == -math.inf
    with pytest.raises(OutOfRange):
        read_metric(10**400, "m")
    with pytest.raises(OutOfRange):
        read_metric("NaN", "m")
    with pytest.raises(WrongType):
        read_metric([], "m")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segment_proof", ["0x" + "00" * 32] * 33),
        ("trace_proof", [5]),
        ("up_to", 0),
        ("num_leaves", 0),
        ("salt", None),
        ("extra", 1),
    ],
)
def test_when_an_opening_is_hostile_then_it_is_refused(key, value):
    roots = trace_of([make_record()])
    opening = open_boundary(make_record(), segment_salt(SECRET, LEASE, 0), roots)
    with pytest.raises(MessageError):
        BoundaryOpening.from_json(opening.to_json() | {key: value})
