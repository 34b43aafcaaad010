"""Stage ``prove``: each finished segment becomes a verified checkpoint and a root.

Runs beside ``execute``, segment by segment: the checkpoint is copied out of the sandbox, its state
hash recomputed from its bytes, and only then journaled. What is not journaled was not done.
"""

from __future__ import annotations

import time

from client_sdk.protocol.canonical import ZERO_HASH, parse_json
from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.records import MAX_RECORD_BYTES, SegmentRecord
from worker_agent.checkpoints import RECORD_NAME
from worker_agent.errors import BadCheckpoint, JobFailed
from worker_agent.quotes import STATE_FACTOR
from worker_agent.records import SegmentRow
from worker_agent.sandbox.base import SandboxProcess
from worker_agent.sandbox.errors import SandboxError
from worker_agent.stages.attempt import Attempt
from worker_agent.tracebook import verify_segment

_STATE_SPARE = 256 * 1024 * 1024


def take_segment(attempt: Attempt, process: SandboxProcess, index: int) -> SegmentRow:
    """Take one finished segment out of the sandbox, verify and journal it.

    Raises
    ------
    JobFailed
        What lies there is not a segment: the job's program wrote something else.
    """
    record = attempt.record
    rows = attempt.machinery.leases.segments(attempt.lease_id)
    if index != len(rows):
        raise JobFailed(f"the program reports segment {index}, expected was {len(rows)}")
    limit = STATE_FACTOR * record.state_bytes + _STATE_SPARE
    try:
        folder = attempt.store.take_segment(process, index, limit)
        written = _read_record((folder / RECORD_NAME).read_bytes())
        row = verify_segment(record, attempt.store, written, rows[-1] if rows else None)
    except (BadCheckpoint, MessageError, SandboxError) as error:
        raise JobFailed(f"segment {index} cannot be taken: {error}") from error
    attempt.machinery.leases.add_segment(attempt.lease_id, row)
    return row


def count_segment(attempt: Attempt, index: int) -> int:
    """Journal one metered segment: time that ran, without anything to verify.

    After a restart the program runs again from its beginning; segments that were counted before are
    not counted twice: that loss is the provider's.

    Returns
    -------
    int
        Segments counted so far.
    """
    rows = attempt.machinery.leases.segments(attempt.lease_id)
    if index != len(rows):
        return len(rows)
    row = SegmentRow(
        index=index,
        end_step=0,
        final=False,
        state_hash=ZERO_HASH.hex(),
        segment_root=ZERO_HASH.hex(),
        record={"segment": index, "at": time.time()},
    )
    attempt.machinery.leases.add_segment(attempt.lease_id, row)
    return index + 1


def _read_record(raw: bytes) -> SegmentRecord:
    return SegmentRecord.from_json(parse_json(raw, max_bytes=MAX_RECORD_BYTES))
