"""State hashes of checkpoints, with this package's error; the reading is the SDK's own."""

from __future__ import annotations

from pathlib import Path

from client_sdk import checkpoints
from client_sdk.checkpoints import MAX_STATE_BYTES
from client_sdk.protocol.checkpoint import RECORD_NAME, STATE_NAME, TENSORS_NAME
from worker_agent.errors import BadCheckpoint

__all__ = [
    "MAX_STATE_BYTES",
    "RECORD_NAME",
    "STATE_NAME",
    "TENSORS_NAME",
    "checkpoint_hash",
]


def checkpoint_hash(folder: Path) -> bytes:
    """Compute the state hash of a checkpoint folder from its bytes.

    Raises
    ------
    BadCheckpoint
        A file is missing, malformed or too large.
    """
    try:
        return checkpoints.checkpoint_hash(folder)
    except checkpoints.BadCheckpoint as error:
        raise BadCheckpoint(str(error)) from error
