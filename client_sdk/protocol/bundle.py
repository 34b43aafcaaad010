"""Deterministic archives of folders, and unpacking archives that strangers made.

The format is a subset of tar (POSIX ustar) with exactly one archive for a set of files: regular
files only, in ascending order of their UTF-8 path, no owner, no times, mode 0644 or 0755, two zero
blocks at the end. ``bundleHash = blake3(the archive)``.

Covered: an archive is read header by header, and a header that differs in one bit from the one that
packing would write is refused: links, devices, sparse files, folders, extension headers, absolute
paths, ``..``, duplicates, wrong checksums, data after the end. Number of files, depth, size of a
file and of all files are bounded. Files are created anew, never through a link.
Not covered: encryption; what the files contain.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from blake3 import blake3

from client_sdk.protocol.errors import BundleError
from client_sdk.protocol.manifest import DataKind

#: Names that are never part of a code bundle.
CODE_EXCLUDES: Final = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    ".gridlease",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    ".DS_Store",
    "__pycache__",
    "*.pyc",
)
_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_COPY: Final = 1 << 20
_MAX_PREFIX: Final = 155
_MAX_NAME: Final = 100
_MAX_ENTRY: Final = (1 << 33) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleLimits:
    """Bounds on an archive, for packing and unpacking alike."""

    #: Most files.
    num_files: int = 20_000
    #: Most bytes of all files together.
    total_bytes: int = 16 << 30
    #: Most folders above a file.
    depth: int = 24


DEFAULT_LIMITS: Final = BundleLimits()


@dataclass(frozen=True, slots=True)
class Archive:
    """What packing made or unpacking found."""

    #: BLAKE3 of the archive.
    hash: bytes
    #: Bytes of the archive.
    size: int
    num_files: int


class _Sink:
    """Writes to a file and hashes what it writes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._hasher = blake3()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self._hasher.update(data)
        self.size += len(data)

    def archive(self, num_files: int) -> Archive:
        return Archive(self._hasher.digest(), self.size, num_files)


class _Source:
    """Reads exactly as much as asked and hashes what it reads."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hasher = blake3()
        self.size = 0

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._source.read(size)
            if not part:
                raise BundleError("the archive is cut short")
            parts.append(part)
            size -= len(part)
        data = b"".join(parts)
        self._hasher.update(data)
        self.size += len(data)
        return data

    def finish(self, num_files: int) -> Archive:
        if self._source.read(1):
            raise BundleError("there is data after the end of the archive")
        return Archive(self._hasher.digest(), self.size, num_files)


def pack_folder(
    folder: Path,
    out: BinaryIO,
    *,
    exclude: Sequence[str] = (),
    limits: BundleLimits = DEFAULT_LIMITS,
) -> Archive:
    """Write the one archive of a folder's regular files.

    Parameters
    ----------
    folder
        Its empty folders are not kept. A link to a file inside is packed as that file.
    out
        Binary file to write to.
    exclude
        Patterns of names (of files and folders, at any depth) to leave out;
        :data:`CODE_EXCLUDES` for code.
    limits
        Bounds.

    Raises
    ------
    BundleError
        When a file cannot be part of an archive, or a bound is passed.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise BundleError(f"{folder} is not a folder")
    found: list[tuple[str, Path]] = []
    for name, path in _walk(root, root, exclude):
        found.append((name, path))
        if len(found) > limits.num_files:
            raise BundleError(f"more than {limits.num_files} files in {folder}")
    return _pack(found, out, limits)


def pack_file(
    path: Path, name: str, out: BinaryIO, *, limits: BundleLimits = DEFAULT_LIMITS
) -> Archive:
    """Write the one archive that holds this one file under ``name``."""
    return _pack([(name, path)], out, limits)


def pack_data(kind: DataKind, source: Path, name: str, out: BinaryIO) -> Archive:
    """Write the one archive of a data item: a folder's files, or one file under its name."""
    return pack_folder(source, out) if kind is DataKind.FOLDER else pack_file(source, name, out)


def pack_files(
    files: Mapping[str, Path], out: BinaryIO, *, limits: BundleLimits = DEFAULT_LIMITS
) -> Archive:
    """Write the one archive that holds these files under their names."""
    return _pack(list(files.items()), out, limits)


def unpack(
    source: BinaryIO,
    folder: Path,
    *,
    expected_hash: bytes | None = None,
    limits: BundleLimits = DEFAULT_LIMITS,
) -> Archive:
    """Unpack an archive that a stranger made into a folder of its own.

    Parameters
    ----------
    source
        Binary file to read.
    folder
        Must not exist, or be empty; on failure nothing stays in it.
    expected_hash
        BLAKE3 that the archive must have.
    limits
        Bounds.

    Raises
    ------
    BundleError
        When the archive is not one that :func:`pack_folder` writes, passes a bound, or has another
        hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty")
    try:
        archive = _unpack(_Source(source), folder, limits)
        if expected_hash is not None and archive.hash != expected_hash:
            raise BundleError("the archive is not the one that was named: its hash differs")
    except BaseException:
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
        raise
    return archive


def _walk(root: Path, folder: Path, exclude: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in exclude):
            continue
        name = entry.relative_to(root).as_posix()
        if entry.is_symlink():
            try:
                target = entry.resolve()
            except (OSError, RuntimeError) as error:
                raise BundleError(f"{name} is a link that leads nowhere") from error
            if not target.is_relative_to(root):
                raise BundleError(f"{name} is a link that leads out of the folder")
            if not target.is_file():
                raise BundleError(f"{name} is a link, but not to a file")
            yield name, target
        elif entry.is_dir():
            yield from _walk(root, entry, exclude)
        elif entry.is_file():
            yield name, entry
        else:
            raise BundleError(f"{name} is neither a file nor a folder")


def _pack(files: list[tuple[str, Path]], out: BinaryIO, limits: BundleLimits) -> Archive:
    sink, total = _Sink(out), 0
    for name, path in sorted(files, key=lambda pair: os.fsencode(pair[0])):
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            size = status.st_size
            total += size
            if total > limits.total_bytes:
                raise BundleError(f"more than {limits.total_bytes} bytes in all")
            executable = bool(status.st_mode & stat.S_IXUSR)
            sink.write(_header(_checked_name(name, limits), size, executable))
            left = size
            while left:
                data = file.read(min(_COPY, left))
                if not data:
                    break
                sink.write(data)
                left -= len(data)
            if left or file.read(1):
                raise BundleError(f"{name} changed while it was packed")
        sink.write(bytes(-size % _BLOCK))
    sink.write(_END)
    return sink.archive(len(files))


def _unpack(source: _Source, folder: Path, limits: BundleLimits) -> Archive:
    last, count, total = b"", 0, 0
    while (header := source.read(_BLOCK)) != _END[:_BLOCK]:
        name, size, executable = _parse_header(header, limits)
        if name.encode() <= last:
            raise BundleError(f"{name} is out of order or comes twice")
        last, count, total = name.encode(), count + 1, total + size
        if count > limits.num_files:
            raise BundleError(f"more than {limits.num_files} files")
        if total > limits.total_bytes:
            raise BundleError(f"more than {limits.total_bytes} bytes in all")
        _write_file(source, folder / name, name, size, executable)
        if any(source.read(-size % _BLOCK)):
            raise BundleError(f"{name} is followed by data that belongs to no file")
    if source.read(_BLOCK) != _END[:_BLOCK]:
        raise BundleError("the end of the archive is broken")
    return source.finish(count)


def _write_file(source: _Source, path: Path, name: str, size: int, executable: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o755 if executable else 0o644)
    except (FileExistsError, NotADirectoryError) as error:
        raise BundleError(f"{name} is both a file and a folder") from error
    with os.fdopen(descriptor, "wb") as file:
        while size:
            data = source.read(min(_COPY, size))
            file.write(data)
            size -= len(data)


def _checked_name(name: str, limits: BundleLimits) -> str:
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BundleError(f"{name!r} is not UTF-8") from error
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(b < 32 or b == 127 for b in raw):
        raise BundleError(f"{name!r} is not a path that an archive can hold")
    if len(parts) - 1 > limits.depth:
        raise BundleError(f"{name!r} lies deeper than {limits.depth} folders")
    return name


def _split_name(name: str) -> tuple[bytes, bytes]:
    """Return prefix and name of a header: split at the first slash that makes both fit."""
    raw = name.encode()
    if len(raw) <= _MAX_NAME:
        return b"", raw
    cut = raw.find(b"/", len(raw) - _MAX_NAME - 1)
    if not 0 < cut <= _MAX_PREFIX:
        raise BundleError(f"{name!r} is too long a path")
    return raw[:cut], raw[cut + 1 :]


def _header(name: str, size: int, executable: bool) -> bytes:
    """Return the one header of a file. Source: POSIX.1-2017, pax, "ustar Interchange Format"."""
    if size > _MAX_ENTRY:
        raise BundleError(f"{name} is larger than {_MAX_ENTRY} bytes")
    prefix, tail = _split_name(name)
    fields = [
        tail.ljust(_MAX_NAME, b"\0"),
        b"0000755\0" if executable else b"0000644\0",
        b"0000000\0",  # owner
        b"0000000\0",  # group
        f"{size:011o}\0".encode(),
        b"00000000000\0",  # time
        b" " * 8,  # checksum, counted as spaces
        b"0",  # regular file
        bytes(100),  # link
        b"ustar\x0000",
        bytes(64),  # names of owner and group
        b"0000000\x000000000\0",  # device
        prefix.ljust(_MAX_PREFIX, b"\0"),
        bytes(12),
    ]
    header = b"".join(fields)
    return header[:148] + f"{sum(header):06o}\0 ".encode() + header[156:]


def _parse_header(header: bytes, limits: BundleLimits) -> tuple[str, int, bool]:
    prefix = header[345:500].rstrip(b"\0")
    tail = header[:100].rstrip(b"\0")
    size_field = header[124:135]
    if not size_field.isdigit() or any(digit > 0x37 for digit in size_field):
        raise BundleError("not an archive of ours: a size is malformed")
    try:
        name = (prefix + b"/" + tail if prefix else tail).decode()
    except UnicodeDecodeError as error:
        raise BundleError("not an archive of ours: a path is not UTF-8") from error
    size, executable = int(size_field, 8), header[100:107] == b"0000755"
    if header != _header(_checked_name(name, limits), size, executable):
        raise BundleError(f"{name!r} is not a plain file, or its header is not the canonical one")
    return name, size, executable
