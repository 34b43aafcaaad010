"""Artifacts in a local folder: one file each, spread over 256 subfolders."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from marketplace.store.base import CHUNK_BYTES


class FolderArtifactStore:
    """Artifacts under ``root``.

    Uploads are received beside it, so that taking one over is a rename.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest

    async def put(self, digest: str, source: Path) -> None:
        """Move a complete file under its hash."""
        target = self._path(digest)

        def move() -> None:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            source.replace(target)
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

        await asyncio.to_thread(move)

    async def size(self, digest: str) -> int | None:
        """Return the size in bytes, or nothing when it is not stored."""
        try:
            return (await asyncio.to_thread(self._path(digest).stat)).st_size
        except FileNotFoundError:
            return None

    async def read(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Stream the bytes from ``start`` up to and without ``end``."""
        file = await asyncio.to_thread(self._path(digest).open, "rb")
        with file:
            file.seek(start)
            left = end - start
            while left > 0:
                chunk = await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk

    async def delete(self, digest: str) -> None:
        """Remove a file; one that is not there is no error."""
        await asyncio.to_thread(self._path(digest).unlink, missing_ok=True)
