"""How much of a metered job the renter pays for: never more than the time that has passed.

Covered: a worker, or a node that speaks for it, that reports segments which cannot have run yet.
Not covered: whether the machine did anything useful meanwhile; metered work is not verified, and
the renter can stop it at any time.
"""

from __future__ import annotations


def payable_segments(
    reported: int, *, elapsed_s: int, segment_seconds: int, max_segments: int
) -> int:
    """Segments that a voucher may cover.

    Parameters
    ----------
    reported:
        What the worker says it has finished.
    elapsed_s:
        Block time since the lease was opened.
    segment_seconds:
        Length of a segment, from the renter's own job; zero when it is not known.
    max_segments:
        Segments of the lease.

    Returns
    -------
    int
        The running segment counts as a whole one: at most one is ever paid ahead.
    """
    if segment_seconds <= 0:
        return 0
    passed = max(0, elapsed_s) // segment_seconds + 1
    return max(0, min(reported, passed, max_segments))
