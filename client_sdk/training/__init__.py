"""Helpers for renters' training scripts: seeds, segments, checkpoints and exact resume.

The public way in is ``from gridlease import training``. Names resolve on first use, so that
importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_sdk.training.checkpoint import load_model
    from client_sdk.training.errors import (
        CheckpointBrokenError,
        CheckpointError,
        CheckpointMismatchError,
        GradientsCrossBoundaryError,
        NotBegunError,
        OptionError,
        OutputWriteError,
        TrainingError,
        UnfinishedRunError,
        UnregisteredStateError,
        UnreplayableError,
        UnsupportedValueError,
    )
    from client_sdk.training.options import DataOptions, LocalOptions
    from client_sdk.training.replay_check import ReplayReport, ScriptFailedError, check_replay
    from client_sdk.training.run import Run
    from client_sdk.training.session import begin, data_path

__all__ = [
    "CheckpointBrokenError",
    "CheckpointError",
    "CheckpointMismatchError",
    "DataOptions",
    "GradientsCrossBoundaryError",
    "LocalOptions",
    "NotBegunError",
    "OptionError",
    "OutputWriteError",
    "ReplayReport",
    "Run",
    "ScriptFailedError",
    "TrainingError",
    "UnfinishedRunError",
    "UnregisteredStateError",
    "UnreplayableError",
    "UnsupportedValueError",
    "begin",
    "check_replay",
    "data_path",
    "load_model",
]

_MODULE_OF = {
    "DataOptions": "options",
    "LocalOptions": "options",
    "ReplayReport": "replay_check",
    "Run": "run",
    "ScriptFailedError": "replay_check",
    "begin": "session",
    "check_replay": "replay_check",
    "data_path": "session",
    "load_model": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE_OF.get(name, 'errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
