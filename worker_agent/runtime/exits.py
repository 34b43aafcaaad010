"""How the runtime ends.

Covered: telling a failure of the renter's code from one of ours, for an honest script.
Not covered: a hostile script shares this process and can end it with any code. The worker checks
inputs and checkpoints itself, and takes nothing from here as evidence against the renter alone.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit codes of ``python -m worker_agent.runtime``."""

    OK = 0  # the run finished, or stopped where it was told to
    BAD_TASK = 64  # task.json was refused
    BAD_CHECKPOINT = 65  # the checkpoint to resume from is broken or does not come back bit for bit
    OWN_FAULT = 70  # a bug of the runtime
    CANNOT_WRITE = 73  # the output folder is full, in bytes or files
    SCRIPT_RAISED = 80  # the renter's script raised
    SCRIPT_UNFINISHED = 81  # the script ended before its run did
    NOT_REPLAYABLE = 82  # state that no checkpoint can hold, or an operation without fixed bits
    SCRIPT_EXITED = 83  # the script called sys.exit with something other than 0, or was killed


class ErrorKind(StrEnum):
    """Who has to act on an ``error`` event."""

    TASK = "task"  # the worker wrote a bad task
    CHECKPOINT = "checkpoint"  # the worker gave a bad checkpoint
    RUNTIME = "runtime"  # a bug of ours
    DISK = "disk"  # the renter's job wrote more than it asked for
    JOB = "job"  # the renter's code failed


KIND_OF = {
    ExitCode.BAD_TASK: ErrorKind.TASK,
    ExitCode.BAD_CHECKPOINT: ErrorKind.CHECKPOINT,
    ExitCode.OWN_FAULT: ErrorKind.RUNTIME,
    ExitCode.CANNOT_WRITE: ErrorKind.DISK,
    ExitCode.SCRIPT_RAISED: ErrorKind.JOB,
    ExitCode.SCRIPT_UNFINISHED: ErrorKind.JOB,
    ExitCode.NOT_REPLAYABLE: ErrorKind.JOB,
    ExitCode.SCRIPT_EXITED: ErrorKind.JOB,
}
