"""A stranger's order, which costs nothing, cannot fill this machine's disk."""

from __future__ import annotations

import io
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from client_sdk import sealing
from client_sdk.protocol.bundle import pack_folder
from client_sdk.protocol.manifest import DataItem, DataKind
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from worker_agent.errors import BadArtifact, NoRoom
from worker_agent.exchange import parse_artifacts
from worker_agent.inputs import fetch_checkpoint, fetch_inputs


def test_when_the_data_would_fill_the_disk_then_the_order_is_refused_unfetched(
    tmp_path: Path,
) -> None:
    free = shutil.disk_usage(tmp_path).free
    item = DataItem(name="big", kind=DataKind.FOLDER, hash=b"\1" * 32, size=free)
    market = FakeMarket(FakeChain(parties.ARBITER.address))
    job = parties.make_job(tmp_path, market, data=(item,))
    provider = parties.make_context(
        tmp_path / "p", market.chain, market, parties.OPERATOR, parties.make_settings(tmp_path)
    )
    (node,) = provider.markets.values()
    with pytest.raises(BadArtifact, match="bytes of disk"):
        fetch_inputs(
            node,
            parse_artifacts(job.artifacts),
            job.key,
            job.manifest.job_hash(),
            tmp_path / "inputs",
            tmp_path / "layers",
        )
    assert not (tmp_path / "inputs").exists()


def checkpoint_at(tmp_path: Path) -> tuple[FakeMarket, str, bytes]:
    """A market with a checkpoint of some KiB."""
    market = FakeMarket(FakeChain(parties.ARBITER.address))
    source, key, packed = tmp_path / "segment", sealing.new_job_key(), io.BytesIO()
    source.mkdir()
    (source / "checkpoint.safetensors").write_bytes(bytes(4000))
    pack_folder(source, packed)
    return market, market.put(sealing.encrypt(key, packed.getvalue(), b"checkpoint:3")), key


@pytest.mark.parametrize("of", ["the disk", "the pair"])
def test_when_there_is_no_room_for_a_checkpoint_then_nothing_of_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    market, address, key = checkpoint_at(tmp_path)
    room = {"the disk": 1 << 20, "the pair": 1 << 20}
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=(2 << 30) + room["the disk"])
    )
    target = tmp_path / "before"
    fetch = partial(fetch_checkpoint, market.connect("0x1"), address, key, 3, target, 1 << 20)
    fetched = fetch(lambda: room["the pair"])
    assert (fetched / "checkpoint.safetensors").stat().st_size == 4000
    room[of] = 6000  # ciphertext and plaintext have more together
    with pytest.raises(NoRoom, match="checkpoint:3"):
        fetch(lambda: room["the pair"])
    assert not target.exists()
