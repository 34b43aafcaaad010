"""A stranger's order, which costs nothing, cannot fill this machine's disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from client_sdk.protocol.manifest import DataItem, DataKind
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from worker_agent.errors import BadArtifact
from worker_agent.exchange import parse_artifacts
from worker_agent.inputs import fetch_inputs


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
    assert not (tmp_path / "inputs" / "code").exists()
