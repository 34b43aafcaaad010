"""Errors of the sandbox.

::

    SandboxError (WorkerError)
    ├── SandboxUnavailable       this machine cannot sandbox as asked; the text says the mend
    ├── SandboxBusy              another worker uses the state folder, or no uid slot is free
    ├── StartFailed              the machine refused to start a job; not the renter's fault
    ├── BadSpec                  the spec asks for something no tier gives
    ├── ControlClosed            the job no longer reads its commands
    ├── StillRunning             asked for before the job's processes were gone
    └── UnsafePath               a path in the work disk is not a plain file below it
"""

from __future__ import annotations

from worker_agent.errors import WorkerError


class SandboxError(WorkerError):
    """The sandbox could not do what was asked."""


class SandboxUnavailable(SandboxError):
    """This machine cannot run untrusted code.

    Parameters
    ----------
    message
        What is missing.
    mend
        What the provider can do about it.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(f"{message}\n  mend: {mend}")
        self.mend = mend


class SandboxBusy(SandboxError):
    """Another worker on this machine holds what is needed."""


class StartFailed(SandboxError):
    """The machine refused to start the job."""


class BadSpec(SandboxError):
    """The sandbox spec asks for something that is not given."""


class ControlClosed(SandboxError):
    """The job no longer reads its commands."""


class StillRunning(SandboxError):
    """The job's processes are not gone yet."""


class UnsafePath(SandboxError):
    """The path is not a plain file or folder below the work disk."""
