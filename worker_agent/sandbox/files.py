"""Reading what untrusted code wrote.

*Covered*: every path is opened one component at a time below the work disk, never following a
link, never opening anything but a regular file, never blocking on a pipe, with a cap on bytes;
the collector refuses links, devices, sockets, pipes, hard links, odd names, too deep and too many,
and drops setuid bits.
*Not covered*: the meaning of the bytes. A file that the job still writes may change while it is
read: hash what was copied, not what lies there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from worker_agent.sandbox.base import Caps, Collected, Refusal
from worker_agent.sandbox.errors import UnsafePath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1024 * 1024
_LONGEST_NAME = 255


def split_path(path: str) -> list[str]:
    """Return the components of a relative path; `UnsafePath` for anything else."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise UnsafePath(f"{path!r} is not a plain path below the work disk")
    return parts


def open_folder(root: int, parts: Sequence[str]) -> int:
    """Open a folder below ``root`` without following links."""
    handle = os.dup(root)
    for part in parts:
        try:
            inner = os.open(part, _FOLDER, dir_fd=handle)
        except NotADirectoryError as error:
            raise UnsafePath(f"{part!r} is not a folder") from error
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise UnsafePath(f"{part!r} cannot be opened: {error.strerror}") from error
        finally:
            os.close(handle)
        handle = inner
    return handle


def _open_regular(folder: int, name: str) -> int:
    try:
        handle = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnsafePath(f"{name!r} is not a regular file: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnsafePath(f"{name!r} is not a regular file")
    return handle


def open_file(root: int, path: str) -> int:
    """Open a regular file below ``root`` for reading, without following links."""
    parts = split_path(path)
    if not parts:
        raise UnsafePath("the work disk itself is not a file")
    folder = open_folder(root, parts[:-1])
    try:
        return _open_regular(folder, parts[-1])
    finally:
        os.close(folder)


def read_file(root: int, path: str, max_bytes: int) -> bytes:
    """Return the content of a regular file below ``root``; `UnsafePath` above ``max_bytes``."""
    with os.fdopen(open_file(root, path), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise UnsafePath(f"{path!r} is larger than {max_bytes} bytes")
    return content


def _copy(source: int, destination: Path, max_bytes: int, what: str) -> int:
    """Copy at most ``max_bytes`` to a new file; takes over ``source``; return the size."""
    size = 0
    draft = destination.with_name(f".{destination.name[:200]}.new")
    try:
        with os.fdopen(source, "rb") as file, draft.open("wb") as copy:
            draft.chmod(0o600)
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > max_bytes:
                    raise UnsafePath(f"{what!r} is larger than {max_bytes} bytes")
                copy.write(chunk)
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)
    return size


def copy_file(root: int, path: str, destination: Path, max_bytes: int) -> int:
    """Copy a regular file below ``root`` to ``destination``; return its size in bytes."""
    return _copy(open_file(root, path), destination, max_bytes, path)


def list_dir(root: int, path: str) -> list[str]:
    """Return the sorted names in a folder below ``root``."""
    folder = open_folder(root, split_path(path))
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 -- a descriptor, not a path
    finally:
        os.close(folder)


def write_file(root: int, path: str, content: bytes, owner: int | None) -> None:
    """Put a file below ``root`` before the job starts, with its folders.

    Parameters
    ----------
    root
        The work disk.
    path
        Relative path.
    content
        What to write.
    owner
        Uid of the job when it is not ours.
    """
    parts = split_path(path)
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            if part not in os.listdir(folder):  # noqa: PTH208 -- a descriptor, not a path
                os.mkdir(part, 0o700, dir_fd=folder)
                if owner is not None:
                    os.chown(part, owner, owner, dir_fd=folder, follow_symlinks=False)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(parts[-1], flags, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if owner is not None:
                os.fchown(file.fileno(), owner, owner)
    finally:
        os.close(folder)


def make_readable(path: Path) -> None:
    """Let everybody read a file or folder, links in it untouched.

    For inputs that are mounted into a job with another uid; the parent folders stay closed.
    """
    if path.is_symlink():
        raise UnsafePath(f"{path} is a link")
    if path.is_dir():
        path.chmod(0o755)
        for child in path.iterdir():
            if not child.is_symlink():
                make_readable(child)
    else:
        path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Translate a glob to a regular expression: ``**`` spans folders, ``*`` and ``?`` do not."""
    split_path(pattern)
    expression = ""
    rest = pattern
    while rest:
        if rest.startswith("**/"):
            expression, rest = expression + "(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            expression, rest = expression + ".*", rest[2:]
        else:
            single = {"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0]))
            expression, rest = expression + single, rest[1:]
    return re.compile(expression, re.DOTALL)


class Collector:
    """Copies a job's outputs out of its work disk.

    Parameters
    ----------
    destination
        Folder for the copies, made when missing.
    patterns
        Globs of paths relative to the collected folder.
    caps
        What is taken at most.
    """

    def __init__(self, destination: Path, patterns: Sequence[str], caps: Caps) -> None:
        self._destination = destination
        self._patterns = [compile_pattern(pattern) for pattern in patterns]
        self._caps = caps
        self._bytes_left = caps.total_bytes
        self._seen = 0
        self._result = Collected([], [])

    def collect(self, root: int, path: str) -> Collected:
        """Copy what matches below ``path`` of the work disk ``root``."""
        self._destination.mkdir(parents=True, exist_ok=True)
        try:
            folder = open_folder(root, split_path(path))
        except FileNotFoundError:
            return self._result
        try:
            self._walk(folder, "", 1)
        finally:
            os.close(folder)
        return self._result

    def _refuse(self, path: str, why: str) -> None:
        # A job could leave millions of things to refuse.
        if len(self._result.refused) < self._caps.num_files:
            self._result.refused.append(Refusal(path, why))

    def _walk(self, folder: int, prefix: str, depth: int) -> None:
        for name in self._names(folder, prefix):
            path = prefix + name
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                if depth >= self._caps.depth:
                    self._refuse(path, f"deeper than {self._caps.depth} folders")
                    continue
                inner = open_folder(folder, [name])
                try:
                    self._walk(inner, path + "/", depth + 1)
                finally:
                    os.close(inner)
            elif any(pattern.fullmatch(path) for pattern in self._patterns):
                self._take(folder, name, path)

    def _names(self, folder: int, prefix: str) -> list[str]:
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self._seen += 1
                if self._seen > 100 * self._caps.num_files:
                    self._refuse(prefix or ".", "too many entries")
                    break
                if not entry.name.isprintable() or len(entry.name.encode()) > _LONGEST_NAME:
                    self._refuse(ascii(prefix + entry.name), "its name is not plain text")
                    continue
                names.append(entry.name)
        return sorted(names)

    def _take(self, folder: int, name: str, path: str) -> None:
        if len(self._result.files) >= self._caps.num_files:
            self._refuse(path, f"more than {self._caps.num_files} files")
            return
        try:
            handle = _open_regular(folder, name)
        except UnsafePath:
            self._refuse(path, "not a regular file")
            return
        info = os.fstat(handle)
        if info.st_nlink != 1 or info.st_size > self._bytes_left:
            os.close(handle)
            why = "a hard link" if info.st_nlink != 1 else "over the size cap"
            self._refuse(path, why)
            return
        target = self._destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._bytes_left -= _copy(handle, target, self._bytes_left, path)
        self._result.files.append(Path(path))
