from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from worker_agent.errors import ArtifactTooLarge, MarketRefused, MarketUnreachable
from worker_agent.market import MAX_JSON_BYTES, Market

Handler = Callable[[httpx.Request], httpx.Response]


def market(handler: Handler) -> Market:
    def login(facts: dict[str, Any], nonce: str) -> tuple[str, str]:
        return f"{facts['login']} {nonce}", "0xsigned"

    return Market("http://market", login, transport=httpx.MockTransport(handler))


class Server:
    """Answers logins; everything else goes to ``handler`` once the token is right."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.logins = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/market":
            return httpx.Response(200, json={"login": "domain"})
        if path == "/v1/auth/nonce":
            return httpx.Response(201, json={"nonce": "n0nce"})
        if path == "/v1/auth/login":
            assert b"domain n0nce" in request.content
            self.logins += 1
            return httpx.Response(200, json={"token": f"session-{self.logins}"})
        if request.headers.get("authorization") != f"Bearer session-{self.logins}":
            return httpx.Response(401, json={"error": {"code": "x", "message": "log in"}})
        return self.handler(request)


def test_when_the_session_has_ended_then_it_logs_in_again() -> None:
    server = Server(lambda _: httpx.Response(200, json={"ok": 1}))
    client = market(server)
    assert client.get("/v1/audits", state="assigned") == {"ok": 1}
    server.logins = 7  # the server forgot the session
    assert client.get("/v1/audits") == {"ok": 1}
    assert server.logins == 8


def test_when_the_market_refuses_then_code_and_text_are_kept() -> None:
    error = {"error": {"code": "order_claimed", "message": "late"}}
    client = market(Server(lambda _: httpx.Response(409, json=error)))
    with pytest.raises(MarketRefused, match="409 order_claimed: late") as refused:
        client.post("/v1/orders/x/claim", {})
    assert (refused.value.status, refused.value.code) == (409, "order_claimed")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json=[1]),
        httpx.Response(200, content=b" " * (MAX_JSON_BYTES + 1)),
    ],
)
def test_when_the_answer_is_no_bounded_json_object_then_it_counts_as_no_answer(
    answer: httpx.Response,
) -> None:
    with pytest.raises(MarketUnreachable):
        market(Server(lambda _: answer)).get("/v1/audits")


def test_when_nobody_answers_then_the_error_names_the_market() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(MarketUnreachable, match="http://market"):
        market(refuse).get("/v1/health", auth=False)


def test_when_an_artifact_is_stored_then_it_can_be_fetched(tmp_path: Path) -> None:
    stored: dict[str, bytes] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        address = request.url.path.rsplit("/", 1)[1]
        if request.method == "PUT":
            stored[address] = request.content
            return httpx.Response(201, json={})
        if address not in stored:
            return httpx.Response(404, json={})
        return httpx.Response(200, content=stored[address])

    client = market(Server(handler))
    source, copy = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x" * 3_000_000)
    address = hashlib.sha256(source.read_bytes()).hexdigest()
    client.put_artifact(address, source)
    client.fetch_artifact(address, copy, 3_000_000)
    assert copy.read_bytes() == source.read_bytes()
    with pytest.raises(MarketRefused, match="artifact_too_large"):
        client.fetch_artifact(address, copy, 1000)
    with pytest.raises(MarketRefused, match="404"):
        client.fetch_artifact("nothing", copy, 1000)
    assert not list(tmp_path.glob("*.part"))


def test_when_an_artifact_is_announced_as_too_large_then_nothing_of_it_is_read(
    tmp_path: Path,
) -> None:
    def unread() -> Iterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    announced = httpx.Response(200, headers={"content-length": "1001"}, content=unread())
    with pytest.raises(ArtifactTooLarge):
        market(Server(lambda _: announced)).fetch_artifact("a", tmp_path / "a", 1000)


def test_when_a_market_is_asked_for_an_artifact_then_only_not_found_means_no() -> None:
    status = {"here": 200, "gone": 404, "busy": 429}

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.method == "HEAD"
        return httpx.Response(status[request.url.path.rsplit("/", 1)[1]])

    client = market(Server(handler))
    assert client.has_artifact("here")
    assert not client.has_artifact("gone")
    with pytest.raises(MarketRefused, match="429"):
        client.has_artifact("busy")


def test_when_an_answer_is_compressed_unasked_then_it_is_not_unpacked(tmp_path: Path) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        stream = httpx.ByteStream(gzip.compress(b" " * (1 << 20)))
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)

    client = market(Server(handler))
    with pytest.raises(MarketUnreachable, match="compressed"):
        client.get("/v1/audits")
    with pytest.raises(MarketUnreachable, match="compressed"):
        client.fetch_artifact("aa", tmp_path / "file", 1 << 30)
    assert asked == ["identity", "identity"]
    assert not list(tmp_path.iterdir())
