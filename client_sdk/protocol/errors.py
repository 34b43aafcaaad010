"""Errors of the protocol.

A class per rule; its docstring is the default message; the values are attributes::

    ProtocolError
    |-- CanonicalError        a value has no canonical bytes
    |-- MessageError          a message from outside is malformed (``path`` says where)
    |   |-- UnknownKey
    |   |-- MissingKey
    |   |-- WrongType
    |   |-- OutOfRange
    |   `-- WrongSchema
    |-- FieldError            a value cannot be held by the type of its field
    |-- ProofError            a Merkle proof or an opening does not lead to its root
    |-- IllegalTransition     a state machine was asked for a move it does not have
    |-- MoneyError            an amount cannot be read, written or rounded
    |-- UnitError             a size or a duration cannot be read
    |-- BundleError           a folder cannot be packed, or an archive is not one of ours
    |-- LockError             a list of wheels, or a wheel, was refused
    |-- LoginError            a login message is malformed or not for us
    `-- JobSpecError          a job spec was refused; carries every problem found
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


class ProtocolError(ValueError):
    """The protocol refuses this value."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class CanonicalError(ProtocolError):
    """This value has no canonical JSON bytes."""


class MessageError(ProtocolError):
    """This message is malformed."""

    #: Where in the message: ``terms.openBy``, ``proof[3]``; empty for the message as a whole.
    path: Final[str]

    def __init__(self, path: str = "", message: str | None = None) -> None:
        self.path = path
        self.reason: Final[str] = message or (type(self).__doc__ or "").strip()
        super().__init__(f"{path}: {self.reason}" if path else self.reason)


class UnknownKey(MessageError):
    """A key that this message does not have."""


class MissingKey(MessageError):
    """A required key is missing."""


class WrongType(MessageError):
    """A value has the wrong type."""


class OutOfRange(MessageError):
    """A value lies outside its bounds."""


class WrongSchema(MessageError):
    """The message is of another kind or version."""


class FieldError(ProtocolError):
    """A value cannot be held by the type of its field."""

    def __init__(self, field: str, message: str) -> None:
        self.field: Final[str] = field
        super().__init__(f"{field}: {message}")


class ProofError(ProtocolError):
    """The proof does not lead to the root."""


class IllegalTransition(ProtocolError):
    """There is no such transition."""

    def __init__(self, current: str, target: str) -> None:
        self.current: Final[str] = current
        self.target: Final[str] = target
        super().__init__(f"there is no transition from {current} to {target}")


class MoneyError(ProtocolError):
    """This amount cannot be read or written."""


class UnitError(ProtocolError):
    """This size or duration cannot be read."""


class BundleError(ProtocolError):
    """This folder cannot be packed, or this archive is not one of ours."""


class LockError(ProtocolError):
    """This list of wheels was refused."""


class LoginError(ProtocolError):
    """This login message is malformed or not for us."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a job spec is refused."""

    #: Where: ``resources.gpu_count``, ``args[1]``; empty for the file as a whole.
    path: str
    #: What is wrong.
    message: str
    #: What to do about it; empty when the message says it all.
    suggestion: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text}; {self.suggestion}" if self.suggestion else text


class JobSpecError(ProtocolError):
    """The job spec was refused."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: Final[tuple[Problem, ...]] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
