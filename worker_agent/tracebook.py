"""Roots, proofs and openings of one lease, rebuilt from its verified segments at any time."""

from __future__ import annotations

from collections.abc import Sequence

from client_sdk.protocol.records import BoundaryOpening, SegmentRecord, open_boundary
from client_sdk.protocol.trace import segment_salt, trace_root
from worker_agent.checkpoints import checkpoint_hash
from worker_agent.errors import BadCheckpoint
from worker_agent.records import LeaseRecord, SegmentRow
from worker_agent.store import LeaseStore


class TraceBook:
    """The trace of one lease so far.

    Parameters
    ----------
    record:
        The lease; its salt secret never leaves this machine.
    rows:
        Its verified segments, in order, from segment 0.
    """

    def __init__(self, record: LeaseRecord, rows: Sequence[SegmentRow]) -> None:
        self._record = record
        self._rows = rows
        self.roots = [bytes.fromhex(row.segment_root) for row in rows]

    def trace_root(self, up_to: int) -> bytes:
        """Root over the first ``up_to`` segments: what a commit carries."""
        return trace_root(self.roots[:up_to])

    def opening(self, segment: int, up_to: int) -> BoundaryOpening:
        """Show which state a segment ended in, under the root of ``up_to`` segments."""
        stored = SegmentRecord.from_json(self._rows[segment].record)
        return open_boundary(stored, salt_of(self._record, segment), self.roots[:up_to])


def salt_of(record: LeaseRecord, segment: int) -> bytes:
    """Salt of one segment's leaves."""
    return segment_salt(bytes.fromhex(record.salt_secret), record.digest, segment)


def verify_segment(
    record: LeaseRecord,
    store: LeaseStore,
    written: SegmentRecord,
    previous: SegmentRow | None,
) -> SegmentRow:
    """Check a stored segment against what the job's program says of it, and make its root.

    The state hash is recomputed from the checkpoint's bytes: what is committed is what can be
    delivered and re-executed, whatever the program claims.

    Raises
    ------
    BadCheckpoint
        Record and checkpoint do not belong together, or to this place in the job.
    """
    first_step = previous.end_step if previous else 0
    index = previous.index + 1 if previous else 0
    if written.lease_id != record.digest or written.segment != index:
        raise BadCheckpoint(f"segment {written.segment} came where {index} was expected")
    if written.first_step != first_step:
        raise BadCheckpoint(
            f"segment {index} starts at step {written.first_step}, not {first_step}"
        )
    if previous and previous.final:
        raise BadCheckpoint(f"segment {index} came after the job's last one")
    state = checkpoint_hash(store.segment(index))
    if state != written.state_hash:
        raise BadCheckpoint(f"segment {index}: the checkpoint does not have the recorded hash")
    return SegmentRow(
        index=index,
        end_step=written.end_step,
        final=written.final,
        state_hash=state.hex(),
        segment_root=written.root(salt_of(record, index)).hex(),
        record=written.to_json(),
    )
