"""Layers: a job's wheels unpacked once, shared by all jobs that pin the same list.

::

    <data_dir>/layers/<imageDigest>/     complete, or not there at all
    <data_dir>/layers/.<random>/         being unpacked; removed when this program starts again

*Covered*: wheels are zips of strangers. Nothing of them runs here; only regular files are written,
anew, inside the layer; their number, size, depth and ratio are bounded before anything is
decompressed; the zip's own table of contents is bounded before it is read; no two wheels write the
same file; none hides a module of the standard library or of the machine. A job gets hard links of
its own, so that a layer can be dropped while jobs use it.
*Not covered*: what the code in the wheels does; that is the sandbox's business.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from client_sdk.protocol.errors import LockError
from client_sdk.protocol.wheels import LOCK_NAME, MACHINE_PACKAGES, MAX_LOCK_BYTES, parse_pinned
from worker_agent.errors import NoRoom
from worker_agent.sandbox.files import make_readable

#: Most files and bytes of a layer.
MAX_FILES: Final = 50_000
MAX_LAYER_BYTES: Final = 8 << 30
#: Most folders above a file.
MAX_DEPTH: Final = 24
#: Most bytes that a wheel's byte may become, beyond the first 16 MiB.
MAX_RATIO: Final = 60
#: Bytes of layers that are kept for later jobs.
KEPT_BYTES: Final = 16 << 30

_FREE_BYTES: Final = 16 << 20
_SPARE_BYTES: Final = 1 << 30
_MAX_DIRECTORY_BYTES: Final = 8 << 20
_MAX_PATH_BYTES: Final = 1024
_MAX_PART_BYTES: Final = 255
_COPY: Final = 1 << 20
_END: Final = struct.Struct("<4s4HIIH")
_ZIP64_LOCATOR_BYTES: Final = 20
#: What ``<name>-<version>.data`` can hold: unpacked into the layer, or left out.
_MERGED: Final = frozenset({"purelib", "platlib"})
_IGNORED: Final = frozenset({"scripts", "headers", "data"})
_RESERVED: Final = (
    MACHINE_PACKAGES
    | frozenset(sys.stdlib_module_names)
    | {"client_sdk", "worker_agent", "sitecustomize", "usercustomize"}
)
# zipfile raises NotImplementedError for a compression or encryption that it does not know.
_UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)
_one_at_a_time = threading.Lock()


def check_wheels(folder: Path, image_digest: bytes) -> list[Path]:
    """Hold an unpacked archive of wheels against the digest that the job pins.

    Returns
    -------
    list[Path]
        The wheels.

    Raises
    ------
    LockError
        The list is another one, or a wheel is not what the list says.
    """
    lock = folder / LOCK_NAME
    if not lock.is_file() or lock.stat().st_size > MAX_LOCK_BYTES:
        raise LockError(f"the wheels come without a {LOCK_NAME}")
    digests = parse_pinned(lock.read_bytes(), image_digest)
    wheels = [folder / f"{digest}.whl" for digest in digests]
    if {path.name for path in folder.iterdir()} != {LOCK_NAME, *(path.name for path in wheels)}:
        raise LockError(f"the wheels are not those of their {LOCK_NAME}")
    for wheel in wheels:
        with wheel.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wheel.stem:
                raise LockError(f"the wheel {wheel.stem[:12]} does not have its hash")
    return wheels


def link_layer(layers: Path, image_digest: bytes, wheels: Sequence[Path], target: Path) -> None:
    """Give a job the layer of its wheels; it is made when it is not there.

    Parameters
    ----------
    layers
        Folder of all layers.
    wheels
        Checked.
    target
        Where the job's links are made; must not exist.

    Raises
    ------
    LockError
        A wheel breaks a rule.
    """
    with _one_at_a_time:
        layer = layers / image_digest.hex()
        if not layer.is_dir():
            _make_layer(layers, layer, wheels)
        os.utime(layer)
        shutil.copytree(layer, target, copy_function=os.link)
        _drop_oldest(layers, layer)


def remove_unfinished(layers: Path) -> None:
    """Remove what a killed program left."""
    for path in layers.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)


def _make_layer(layers: Path, layer: Path, wheels: Sequence[Path]) -> None:
    unfinished = layers / f".{secrets.token_hex(8)}"
    unfinished.mkdir(parents=True, mode=0o700)
    try:
        unpack_wheels(wheels, unfinished)
        make_readable(unfinished)
        # The name is the promise that every file is whole, after a power cut too.
        os.sync()
        unfinished.rename(layer)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _drop_oldest(layers: Path, used: Path) -> None:
    """Keep the layers that were used last, as far as they fit."""
    names = [path for path in layers.iterdir() if not path.name.startswith(".")]
    left = KEPT_BYTES
    for layer in sorted(names, key=lambda path: path.stat().st_mtime, reverse=True):
        left -= sum(path.lstat().st_size for path in layer.rglob("*"))
        if left < 0 and layer != used:
            # Under another name first: half a layer must not be found.
            gone = layer.rename(layers / f".{secrets.token_hex(8)}")
            shutil.rmtree(gone, ignore_errors=True)


def unpack_wheels(wheels: Sequence[Path], folder: Path) -> None:
    """Unpack wheels into one empty folder, made when missing.

    Raises
    ------
    LockError
        One of them breaks a rule; what was written stays for the caller to remove.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_files, num_bytes = 0, 0
    for wheel in wheels:
        with wheel.open("rb") as file, _readable(wheel):
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                files = [info for info in archive.infolist() if not info.is_dir()]
                size = sum(info.file_size for info in files)
                num_files, num_bytes = num_files + len(files), num_bytes + size
                if num_files > MAX_FILES or num_bytes > MAX_LAYER_BYTES:
                    raise LockError(
                        f"unpacked, the wheels have more than {MAX_FILES} files or "
                        f"{MAX_LAYER_BYTES} bytes"
                    )
                if size > MAX_RATIO * wheel.stat().st_size + _FREE_BYTES:
                    raise LockError(f"it unpacks to more than {MAX_RATIO} times its size")
                if size + _SPARE_BYTES > shutil.disk_usage(folder).free:
                    raise NoRoom(f"wheels unpack to {size} bytes; the disk has no room for them")
                for info in files:
                    _unpack_file(archive, info, folder)


@contextlib.contextmanager
def _readable(wheel: Path) -> Iterator[None]:
    """Name the wheel in every refusal."""
    name = f"wheel {wheel.stem[:12]}"
    try:
        yield
    except LockError as error:
        raise LockError(f"{name}: {error}") from error
    except (*_UNREADABLE, EOFError, UnicodeError) as error:
        raise LockError(f"{name} cannot be read as a zip: {error}") from error


def _check_directory(file: BinaryIO) -> None:
    """Bound the table of contents before `zipfile` reads all of it into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _ZIP64_LOCATOR_BYTES))
    tail = file.read()
    if len(tail) < _END.size:
        raise LockError("it is not a zip")
    mark, *_, num_bytes, _offset, comment = _END.unpack(tail[-_END.size :])
    if mark != b"PK\5\6" or comment or b"PK\6\7" in tail[: -_END.size]:
        raise LockError("it is not a zip, or one with a comment or of the 64-bit kind")
    if num_bytes > _MAX_DIRECTORY_BYTES:
        raise LockError(f"its table of contents has more than {_MAX_DIRECTORY_BYTES} bytes")
    file.seek(0)


def _unpack_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
    name = _target(info)
    if name is None:
        return
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
    except (FileExistsError, NotADirectoryError) as error:
        raise LockError(f"{name!r} is in another wheel too, or comes twice") from error
    with os.fdopen(descriptor, "wb") as out, archive.open(info) as source:
        left = info.file_size
        while data := source.read(_COPY):
            left -= len(data)
            if left < 0:
                break
            out.write(data)
    if left:
        raise LockError(f"{name!r} does not have the size that the zip says")


def _target(info: zipfile.ZipInfo) -> str | None:
    """Return where a file goes in the layer; ``None`` for one that is left out."""
    name, mode = info.orig_filename, info.external_attr >> 16
    parts = name.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise LockError(f"{name[:200]!r} is not a path inside the layer")
    if "\\" in name or not name.isprintable() or len(name.encode()) > _MAX_PATH_BYTES:
        raise LockError(f"{name[:200]!r} is not a path inside the layer")
    if len(parts) - 1 > MAX_DEPTH:
        raise LockError(f"{name[:200]!r} lies deeper than {MAX_DEPTH} folders")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise LockError(f"{name!r} is not a regular file")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LockError(f"{name!r} is encrypted, or compressed in another way than wheels are")
    if parts[0].endswith(".data"):
        if len(parts) > 2 and parts[1] in _MERGED:
            parts = parts[2:]
        elif len(parts) > 2 and parts[1] in _IGNORED:
            return None
        else:
            raise LockError(f"{name!r} belongs to no place that wheels have")
    if parts[0].split(".")[0] in _RESERVED:
        raise LockError(f"{name!r} would hide a module of the machine or of Python")
    return "/".join(parts)
