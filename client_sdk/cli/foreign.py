"""Errors of the protocol and the chain, as the command line shows them."""

from __future__ import annotations

import os

from client_sdk.chain import errors as chain
from client_sdk.chain.deployment import DeploymentError
from client_sdk.errors import (
    ChainFailed,
    GridleaseError,
    InputRejected,
    InsufficientFunds,
    SpecRejected,
    WalletError,
)
from client_sdk.protocol.errors import JobSpecError, ProtocolError


def foreign(error: Exception) -> GridleaseError | None:
    """Our error for one of another package's; None when it is not known."""
    if isinstance(error, JobSpecError):
        return SpecRejected(str(error))
    if isinstance(error, ProtocolError | DeploymentError):
        return InputRejected(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return _file_failed(error)
    if not isinstance(error, chain.ChainError):
        return None
    kind: type[GridleaseError] = ChainFailed
    if isinstance(error, chain.InsufficientFunds):
        kind = InsufficientFunds
    elif isinstance(error, chain.WalletError):
        kind = WalletError
    return kind(str(error), what_to_do=error.what_to_do)


def _file_failed(error: OSError) -> InputRejected:
    """A file or folder of the user's that cannot be read or written, such as on a full disk."""
    path, why = os.fsdecode(error.filename), error.strerror or type(error).__name__
    return InputRejected(
        f"{path}: {why}",
        what_to_do="Mend that path's owner, mode or free space, or name another one.",
    )
