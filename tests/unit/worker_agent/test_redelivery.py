"""A job's inputs delivered anew, from the worker's own copies, to a market that lacks them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk import sealing
from tests.fakes import parties
from tests.fakes.cases import Committed
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import make_checkpoint
from tests.unit.worker_agent.test_inputs import with_data
from worker_agent.checkpoints import checkpoint_hash
from worker_agent.errors import NetworkFailed, ProviderFault
from worker_agent.exchange import parse_artifacts
from worker_agent.inputs import fetch_checkpoint, fetch_inputs
from worker_agent.journal import Journal
from worker_agent.records import LeaseRecord
from worker_agent.redelivery import Redelivery
from worker_agent.store import LeaseStore

SEGMENT = 2


class Bench:
    """A provider that holds a job's inputs, its order's market, and another market."""

    def __init__(self, folder: Path, *, wheels: bool = False) -> None:
        chain = FakeChain(parties.ARBITER.address)
        self.home = FakeMarket(chain)
        self.other = FakeMarket(chain, url="http://other.test")
        self.job = with_data(folder, self.home)
        if wheels:
            sealed = sealing.encrypt(self.job.key, b"wheels", b"extra:wheels")
            self.job.artifacts["extra"] = {"wheels": self.home.put(sealed)}
        self.markets = {m.url: m.connect("0x1") for m in (self.home, self.other)}
        self.store = LeaseStore(folder / "lease")
        self.folder = folder
        self.fetch(self.home, self.job.artifacts, self.store.inputs)
        tensors, state, self.state_hash = make_checkpoint([1.0] * 8, 4)
        self.store.segment(SEGMENT).mkdir(parents=True)
        (self.store.segment(SEGMENT) / "checkpoint.safetensors").write_bytes(tensors)
        (self.store.segment(SEGMENT) / "state.json").write_bytes(state)
        self.journal = Journal(folder / "journal.sqlite")
        self.start()

    def start(self) -> None:
        """Start the worker, or start it again."""
        self.redelivery = Redelivery(self.markets, self.journal)

    @property
    def record(self) -> LeaseRecord:
        lease = Committed.make(job_hash=self.job.manifest.job_hash())
        values = {"job_key": self.job.key.hex(), "artifacts": self.job.artifacts}
        return lease.record(market=self.home.url, **values)

    def fetch(self, market: FakeMarket, artifacts: dict[str, Any], folder: Path) -> Path:
        """As a stranger who has the job key."""
        key, job_hash = self.job.key, self.job.manifest.job_hash()
        client = self.markets[market.url]
        found = fetch_inputs(client, parse_artifacts(artifacts), key, job_hash, folder, self.folder)
        return found.data

    def at_home(self) -> dict[str, Any]:
        """At the market that the order came through."""
        client = self.markets[self.home.url]
        return self.redelivery.deliver(self.record, self.store, client, None).to_json()

    def deliver(self, before: int | None = None) -> dict[str, Any]:
        client = self.markets[self.other.url]
        return self.redelivery.deliver(self.record, self.store, client, before).to_json()


def test_when_inputs_are_delivered_anew_then_another_machine_gets_the_same_job(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    delivered = bench.deliver(SEGMENT)
    data = bench.fetch(bench.other, delivered, tmp_path / "arbiter")
    assert (data / "one").read_bytes() == b"numbers"
    assert (data / "many" / "a.txt").read_text() == "a"
    client, key = bench.markets[bench.other.url], bench.job.key
    address, target = delivered["checkpoint"], tmp_path / "checkpoint"
    checkpoint = fetch_checkpoint(client, address, key, SEGMENT, target, 1 << 20)
    assert checkpoint_hash(checkpoint) == bench.state_hash
    assert list(bench.store.upload.iterdir()) == [], "nothing is left lying about"


def test_when_a_job_was_delivered_then_only_the_next_checkpoint_follows(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench.deliver()
    count = len(bench.other.requests)
    assert bench.deliver() == first
    bench.start()
    then = bench.deliver(SEGMENT)
    assert bench.deliver(SEGMENT) == then
    assert then == {**first, "checkpoint": then["checkpoint"]}
    puts = [request for request in bench.other.requests[count:] if request.startswith("PUT")]
    assert puts == [f"PUT /v1/artifacts/{then['checkpoint']}"]


def test_when_a_job_goes_to_a_second_market_or_another_job_to_this_one_then_each_is_delivered(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    third = FakeMarket(bench.home.chain, url="http://third.test")
    first = bench.deliver()
    again = bench.redelivery.deliver(bench.record, bench.store, third.connect("0x1"), None)
    assert first["manifest"] in bench.other.artifacts
    assert again.manifest in third.artifacts
    sibling = replace(bench.record, lease_id="0x" + "99" * 32, job_key="22" * 32)
    client = bench.markets[bench.other.url]
    other = bench.redelivery.deliver(sibling, bench.store, client, None)
    assert other.manifest != first["manifest"], "sealed with a key of its own"


@pytest.mark.parametrize("damage", ["code", "data", "gone"])
def test_when_the_own_copy_is_damaged_then_it_is_not_delivered(tmp_path: Path, damage: str) -> None:
    bench = Bench(tmp_path)
    inputs = bench.store.inputs
    if damage == "code":
        (inputs / "code" / "train.py").write_text("print('other')\n")
    elif damage == "data":
        (inputs / "data" / "many" / "a.txt").write_text("b")
    else:
        (inputs / "complete").unlink()
    with pytest.raises(ProviderFault):
        bench.deliver()


def test_when_a_job_has_wheels_then_their_ciphertext_is_passed_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, wheels=True)
    address = bench.job.artifacts["extra"]["wheels"]
    assert bench.deliver()["extra"] == {"wheels": address}
    assert bench.other.artifacts[address] == bench.home.artifacts[address]


@pytest.mark.parametrize("why", ["lost", "away", "unknown"])
def test_when_the_orders_market_has_no_wheels_then_that_is_not_the_other_markets_failure(
    tmp_path: Path, why: str
) -> None:
    bench = Bench(tmp_path, wheels=True)
    if why == "lost":
        bench.home.artifacts.clear()
    elif why == "away":
        bench.home.away = True
    else:
        del bench.markets[bench.home.url]
    with pytest.raises(ProviderFault, match="wheels"):
        bench.deliver()


def test_when_the_orders_market_is_not_used_any_more_then_a_job_without_wheels_is_delivered(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    del bench.markets[bench.home.url]
    assert bench.deliver()["bundle"] in bench.other.artifacts


def test_when_the_market_has_all_of_a_job_then_nothing_is_uploaded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, wheels=True)
    bench.home.requests.clear()
    assert bench.at_home() == {**bench.job.artifacts, "checkpoint": None}
    assert not [request for request in bench.home.requests if not request.startswith("HEAD")]


@pytest.mark.parametrize("part", ["manifest", "bundle", "data"])
def test_when_the_orders_market_lost_a_part_then_only_that_part_is_delivered_anew(
    tmp_path: Path, part: str
) -> None:
    bench = Bench(tmp_path)
    artifacts = bench.job.artifacts
    lost = artifacts["data"]["many"] if part == "data" else artifacts[part]
    del bench.home.artifacts[lost]
    bench.home.requests.clear()
    delivered = bench.at_home()
    now = delivered["data"]["many"] if part == "data" else delivered[part]
    assert now != lost
    puts = [request for request in bench.home.requests if request.startswith("PUT")]
    assert puts == [f"PUT /v1/artifacts/{now}"]
    assert bench.fetch(bench.home, delivered, tmp_path / "arbiter").is_dir()


def test_when_a_delivery_fails_half_way_then_the_next_one_sends_the_rest(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    item = bench.store.inputs / "data" / "one"
    item.write_bytes(b"damaged")
    with pytest.raises(ProviderFault):
        bench.deliver()
    sent = set(bench.other.artifacts)
    assert sent
    item.write_bytes(b"numbers")
    delivered = bench.deliver()
    assert sent < set(bench.other.artifacts)
    assert len(bench.other.artifacts) == 2 + len(delivered["data"])


def test_when_a_market_does_not_say_what_it_has_then_nothing_is_uploaded(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.home.away = True
    with pytest.raises(NetworkFailed):
        bench.at_home()
