"""What an artifact store does, and how an upload is checked on its way in.

Covered: an artifact is visible only after its whole body was hashed and matched its name; a body
over the cap is cut off while it arrives; a broken upload leaves nothing behind but a temporary file
that the next sweep removes.
Not covered: secrecy. Artifacts are encrypted by the client before they come here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from marketplace.errors import ArtifactRefused, ArtifactTooLarge

CHUNK_BYTES = 1 << 20
STALE_UPLOAD_S = 6 * 3_600


class ArtifactStore(Protocol):
    """Files by the BLAKE3 hash of their bytes."""

    async def put(self, digest: str, source: Path) -> None:
        """Take over a complete local file under its hash; the file is gone afterwards."""

    async def size(self, digest: str) -> int | None:
        """Return the size in bytes, or nothing when it is not stored."""

    def read(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Stream the bytes from ``start`` up to and without ``end``."""

    async def delete(self, digest: str) -> None:
        """Remove a file; one that is not there is no error."""


class Uploads:
    """Takes bodies into temporary files, hashing while it writes.

    Parameters
    ----------
    folder
        Where temporary files lie; for a folder store, on the same file system as the store.
    max_bytes
        Largest accepted body.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    async def receive(
        self, digest: str, body: AsyncIterator[bytes], limit_bytes: int | None = None
    ) -> tuple[Path, int]:
        """Write a body to a temporary file and check its hash.

        Parameters
        ----------
        limit_bytes
            Room that was kept free for it; by default the cap of all bodies.

        Returns
        -------
        tuple[Path, int]
            The file, which the caller must move or remove, and its size in bytes.

        Raises
        ------
        ArtifactTooLarge
            The body goes on over the cap.
        ArtifactRefused
            The body has another hash.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{digest[:16]}.{secrets.token_hex(8)}.part"
        try:
            size, found = await self._write(
                path, body, self.max_bytes if limit_bytes is None else limit_bytes
            )
            if found != digest:
                raise ArtifactRefused(f"The body has the hash {found}.")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path, size

    async def _write(self, path: Path, body: AsyncIterator[bytes], limit: int) -> tuple[int, str]:
        hasher, size, pending = blake3(), 0, bytearray()
        with path.open("wb") as file:

            def flush(data: bytes) -> None:
                hasher.update(data)
                file.write(data)

            async for chunk in body:
                size += len(chunk)
                if size > limit:
                    raise ArtifactTooLarge(f"This artifact has at most {limit} bytes.")
                pending += chunk
                if len(pending) >= CHUNK_BYTES:
                    data, pending = bytes(pending), bytearray()
                    await asyncio.to_thread(flush, data)
            await asyncio.to_thread(flush, bytes(pending))
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        return size, hasher.hexdigest()

    def sweep(self) -> int:
        """Remove temporary files of uploads that broke off long ago; return how many."""
        if not self.folder.is_dir():
            return 0
        oldest = time.time() - STALE_UPLOAD_S
        stale = [p for p in self.folder.glob("*.part") if p.stat().st_mtime < oldest]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)


async def hash_of(store: ArtifactStore, digest: str, size: int) -> str:
    """Read a stored artifact back and return the hash that its bytes really have."""
    hasher = blake3()
    async for chunk in store.read(digest, 0, size):
        await asyncio.to_thread(hasher.update, chunk)
    return hasher.hexdigest()
