"""Places of sealed data: what each ciphertext is bound to, so that none can stand for another.

::

    manifest | bundle | data:NAME | extra:NAME        inputs of a job
    checkpoint:SEGMENT | output | trace               its results
    frame:ATTEMPT:KIND:SEQ                            its log, one frame at a time

Whoever seals and whoever opens must name the same place.
"""

from __future__ import annotations


def artifact_place(kind: str, *, segment: int | None = None, name: str | None = None) -> str:
    """Return the place of an artifact.

    Parameters
    ----------
    segment
        For a checkpoint: the segment that it ends.
    name
        For data and extras: which one.
    """
    detail = name if segment is None else segment
    return kind if detail is None else f"{kind}:{detail}"


def frame_place(attempt: str, kind: str, seq: int) -> str:
    """Return the place of one frame of a job's log."""
    return f"frame:{attempt}:{kind}:{seq}"
