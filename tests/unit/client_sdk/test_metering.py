"""A renter signs for time that has passed, whatever the other side reports."""

from __future__ import annotations

import pytest

from client_sdk.metering import payable_segments


@pytest.mark.parametrize(
    ("reported", "elapsed_s", "expected"),
    [
        (3, 35, 3),  # an honest report
        (100, 35, 4),  # three have passed, the fourth is running
        (100, 0, 1),  # everything claimed at once, right after the opening
        (100, -5, 1),  # the newest block is older than the opening's estimate
        (10**9, 10**6, 100),  # more than the lease has
        (0, 35, 0),
        (-1, 35, 0),
    ],
)
def test_when_segments_are_reported_then_only_those_that_can_have_run_are_paid(
    reported, elapsed_s, expected
):
    found = payable_segments(reported, elapsed_s=elapsed_s, segment_seconds=10, max_segments=100)
    assert found == expected


def test_when_the_length_of_a_segment_is_unknown_then_nothing_is_paid():
    assert payable_segments(3, elapsed_s=100, segment_seconds=0, max_segments=5) == 0
