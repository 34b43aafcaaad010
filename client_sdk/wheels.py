"""Wheels of a job: found beside the lock file, held against it, and packed.

The wheels lie in the lock file's folder, or in ``wheels/`` beside it. Whether one fits the worker's
Python and system is not judged here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from client_sdk.errors import InputRejected
from client_sdk.protocol.bundle import BundleLimits, pack_files
from client_sdk.protocol.canonical import blake3_digest
from client_sdk.protocol.errors import LockError, ProtocolError
from client_sdk.protocol.wheels import (
    LOCK_NAME,
    MAX_LOCK_BYTES,
    MAX_PACKED_BYTES,
    LockedWheel,
    parse_lock,
    parse_wheel_name,
    pinned_form,
)

#: Folder beside the lock file in which wheels are looked for, too.
WHEELS_FOLDER: Final = "wheels"


def pack_wheels(lock: Path, archive: Path) -> bytes:
    """Pack the wheels that a lock file names, with the lock in its pinned form.

    Parameters
    ----------
    lock
        The renter's lock file.
    archive
        File to make; the pinned lock is left beside it.

    Returns
    -------
    bytes
        ``imageDigest``.

    Raises
    ------
    InputRejected
        With every refused line as ``file:line: what is wrong; what to do``.
    """
    try:
        wheels = match_wheels(lock)
        pinned = pinned_form((wheel.name, wheel.version, key) for wheel, key, _ in wheels)
        plain = archive.with_name(f"{archive.name}.{LOCK_NAME}")
        plain.write_bytes(pinned)
        files = {LOCK_NAME: plain} | {f"{key}.whl": path for _, key, path in wheels}
        with archive.open("xb") as out:
            pack_files(files, out, limits=BundleLimits(total_bytes=MAX_PACKED_BYTES))
    except ProtocolError as error:
        raise InputRejected(f"image.wheels: {error}") from error
    except OSError as error:
        raise InputRejected(f"image.wheels: {error.filename}: {error.strerror}") from error
    return blake3_digest(pinned)


def match_wheels(lock: Path) -> list[tuple[LockedWheel, str, Path]]:
    """Return, for each line of a lock file, the SHA-256 and the path of its one wheel.

    Raises
    ------
    InputRejected
        A line was refused, or has no wheel, or more than one.
    """
    if lock.stat().st_size > MAX_LOCK_BYTES:
        raise InputRejected(f"{lock}: larger than {MAX_LOCK_BYTES} bytes")
    try:
        locked = parse_lock(lock.read_bytes().decode("utf-8-sig"), str(lock))
    except UnicodeDecodeError as error:
        raise InputRejected(f"{lock}: not UTF-8 text") from error
    except LockError as error:
        raise InputRejected(str(error)) from error
    found = _find_wheels(lock.parent)
    matched: list[tuple[LockedWheel, str, Path]] = []
    problems: list[str] = []
    for wheel in locked:
        hits = _hits(wheel, found.get((wheel.name, wheel.version), ()))
        if isinstance(hits, str):
            problems.append(f"{lock}:{wheel.line}: {hits}")
        else:
            matched.append((wheel, *hits))
    if problems:
        raise InputRejected("\n".join(problems))
    return matched


def _find_wheels(folder: Path) -> Mapping[tuple[str, str], Sequence[Path]]:
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted([*folder.glob("*.whl"), *(folder / WHEELS_FOLDER).glob("*.whl")]):
        key = parse_wheel_name(path.name)
        if key is not None and path.is_file():
            found.setdefault(key, []).append(path)
    return found


def _hits(wheel: LockedWheel, paths: Sequence[Path]) -> tuple[str, Path] | str:
    """Return hash and path of the one wheel of a line, or what is wrong."""
    name = f"{wheel.name}=={wheel.version}"
    if not paths:
        mend = f"put it there: pip download --no-deps --only-binary :all: {name}"
        return f"there is no wheel of {name} beside the lock or in {WHEELS_FOLDER}/; {mend}"
    hits = [(digest, path) for path in paths if (digest := _sha256(path)) in wheel.hashes]
    if not hits:
        names = ", ".join(path.name for path in paths)
        return f"{names} has none of the hashes of this line; download it again, or lock it anew"
    if len(hits) > 1:
        names = ", ".join(path.name for _, path in hits)
        return f"more than one wheel fits: {names}; keep the one for the worker's machine"
    return hits[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
