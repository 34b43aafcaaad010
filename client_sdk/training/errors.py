"""What the training helpers refuse, and why.

::

    TrainingError
    ├── NotBegunError          training.begin() was not called
    ├── OptionError            an option or an argument has a value that cannot work
    ├── UnreplayableError      state that a checkpoint cannot hold: the run could not be replayed
    │   ├── UnregisteredStateError
    │   ├── UnsupportedValueError
    │   └── GradientsCrossBoundaryError
    ├── CheckpointError        a checkpoint cannot be used
    │   ├── CheckpointBrokenError
    │   └── CheckpointMismatchError
    ├── OutputWriteError       a checkpoint or an output cannot be written
    └── UnfinishedRunError     the script ended before its run did
"""

from __future__ import annotations


class TrainingError(Exception):
    """The training helpers refused to go on."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class NotBegunError(TrainingError):
    """Call training.begin() before anything that uses random numbers, above all the model."""


class OptionError(TrainingError, ValueError):
    """An option has a value that cannot work."""


class UnreplayableError(TrainingError):
    """The run holds state that a checkpoint cannot hold, so that it could not be replayed."""


class UnregisteredStateError(UnreplayableError):
    """Training state was found that no checkpoint holds."""


class UnsupportedValueError(UnreplayableError):
    """A state dictionary holds a value that cannot be written without pickle.

    Attributes
    ----------
    path
        Where the value lies, for instance ``scheduler.lr_lambdas.0``.
    type_name
        The value's type.
    """

    def __init__(self, path: str, type_name: str) -> None:
        self.path = path
        self.type_name = type_name
        super().__init__(
            f"{path}: a value of type {type_name} cannot be written to a checkpoint. Keep numbers, "
            "texts, lists, dictionaries and tensors in state dictionaries."
        )


class GradientsCrossBoundaryError(UnreplayableError):
    """Gradients would have to cross a segment boundary.

    A segment ended between a backward pass and the optimizer's step. Choose segments.steps as a
    multiple of the number of backward passes per optimizer step, or count one optimizer step as
    one step of the run.
    """


class CheckpointError(TrainingError):
    """A checkpoint cannot be used."""


class CheckpointBrokenError(CheckpointError):
    """A checkpoint's files are missing, cut short, or not what their hash says."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint belongs to another model, optimizer or position than this script's."""


class OutputWriteError(TrainingError):
    """A checkpoint or an output cannot be written."""


class UnfinishedRunError(TrainingError):
    """The script ended before its run did: end a run early with run.finish(), not with break."""
