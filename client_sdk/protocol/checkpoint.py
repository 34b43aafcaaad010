"""The files of a checkpoint folder: training writes them, workers copy them, everybody hashes them.

``checkpoint.safetensors`` holds the tensors, ``state.json`` all that is not a tensor, and
``record.json`` is the :class:`~client_sdk.protocol.records.SegmentRecord` that ends there.
"""

from __future__ import annotations

from typing import Final

TENSORS_NAME: Final = "checkpoint.safetensors"
STATE_NAME: Final = "state.json"
RECORD_NAME: Final = "record.json"
#: Schema of ``state.json``.
STATE_SCHEMA: Final = "gridlease/training-state/1"
