from __future__ import annotations

import io
import json

import httpx
import pytest

from client_sdk import fetching, sealing
from client_sdk.errors import InputRejected, MarketMisbehaved, NotFound, VerificationFailed
from client_sdk.protocol.bundle import pack_folder
from client_sdk.protocol.receipt import ArtifactKind, ReceiptArtifact
from client_sdk.transports import MarketNode, Timeouts

KEY = b"\x01" * 32
JOB = "job_1"


class Store:
    """A node's artifacts of one job."""

    def __init__(self, tmp_path) -> None:
        self.folder = tmp_path / "store"
        self.folder.mkdir()
        self.listed: list[dict] = []
        self.content: dict[str, bytes] = {}
        self.node = MarketNode(
            "http://m.test", Timeouts(patience_s=0), httpx.MockTransport(self.handle)
        )

    def handle(self, request):
        path = request.url.path
        if path == f"/v1/jobs/{JOB}/artifacts":
            return httpx.Response(200, content=json.dumps({"artifacts": self.listed}))
        return httpx.Response(200, content=self.content[path.rpartition("/")[2]])

    def put(self, kind: str, plain: bytes, aad: str, *, segment=None, key=KEY, address=None):
        sealed = sealing.encrypt(key, plain, aad.encode())
        name = address or sealing.address(sealed)
        self.content[name] = sealed
        self.listed.append(
            {"kind": kind, "name": None, "segment": segment, "hash": name, "size": len(sealed)}
        )


def archive(tmp_path, files: dict[str, str]) -> bytes:
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    out = io.BytesIO()
    pack_folder(folder, out)
    return out.getvalue()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def fetch(store, tmp_path, *, replace=False):
    return fetching.fetch_artifacts(store.node, JOB, KEY, tmp_path / "out", replace=replace)


def test_when_results_are_there_then_the_last_checkpoint_and_the_rest_are_opened(store, tmp_path):
    store.put("checkpoint", archive(tmp_path, {"a": "old"}), "checkpoint:3", segment=3)
    store.put("checkpoint", archive(tmp_path, {"a": "new"}), "checkpoint:11", segment=11)
    store.put("output", archive(tmp_path, {"model": "m"}), "output")
    store.put("trace", b"{}", "trace")
    store.put("manifest", b"{}", "manifest")
    names = {path.name for path in fetch(store, tmp_path)}
    assert names == {"checkpoint-11", "output", "trace.json"}
    out = tmp_path / "out"
    assert (out / "checkpoint-11" / "a").read_text() == "new"
    assert (out / "output" / "model").read_text() == "m"
    assert {path.name for path in out.iterdir()} == names
    assert out.stat().st_mode & 0o777 == 0o700


def test_when_they_are_fetched_again_then_the_old_ones_are_replaced(store, tmp_path):
    store.put("output", archive(tmp_path, {"one": "1"}), "output")
    fetch(store, tmp_path)
    store.listed.clear()
    store.put("output", archive(tmp_path, {"two": "2"}), "output")
    fetch(store, tmp_path, replace=True)
    assert [path.name for path in (tmp_path / "out" / "output").iterdir()] == ["two"]


def test_when_something_lies_in_the_place_of_an_artifact_then_it_stays(store, tmp_path):
    store.put("trace", b"{}", "trace")
    store.put("output", archive(tmp_path, {"one": "1"}), "output")
    mine = tmp_path / "out" / "output" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(InputRejected, match="output: there already; nothing was downloaded"):
        fetch(store, tmp_path)
    assert mine.read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["output"]


def test_when_a_link_lies_in_the_place_of_an_artifact_then_it_is_not_followed(store, tmp_path):
    store.put("trace", b"{}", "trace")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trace.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputRejected, match=r"trace\.json: there already"):
        fetch(store, tmp_path)


def test_when_nothing_is_stored_yet_then_it_is_not_found(store, tmp_path):
    with pytest.raises(NotFound, match="no artifacts yet"):
        fetch(store, tmp_path)


def test_when_the_node_serves_other_bytes_then_they_are_refused(store, tmp_path):
    store.put("trace", b"{}", "trace", address="ab" * 32)
    with pytest.raises(VerificationFailed, match="other bytes"):
        fetch(store, tmp_path)


def test_when_an_artifact_was_sealed_for_another_place_then_it_is_refused(store, tmp_path):
    store.put("checkpoint", archive(tmp_path, {"a": "x"}), "checkpoint:3", segment=4)
    with pytest.raises(VerificationFailed, match="checkpoint-4"):
        fetch(store, tmp_path)


def test_when_an_artifact_was_sealed_by_a_stranger_then_it_is_refused(store, tmp_path):
    store.put("trace", b"{}", "trace", key=b"\x02" * 32)
    with pytest.raises(VerificationFailed):
        fetch(store, tmp_path)


def test_when_an_archive_is_none_then_it_is_refused(store, tmp_path):
    store.put("output", b"x" * 1024, "output")
    with pytest.raises(VerificationFailed, match="output"):
        fetch(store, tmp_path)


@pytest.mark.parametrize("listed", [None, [{}], [{"kind": "checkpoint"}], "x"])
def test_when_the_list_is_malformed_then_the_node_misbehaves(store, listed):
    store.listed = listed
    with pytest.raises(MarketMisbehaved):
        fetching.listed(store.node, JOB)


@pytest.mark.parametrize("name", [None, "", "..", "a/b", "a\\b", "a\0"])
def test_when_a_data_set_has_no_safe_name_then_it_makes_no_path(name):
    artifact = ReceiptArtifact(kind=ArtifactKind.DATA, hash="ab" * 32, size=1, name=name)
    with pytest.raises(MarketMisbehaved):
        fetching.place_of(artifact)


def test_when_kinds_have_places_then_no_two_share_one():
    artifacts = [
        ReceiptArtifact(kind=kind, hash="ab" * 32, size=1, name="d", segment=2)
        for kind in ArtifactKind
    ]
    places = [fetching.place_of(artifact) for artifact in artifacts]
    assert len({place.target for place in places}) == len(places)
    assert len({place.aad for place in places}) == len(places)
