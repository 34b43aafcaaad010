"""Bytes from strangers: artifacts, checkpoints, audits, histories."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk import sealing
from client_sdk.protocol.bundle import pack_file, pack_folder
from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.manifest import DataItem, DataKind
from contracts.events import Opened
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import make_checkpoint
from worker_agent.checkpoints import checkpoint_hash
from worker_agent.errors import BadArtifact, BadCheckpoint, MarketRefused, RejectedInput
from worker_agent.exchange import AuditKind, parse_artifacts, parse_audit, parse_base64
from worker_agent.history import history_of, terms_of
from worker_agent.inputs import fetch_checkpoint, fetch_inputs, load_inputs

ADDRESS = parties.AUDITOR.address


@pytest.fixture
def market() -> FakeMarket:
    return FakeMarket(FakeChain(parties.ARBITER.address))


def with_data(tmp_path: Path, market: FakeMarket) -> parties.Job:
    """A job with one data file and one data folder."""
    source = tmp_path / "source"
    (source / "many").mkdir(parents=True)
    (source / "one.bin").write_bytes(b"numbers")
    (source / "many" / "a.txt").write_text("a")
    packed = {"one": io.BytesIO(), "many": io.BytesIO()}
    archives = {
        "one": pack_file(source / "one.bin", "one", packed["one"]),
        "many": pack_folder(source / "many", packed["many"]),
    }
    kinds = {"one": DataKind.FILE, "many": DataKind.FOLDER}
    items = tuple(
        DataItem(name=name, kind=kinds[name], hash=archives[name].hash, size=archives[name].size)
        for name in sorted(packed)
    )
    job = parties.make_job(tmp_path, market, data=items)
    for name, content in packed.items():
        sealed = sealing.encrypt(job.key, content.getvalue(), f"data:{name}".encode())
        job.artifacts["data"][name] = market.put(sealed)
    return job


def test_when_inputs_are_fetched_then_they_lie_where_the_job_will_see_them(
    tmp_path: Path, market: FakeMarket
) -> None:
    job = with_data(tmp_path, market)
    folder, job_hash = tmp_path / "inputs", job.manifest.job_hash()
    client = market.connect("0x1")
    found = fetch_inputs(
        client, parse_artifacts(job.artifacts), job.key, job_hash, folder, tmp_path
    )
    assert found.manifest == job.manifest
    assert (found.code / "train.py").read_text() == "print('secret code')\n"
    assert (found.data / "one").read_bytes() == b"numbers"
    assert (found.data / "many" / "a.txt").read_text() == "a"
    code = (found.code / "train.py").stat().st_size
    assert found.size_bytes() == code + sum(item.size for item in job.manifest.data)
    wheels = tmp_path / "wheels"
    (wheels / "package").mkdir(parents=True)
    (wheels / "package" / "module.py").write_text("x = 1\n")
    assert replace(found, image=wheels).size_bytes() == found.size_bytes() + 6
    market.requests.clear()
    again = fetch_inputs(
        client, parse_artifacts(job.artifacts), job.key, job_hash, folder, tmp_path
    )
    assert again == found == load_inputs(folder, job_hash)
    assert market.requests == []  # complete inputs are not fetched twice
    assert load_inputs(folder, b"\1" * 32) is None


@pytest.mark.parametrize("broken", ["key", "data", "missing", "place"])
def test_when_an_input_is_wrong_then_nothing_counts_as_complete(
    tmp_path: Path, market: FakeMarket, broken: str
) -> None:
    job = with_data(tmp_path, market)
    key = job.key
    if broken == "key":
        key = bytes(32)
    elif broken == "data":
        fake = sealing.encrypt(job.key, b"other data", b"data:one")
        job.artifacts["data"]["one"] = market.put(fake)
    elif broken == "missing":
        del job.artifacts["data"]["one"]
    else:  # right bytes in the wrong place
        job.artifacts["data"]["one"] = job.artifacts["bundle"]
    folder, job_hash = tmp_path / "inputs", job.manifest.job_hash()
    with pytest.raises((BadArtifact, MarketRefused)):
        fetch_inputs(
            market.connect("0x1"), parse_artifacts(job.artifacts), key, job_hash, folder, tmp_path
        )
    assert load_inputs(folder, job_hash) is None


def test_when_a_checkpoint_is_fetched_then_its_hash_is_that_of_its_bytes(
    tmp_path: Path, market: FakeMarket
) -> None:
    source, key = tmp_path / "segment", sealing.new_job_key()
    source.mkdir()
    tensors, state, digest = make_checkpoint([1.0] * 8, 4)
    (source / "checkpoint.safetensors").write_bytes(tensors)
    (source / "state.json").write_bytes(state)
    packed = io.BytesIO()
    pack_folder(source, packed)
    address = market.put(sealing.encrypt(key, packed.getvalue(), b"checkpoint:3"))
    client = market.connect("0x1")
    folder = fetch_checkpoint(client, address, key, 3, tmp_path / "got", 1000)
    assert checkpoint_hash(folder) == digest
    with pytest.raises(BadArtifact):  # bound to its segment
        fetch_checkpoint(client, address, key, 4, tmp_path / "other", 1000)


def tensor_file(header: Any, data: bytes = b"\0" * 8) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        tensor_file(b"[1]"),
        tensor_file(b"{"),
        tensor_file({"a": {**ENTRY, "dtype": "PICKLE"}}),
        tensor_file({"a": {**ENTRY, "shape": [3]}}),
        tensor_file({"a": {**ENTRY, "shape": [-2]}}),
        tensor_file({"a": {**ENTRY, "data_offsets": [4, 12]}}),
        tensor_file({"a": {**ENTRY, "data_offsets": [8, 0]}}),
        tensor_file({"a": ENTRY, "b": ENTRY}),
        tensor_file({"a": ENTRY}, b"\0" * 16),
        tensor_file({"a": 7}),
        tensor_file(b"[" * 100_000),
    ],
)
def test_when_a_tensor_file_is_malformed_then_it_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    (tmp_path / "state.json").write_bytes(make_checkpoint([0.0] * 8, 0)[1])
    with pytest.raises(BadCheckpoint):
        checkpoint_hash(tmp_path)


@pytest.mark.parametrize("state", [b"", b"[]", b'{"schema": "x"}', b"{" * 50_000])
def test_when_a_state_file_is_malformed_then_it_is_refused(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(make_checkpoint([0.0] * 8, 0)[0])
    (tmp_path / "state.json").write_bytes(state)
    with pytest.raises(BadCheckpoint):
        checkpoint_hash(tmp_path)


URL = "http://market.test"
AUDIT: dict[str, Any] = {
    "audit_id": "aud_01M8498KNAF9QBYEWW1M2N52KT",
    "kind": "audit",
    "state": "assigned",
    "lease_id": "0x" + "11" * 32,
    "segment": 3,
    "auditor": ADDRESS,
    "auditor_key": {
        "schema": "gridlease/auditor-key/1",
        "auditor": ADDRESS,
        "encryption_key": "0x" + "22" * 32,
        "hardware_class": "0x" + "44" * 32,
        "issued_at": 1,
        "expires_at": 2,
    },
    "auditor_key_signature": "0x" + "55" * 65,
    "commit": {"root": "0x" + "33" * 32, "up_to": 5},
    "inputs": None,
    "reported": False,
    "opening": None,
    "extra": "keys of a later market are passed over",
}


def test_when_an_audit_is_read_then_every_field_is_checked() -> None:
    task = parse_audit(AUDIT, URL)
    assert (task.kind, task.segment, task.auditor) == (AuditKind.AUDIT, 3, ADDRESS)
    assert task.pool is None
    drawn = parse_audit({**AUDIT, "draw": {"auditors": [ADDRESS.lower()], "num_samples": 1}}, URL)
    assert drawn.pool == (ADDRESS,)


@pytest.mark.parametrize(
    "change",
    [
        {"audit_id": "../x"},
        {"kind": "execution"},
        {"state": "done"},
        {"lease_id": "0x12"},
        {"segment": -1},
        {"segment": 70_000},
        {"auditor": "me"},
        {"auditor_key": None},
        {"auditor_key": "0x" + "22" * 32},
        {"auditor_key_signature": None},
        {"auditor_key_signature": "0xz"},
        {"commit": {}},
        {"reported": 1},
        {"opening": {"schema": "x"}},
        {"inputs": {"sealed_key": "!!", "artifacts": {}}},
    ],
)
def test_when_an_audit_is_malformed_then_it_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RejectedInput):
        parse_audit({**AUDIT, **change}, URL)
    with pytest.raises(RejectedInput):
        parse_audit([change], URL)


def test_when_base64_or_addresses_are_malformed_then_they_are_refused() -> None:
    assert parse_base64("YWJj", "key", 10) == b"abc"
    for value in (7, "a", "YWJj" * 10, "YWJj" * 4):
        with pytest.raises(MessageError):
            parse_base64(value, "key", 10)
    with pytest.raises(MessageError):
        parse_artifacts({"manifest": "xyz", "bundle": "00" * 32, "data": {}})


def test_when_a_lease_was_never_opened_then_it_has_no_history() -> None:
    with pytest.raises(RejectedInput, match="is not open"):
        history_of(b"\1" * 32, [])


def test_when_the_opening_is_read_then_its_terms_hash_to_the_lease(world: Any) -> None:
    lease_id = world.start_lease(parties.make_job(world.folder, world.market))
    (opened,) = [e for e in world.chain.events(0, world.chain.head()) if isinstance(e, Opened)]
    history = history_of(lease_id, [opened])
    assert terms_of(opened).lease_id(world.chain.domain) == lease_id
    with pytest.raises(RejectedInput, match="has this root"):
        history.commit_with_root(b"\1" * 32)


@pytest.mark.parametrize("what", ["code", "file", "folder"])
def test_when_an_archive_holds_something_else_then_it_is_refused(
    tmp_path: Path, market: FakeMarket, what: str
) -> None:
    # Right key, right place, right address: only the hash in the manifest tells.
    job = with_data(tmp_path, market)
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.py").write_text("print('b')\n")
    packed = io.BytesIO()
    if what == "file":
        pack_file(other / "train.py", "one", packed)
    else:
        pack_folder(other, packed)
    place = {"code": b"bundle", "file": b"data:one", "folder": b"data:many"}[what]
    address = market.put(sealing.encrypt(job.key, packed.getvalue(), place))
    if what == "code":
        job.artifacts["bundle"] = address
    else:
        job.artifacts["data"][place.decode().removeprefix("data:")] = address
    folder, job_hash = tmp_path / "inputs", job.manifest.job_hash()
    with pytest.raises(BadArtifact):
        fetch_inputs(
            market.connect("0x1"),
            parse_artifacts(job.artifacts),
            job.key,
            job_hash,
            folder,
            tmp_path,
        )
    assert load_inputs(folder, job_hash) is None
