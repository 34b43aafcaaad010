"""Storing and reading artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.artifacts import repository, service
from marketplace.clock import now
from marketplace.errors import QuotaExceeded, StoreFull
from marketplace.store.folder import FolderArtifactStore
from tests.support.market import OPERATOR, OTHER, RENTER, World, content, open_world, rent

DATA = bytes(range(256)) * 20


async def test_when_an_artifact_is_stored_then_its_owner_reads_it_back(world: World) -> None:
    digest = await world.put(RENTER, DATA)
    answer = await world.request(RENTER, "GET", f"/artifacts/{digest}")
    assert answer.content == DATA
    assert answer.headers["etag"] == f'"{digest}"'
    head = await world.request(RENTER, "HEAD", f"/artifacts/{digest}")
    assert (head.headers["content-length"], head.content) == (str(len(DATA)), b"")
    again = await world.request(RENTER, "PUT", f"/artifacts/{digest}", content=DATA)
    assert again.status_code == 201


async def test_when_the_bytes_are_others_then_nothing_is_stored(world: World) -> None:
    answer = await world.request(RENTER, "PUT", f"/artifacts/{content(DATA)}", content=b"other")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "artifact_refused")
    assert (await world.request(RENTER, "GET", f"/artifacts/{content(DATA)}")).status_code == 404
    assert list(world.market.uploads.folder.glob("*")) == []


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=5000-", 5000, 5120), ("bytes=-20", 5100, 5120),
     ("bytes=10-99999", 10, 5120)],
)  # fmt: skip
async def test_when_a_range_is_asked_for_then_only_it_comes(
    world: World, wanted: str, start: int, end: int
) -> None:
    digest = await world.put(RENTER, DATA)
    path = f"/artifacts/{digest}"
    answer = await world.request(RENTER, "GET", path, headers={"range": wanted})
    assert answer.status_code == 206
    assert answer.content == DATA[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"


async def test_when_a_range_lies_outside_then_it_is_refused(world: World) -> None:
    digest = await world.put(RENTER, DATA)
    for wanted in ("bytes=6000-", "bytes=9-8", "bytes=-0"):
        answer = await world.request(
            RENTER, "GET", f"/artifacts/{digest}", headers={"range": wanted}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (416, "range_refused")


async def test_when_an_account_stores_too_much_then_it_is_refused(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_account_bytes=1_000) as world:
        await world.put(RENTER, b"x" * 900)
        answer = await world.request(
            RENTER, "PUT", f"/artifacts/{content(b'y' * 200)}", content=b"y" * 200
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "quota_exceeded")
        await world.put(OTHER, b"z" * 900)


async def test_when_the_same_bytes_are_sent_again_then_they_take_no_more_room(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, max_account_bytes=1_000, max_store_bytes=1_000) as world:
        for _ in range(3):
            await world.put(RENTER, b"x" * 900)


async def test_when_the_node_is_full_then_nobody_stores_more(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_store_bytes=1_000) as world:
        await world.put(RENTER, b"x" * 900)
        answer = await world.request(
            OTHER, "PUT", f"/artifacts/{content(b'y' * 200)}", content=b"y" * 200
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (507, "store_full")
        assert "max_store_bytes" in error["what_to_do"]
        await world.put(OTHER, b"z" * 100)


async def _reserve(world: World, account: LocalAccount, size: int = 1) -> str:
    async with world.market.database.writing() as session:
        address = account.address.lower()
        return await service.reserve(session, world.market, "0" * 64, size, address, now())


@pytest.mark.parametrize("limit", ["max_account_uploads", "max_uploads"])
async def test_when_all_slots_are_taken_then_uploads_wait(tmp_path: Path, limit: str) -> None:
    async with open_world(tmp_path, **{limit: 2}) as world:
        first, _ = [await _reserve(world, RENTER) for _ in range(2)]
        path = f"/artifacts/{content(DATA)}"
        answer = await world.request(RENTER, "PUT", path, content=DATA)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "uploads_busy")
        assert answer.headers["retry-after"] == "5"
        others = await world.request(OTHER, "PUT", path, content=DATA)
        assert others.status_code == (201 if limit == "max_account_uploads" else 429)
        async with world.market.database.writing() as session:
            await repository.release(session, first)
        await world.put(RENTER, DATA)


async def test_when_room_is_kept_for_an_upload_then_others_do_not_get_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_account_bytes=1_000, max_store_bytes=1_500) as world:
        await _reserve(world, RENTER, 900)
        with pytest.raises(QuotaExceeded):
            await _reserve(world, RENTER, 200)
        with pytest.raises(StoreFull):
            await _reserve(world, OTHER, 700)
        await _reserve(world, OTHER, 600)


async def test_when_uploads_break_off_or_their_process_dies_then_their_slots_are_free_again(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, max_uploads=1) as world:
        for _ in range(2):
            path = f"/artifacts/{content(DATA)}"
            assert (await world.request(RENTER, "PUT", path, content=b"x")).status_code == 400
        await _reserve(world, RENTER)  # and nobody ever releases it
        later = now() + timedelta(seconds=world.market.settings.upload_s + 601)
        async with world.market.database.writing() as session:
            await service.reserve(session, world.market, "0" * 64, 1, "0x1", later)


async def test_when_an_upload_never_ends_then_it_is_given_up(tmp_path: Path) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async with open_world(tmp_path, upload_s=0.05) as world:
        answer = await world.request(RENTER, "PUT", f"/artifacts/{'0' * 64}", content=stream())
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "upload_too_slow")
        assert list(world.market.uploads.folder.glob("*")) == []
        async with world.market.database.reading() as session:
            assert await repository.on_their_way(session) == (0, 0)


async def _after(world: World, days: float) -> int:
    return await service.collect(world.market, now() + timedelta(days=days))


async def test_when_nobody_needs_an_artifact_then_it_is_removed_after_its_time(
    world: World,
) -> None:
    digest = await world.put(RENTER, DATA)
    assert await _after(world, 29) == 0
    assert (await world.request(RENTER, "GET", f"/artifacts/{digest}")).content == DATA
    assert await _after(world, 31) == 1
    assert (await world.request(RENTER, "GET", f"/artifacts/{digest}")).status_code == 404
    assert await world.market.store.size(digest) is None
    async with world.market.database.reading() as session:
        assert await repository.all_bytes(session) == 0
        assert await repository.stored_bytes(session, RENTER.address.lower()) == 0
    assert await world.put(RENTER, DATA) == digest


async def test_when_an_order_or_a_lease_needs_artifacts_then_they_stay(world: World) -> None:
    rented = await rent(world)
    stray = await world.put(RENTER, DATA)
    assert await _after(world, 365) == 1
    assert await world.market.store.size(stray) is None
    listed = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/artifacts")).json()
    paths = [f"/artifacts/{artifact['hash']}" for artifact in listed["artifacts"]]
    assert paths
    for path in paths:
        assert (await world.request(OPERATOR, "GET", path)).status_code == 200
    await world.apply(
        world.event("Closed", lease_id=rented.lease_id, cause=1, paid_segments=0, refund="0")
    )
    closed_at = (await world.lease_facts(rented.lease_id)).closed_at
    late = max(closed_at, now()) + timedelta(days=31)
    assert await service.collect(world.market, late) == len(paths)
    for path in paths:
        assert (await world.request(RENTER, "GET", path)).status_code == 404


async def test_when_a_collection_broke_off_then_the_next_one_ends_it(world: World) -> None:
    digest = await world.put(RENTER, DATA)
    async with world.market.database.writing() as session:
        assert await repository.expire_unneeded(session, now() + timedelta(days=1)) == 1
    path = f"/artifacts/{digest}"
    assert (await world.request(RENTER, "GET", path)).status_code == 404
    busy = await world.request(RENTER, "PUT", path, content=DATA)
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "uploads_busy")
    assert await _after(world, 0) == 1
    assert await world.put(RENTER, DATA) == digest


async def test_when_the_same_bytes_are_on_their_way_then_they_are_not_removed(
    world: World,
) -> None:
    digest = await world.put(RENTER, DATA)
    async with world.market.database.writing() as session:
        address = OTHER.address.lower()
        await service.reserve(session, world.market, digest, 1, address, now())
    assert await _after(world, 31) == 0
    assert (await world.request(RENTER, "GET", f"/artifacts/{digest}")).content == DATA


async def test_when_a_body_is_too_large_then_it_is_cut_off(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_artifact_bytes=1_000, max_body_bytes=2_000) as world:
        for declared in (True, False):

            async def stream() -> object:
                for _ in range(10):
                    yield b"x" * 500

            body = {"content": b"x" * 5_000 if declared else stream()}
            answer = await world.request(RENTER, "PUT", f"/artifacts/{'0' * 64}", **body)
            assert (answer.status_code, answer.json()["error"]["code"]) in (
                (413, "body_too_large"),
                (413, "artifact_too_large"),
            )
        answer = await world.client.post("/v1/offers", content=b"[" * 5_000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert list(world.market.uploads.folder.glob("*")) == []


async def test_when_stored_bytes_rot_then_the_check_finds_it_and_the_owner_mends_it(
    world: World,
) -> None:
    digest = await world.put(RENTER, DATA)
    store = world.market.store
    assert isinstance(store, FolderArtifactStore)
    path = store._path(digest)
    assert await service.check(world.market, digest, now())
    path.write_bytes(b"!" + DATA[1:])
    assert not await service.check(world.market, digest, now())
    assert (await world.request(RENTER, "GET", f"/artifacts/{digest}")).status_code == 404
    await world.put(RENTER, DATA)
    assert (await world.request(RENTER, "GET", f"/artifacts/{digest}")).content == DATA
    await store.delete(digest)
    await store.delete(digest)
    assert (await world.request(RENTER, "GET", f"/artifacts/{digest}")).status_code == 404


async def test_when_an_artifact_is_known_by_its_hash_only_then_nobody_gets_at_it(
    world: World,
) -> None:
    digest = await world.put(RENTER, DATA)
    for method, options in (("GET", {}), ("HEAD", {}), ("PUT", {"content": b""})):
        answer = await world.request(OTHER, method, f"/artifacts/{digest}", **options)
        assert answer.status_code in (400, 404)
    await world.put(OTHER, DATA)
    assert (await world.request(OTHER, "GET", f"/artifacts/{digest}")).content == DATA
