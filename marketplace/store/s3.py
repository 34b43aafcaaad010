"""Artifacts in an S3-compatible bucket, through obstore."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, GenericError
from obstore.store import S3Store

from marketplace.errors import StoreUnavailable
from marketplace.settings import S3Store as S3Settings
from marketplace.store.base import CHUNK_BYTES


class S3ArtifactStore:
    """Artifacts under a prefix of one bucket; a multipart upload becomes visible at its end."""

    def __init__(self, settings: S3Settings) -> None:
        key, secret = settings.access_key_id, settings.secret_access_key
        endpoint = settings.endpoint
        self._prefix = settings.prefix
        self._store = S3Store(
            settings.bucket,
            region=settings.region,
            endpoint=endpoint,
            access_key_id=key.get_secret_value() if key else None,
            secret_access_key=secret.get_secret_value() if secret else None,
            # Servers of one machine answer on plain HTTP and by path, not by host name.
            virtual_hosted_style_request=False,
            client_options={"allow_http": bool(endpoint and endpoint.startswith("http://"))},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        )

    def _path(self, digest: str) -> str:
        return f"{self._prefix}/{digest[:2]}/{digest}"

    async def put(self, digest: str, source: Path) -> None:
        """Upload a complete file under its hash and remove the local one."""
        try:
            await obstore.put_async(self._store, self._path(digest), source)
        except BaseError as error:
            raise StoreUnavailable from error
        finally:
            source.unlink(missing_ok=True)

    async def size(self, digest: str) -> int | None:
        """Return the size in bytes, or nothing when it is not stored."""
        try:
            return (await obstore.head_async(self._store, self._path(digest)))["size"]
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise StoreUnavailable from error

    async def read(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Stream the bytes from ``start`` up to and without ``end``."""
        if end <= start:
            return
        try:
            result, skip = await self._get(self._path(digest), start, end)
            left = end - start
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                wanted = bytes(chunk)[skip : skip + left]
                skip = max(0, skip - len(chunk))
                left -= len(wanted)
                if wanted:
                    yield wanted
                if left <= 0:
                    return
        except BaseError as error:
            raise StoreUnavailable from error

    async def _get(self, path: str, start: int, end: int) -> tuple[obstore.GetResult, int]:
        """Open a file; return it and how many of its first bytes are not wanted.

        Some servers answer a range with the whole file, which the client refuses: from the start,
        none is asked for, and elsewhere what comes before it is read and thrown away.
        """
        if start:
            try:
                options: obstore.GetOptions = {"range": (start, end)}
                return await obstore.get_async(self._store, path, options=options), 0
            except GenericError:
                pass
        return await obstore.get_async(self._store, path), start

    async def delete(self, digest: str) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            await obstore.delete_async(self._store, self._path(digest))
        except FileNotFoundError:
            return
        except BaseError as error:
            raise StoreUnavailable from error
