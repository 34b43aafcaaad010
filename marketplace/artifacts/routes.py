"""Storing and reading artifacts; for their owner and granted accounts only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import StreamingResponse

from marketplace.artifacts import repository, service
from marketplace.artifacts.schemas import ArtifactAnswer
from marketplace.clock import now
from marketplace.context import Market
from marketplace.errors import (
    ArtifactRefused,
    ArtifactTooLarge,
    ArtifactUnknown,
    QuotaExceeded,
    RangeRefused,
    RateLimited,
    RequestInvalid,
    StoreFull,
    StoreUnavailable,
    Unauthenticated,
    UploadsBusy,
    UploadTooSlow,
)
from marketplace.web.access import CallerDep, MarketDep
from marketplace.web.schemas import CONTENT_HASH, errors

router = APIRouter(prefix="/artifacts", tags=["artifacts"])
ContentHash = Annotated[str, Path(pattern=CONTENT_HASH, description="BLAKE3 of the body")]
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_READ_ERRORS = (Unauthenticated, ArtifactUnknown, RangeRefused, RateLimited, StoreUnavailable)


@router.put(
    "/{digest}",
    status_code=201,
    responses=errors(
        Unauthenticated,
        RequestInvalid,
        ArtifactRefused,
        ArtifactTooLarge,
        QuotaExceeded,
        RateLimited,
        StoreFull,
        StoreUnavailable,
        UploadsBusy,
        UploadTooSlow,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"format": "binary"}}},
        }
    },
)
async def put(
    digest: ContentHash, request: Request, caller: CallerDep, market: MarketDep
) -> ArtifactAnswer:
    """Store a file under the BLAKE3 hash of its bytes; the same one again changes nothing."""
    limit = market.uploads.max_bytes
    declared = request.headers.get("content-length", "")
    room = int(declared) if declared.isdigit() else limit
    if room > limit:
        raise ArtifactTooLarge(f"Artifacts have at most {limit} bytes.")
    async with market.database.writing() as session:
        upload = await service.reserve(session, market, digest, room, caller, now())
    try:
        path, size = await _receive(market, digest, request, room)
        await _keep(market, digest, path, size, caller)
    finally:
        async with market.database.writing() as session:
            await repository.release(session, upload)
    return ArtifactAnswer(hash=digest, size=size)


@router.get(
    "/{digest}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The bytes."},
        206: {"content": {"application/octet-stream": {}}, "description": "The wanted range."},
        **errors(*_READ_ERRORS),
    },
)
async def get(
    digest: ContentHash,
    caller: CallerDep,
    market: MarketDep,
    wanted: Annotated[str | None, Header(alias="range")] = None,
) -> Response:
    """Read an artifact, or a range of it."""
    size = await _readable_size(market, digest, caller)
    start, end, partial = _range(wanted, size)
    headers = {
        "content-length": str(end - start),
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
        "cache-control": "private, no-store",
    }
    if partial:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        _body(market, digest, start, end),
        status_code=206 if partial else 200,
        headers=headers,
        media_type="application/octet-stream",
    )


@router.head("/{digest}", responses=errors(*_READ_ERRORS))
async def head(digest: ContentHash, caller: CallerDep, market: MarketDep) -> Response:
    """Tell the size of an artifact."""
    size = await _readable_size(market, digest, caller)
    return Response(
        headers={
            "content-length": str(size),
            "accept-ranges": "bytes",
            "etag": f'"{digest}"',
            "content-type": "application/octet-stream",
        }
    )


async def _receive(
    market: Market, digest: str, request: Request, room: int
) -> tuple[FilePath, int]:
    limit_s = market.settings.upload_s
    try:
        async with asyncio.timeout(limit_s):
            return await market.uploads.receive(digest, request.stream(), room)
    except TimeoutError:
        raise UploadTooSlow(f"An upload takes at most {limit_s:g} seconds.") from None


async def _keep(market: Market, digest: str, path: FilePath, size: int, caller: str) -> None:
    try:
        await market.store.put(digest, path)
    finally:
        path.unlink(missing_ok=True)
    async with market.database.writing() as session:
        await service.stored(session, digest, size, caller, now())


async def _readable_size(market: Market, digest: str, caller: str) -> int:
    async with market.database.reading() as session:
        row = await service.readable(session, digest, caller)
    if await market.store.size(digest) != row.size:
        # The bytes are gone or damaged: whoever has them can send them again.
        raise ArtifactUnknown("The artifact's bytes are lost; send them again with PUT.")
    return row.size


def _range(text: str | None, size: int) -> tuple[int, int, bool]:
    """Return start, end (exclusive) and whether it is less than everything (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(text.strip()) if text else None
    if match is None or match.groups() == ("", ""):
        return 0, size, False
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise RangeRefused(f"The artifact has {size} bytes.")
    return start, end, True


async def _body(market: Market, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
    async for chunk in market.store.read(digest, start, end):
        yield chunk
