"""What other people can see of a job: through the API as a stranger, and in the store itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from client_sdk.fetching import listed
from tests.support.stack import Renter, Stack, finish

pytestmark = pytest.mark.timeout(600)
SECRET = "the-secret-word-of-this-renter"
SCRIPT = f"""
# {SECRET}
import pathlib
print(pathlib.Path("/data/words").read_text())
pathlib.Path("model.txt").write_text("{SECRET}")
"""
SPEC = """
name: private
entry: train.py
data: {words: words.txt}
segments: {seconds: 3, max: 5}
verification: metered
audit: none
budget: "0.05"
max_duration: 5m
outputs: {paths: ["*.txt"]}
"""


@pytest.fixture(scope="module")
def finished(make_renter: Callable[..., Renter], tmp_path_factory: pytest.TempPathFactory):
    """A job whose code, data, log and output all hold one secret word."""
    renter = make_renter()
    folder: Path = tmp_path_factory.mktemp("private")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "words.txt").write_text(SECRET)
    (folder / "job.yaml").write_text(SPEC)
    job = renter.client.run(folder / "job.yaml")
    finish(job)
    assert SECRET in "".join(job.logs())
    job.artifacts()
    output = renter.client.home.artifacts(job.id) / "output" / "model.txt"
    assert output.read_text() == SECRET
    return renter, job


def paths(renter: Renter, job) -> list[str]:
    found = [
        f"/v1/artifacts/{item.hash}" for item in listed(renter.client.markets.nodes[0], job.id)
    ]
    assert len(found) >= 4
    views = ["", "/logs?follow=false", "/artifacts", "/receipt"]
    return (
        found
        + [f"/v1/jobs/{job.id}{view}" for view in views]
        + [f"/v1/orders/{job.record.order_id}"]
    )


def test_when_another_tenant_asks_then_nothing_is_found(
    finished, make_renter: Callable[..., Renter]
) -> None:
    renter, job = finished
    stranger = make_renter()
    node = stranger.client.markets.nodes[0]
    token = node.token(True)
    for path in paths(renter, job):
        answer = httpx.get(
            node.url + path, headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )
        assert answer.status_code == 404, path
    jobs = node.get("/v1/jobs")["jobs"]
    assert jobs == []


def test_when_nobody_is_logged_in_then_nothing_is_given(finished) -> None:
    renter, job = finished
    for path in paths(renter, job):
        answer = httpx.get(renter.client.markets.nodes[0].url + path, trust_env=False)
        assert answer.status_code in (401, 404), path
        assert SECRET not in answer.text


def test_when_the_store_and_the_database_are_read_then_they_hold_no_plaintext(
    finished, stack: Stack
) -> None:
    secret = SECRET.encode()
    read = 0
    for path in [*stack.folder.market.rglob("*"), *stack.folder.valkey.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            read += len(content)
            assert secret not in content, path
    assert read > 10_000
