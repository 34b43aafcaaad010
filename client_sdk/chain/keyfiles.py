"""Files that hold secrets: for their owner's eyes only, never overwritten, written whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from client_sdk.chain.errors import (
    KeyTooOpen,
    WalletError,
    WalletExists,
    WalletMissing,
    WalletUnreadable,
)

MAX_FILE_BYTES: Final = 16 * 1024


def write_new(path: Path, content: str) -> None:
    """Create a file of mode 0600 with all its content at once, or not at all.

    Raises
    ------
    WalletExists
        There is a file already.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WalletError(f"cannot write {path}: {error.strerror}") from error


def _publish(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)  # unlike a rename, it never replaces what is there
    except FileExistsError:
        raise WalletExists(f"there is a file already: {path}") from None


def read_private(path: Path) -> bytes:
    """Read a file that nobody else may read.

    Raises
    ------
    WalletMissing, WalletUnreadable, KeyTooOpen
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise WalletUnreadable(f"{path} is not a file")
            if stat.S_IMODE(mode) & 0o077:
                raise KeyTooOpen(f"others can read {path} (mode {stat.S_IMODE(mode):04o})")
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise WalletMissing(f"there is no key file at {path}") from None
    except OSError as error:
        raise WalletUnreadable(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise WalletUnreadable(f"{path} is too long for a key file")
    return content
