"""Errors of the worker.

::

    WorkerError
    ├── SettingsError                the configuration cannot be used
    ├── NotPossible                  the contract would refuse what the provider asks for now
    ├── Unrecoverable                a loop must end, and the daemon with it
    ├── RejectedInput                what somebody sent breaks a rule (never our fault)
    │   ├── OrderRejected            an order that this worker declines, with a code for the renter
    │   ├── BadArtifact              bytes that are not what their hash says
    │   │   ├── OtherBytes               a market served others than those that were asked for
    │   │   └── NoRoom                   they may be, but this machine has no room for them
    │   ├── BadCheckpoint            a checkpoint that does not hold the state it claims
    │   ├── BadOpening               an opening that does not belong to the committed trace
    │   ├── BadDraw                  an audit that the beacon did not draw
    │   └── BadAuditorKey            a key that the auditor did not sign, or no longer stands for
    ├── SeatTaken                    a case waits for others
    ├── JobFailed                    the renter's code ended badly
    ├── ProviderFault                this machine or its sandbox ended badly
    └── NetworkFailed                a service could not be reached
        ├── MarketUnreachable        no answer from a market
        ├── MarketRefused            a market answered with an error
        │   └── ArtifactTooLarge         an artifact has more bytes than it may have
        ├── Withheld                 what a segment is executed again from cannot be fetched
        └── StageTimeout             a stage passed its deadline
"""

from __future__ import annotations


class WorkerError(Exception):
    """The worker could not go on."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SettingsError(WorkerError):
    """The worker's configuration cannot be used."""


class NotPossible(WorkerError):
    """The contract would refuse this now; nothing was sent."""


class Unrecoverable(WorkerError):
    """The worker cannot go on without its operator."""


class RejectedInput(WorkerError):
    """Something sent to this worker breaks a rule."""


class OrderRejected(RejectedInput):
    """This worker declines the order.

    Parameters
    ----------
    code:
        Stable machine-readable reason, for example ``over_budget``.
    message:
        What the renter should know and can do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BadArtifact(RejectedInput):
    """An artifact is not what its hash says."""


class OtherBytes(BadArtifact):
    """A market served other bytes than those of the address."""


class NoRoom(BadArtifact):
    """This machine has no room for the artifact."""


class BadCheckpoint(RejectedInput):
    """A checkpoint does not hold the state that it claims."""


class BadOpening(RejectedInput):
    """An opening does not belong to the committed trace."""


class BadDraw(RejectedInput):
    """The beacon did not draw this audit."""


class BadAuditorKey(RejectedInput):
    """The auditor did not sign this encryption key, or it has expired."""


class SeatTaken(WorkerError):
    """Other cases have what this one needs: the next turn tries again."""


class JobFailed(WorkerError):
    """The renter's code ended badly.

    Parameters
    ----------
    message:
        What went wrong, as far as it can be told from outside.
    exit_code:
        Exit code of the job's first process, or ``None`` when it never ended by itself.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ProviderFault(WorkerError):
    """This machine or its sandbox ended badly."""


class NetworkFailed(WorkerError):
    """A service could not be reached."""


class MarketUnreachable(NetworkFailed):
    """The market did not answer."""


class MarketRefused(NetworkFailed):
    """The market refused a request.

    Parameters
    ----------
    status:
        HTTP status of the answer.
    code:
        The market's stable error code.
    message:
        The market's text, shortened.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code


class ArtifactTooLarge(MarketRefused):
    """An artifact has more bytes than it may have; the rest was not read."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, "artifact_too_large", f"more than {max_bytes} bytes")


class Withheld(NetworkFailed):
    """What a segment is executed again from is not there, or is not what was committed."""


class StageTimeout(NetworkFailed):
    """A stage passed its deadline.

    Parameters
    ----------
    stage:
        Name of the stage.
    limit_s:
        The stage's whole time budget, in seconds.
    """

    def __init__(self, stage: str, limit_s: float) -> None:
        super().__init__(f"stage {stage} passed its deadline of {limit_s:g} s")
        self.stage = stage
        self.limit_s = limit_s
