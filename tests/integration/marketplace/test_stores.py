"""Both artifact stores against real servers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marketplace.errors import ArtifactRefused
from marketplace.store import open_store
from marketplace.store.base import hash_of
from tests.support.market import content, make_settings

DATA = os.urandom(9 << 20)


async def _body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_when_an_artifact_is_stored_then_it_reads_back_whole_and_in_parts(
    kind: str, tmp_path: Path, s3: dict[str, Any]
) -> None:
    chosen = {} if kind == "folder" else {"artifact_store": s3}
    store, uploads = open_store(make_settings(tmp_path, **chosen))
    digest = content(DATA)
    assert await store.size(digest) is None
    path, size = await uploads.receive(digest, _body(DATA))
    await store.put(digest, path)
    assert not path.exists()
    assert await store.size(digest) == size == len(DATA)
    assert await hash_of(store, digest, size) == digest
    for start, end in ((0, 0), (5, 10), (4 << 20, 6 << 20), (size - 1, size)):
        read = b"".join([chunk async for chunk in store.read(digest, start, end)])
        assert read == DATA[start:end]
    await store.delete(digest)
    assert await store.size(digest) is None


async def test_when_a_body_has_another_hash_then_nothing_is_left(tmp_path: Path) -> None:
    _, uploads = open_store(make_settings(tmp_path))
    with pytest.raises(ArtifactRefused):
        await uploads.receive("0" * 64, _body(DATA))
    assert list(uploads.folder.iterdir()) == []
