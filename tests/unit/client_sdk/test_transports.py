from __future__ import annotations

import gzip
import io
import json

import httpx
import pytest

from client_sdk.errors import InputRejected, MarketMisbehaved, MarketRefused, MarketUnreachable
from client_sdk.transports import MAX_JSON_BYTES, MarketNode, Timeouts


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def node(handler, clock=None, **options) -> MarketNode:
    clock = clock or Clock()
    return MarketNode(
        "http://market.test/v1/",
        transport=httpx.MockTransport(handler),
        sleep=clock.sleep,
        clock=clock,
        **options,
    )


def test_when_the_url_is_not_http_then_it_is_refused():
    with pytest.raises(InputRejected, match="not an http"):
        MarketNode("ftp://market.test")


def test_when_the_url_ends_in_v1_then_it_is_not_doubled():
    seen = []
    market = node(lambda request: seen.append(str(request.url)) or httpx.Response(200, json={}))
    market.get("/v1/market")
    assert seen == ["http://market.test/v1/market"]


def test_when_the_node_is_down_for_a_while_then_the_request_is_repeated():
    clock = Clock()

    def handler(request):
        if clock.now < 2:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"ok": 1})

    assert node(handler, clock).get("/v1/health") == {"ok": 1}
    assert clock.pauses == sorted(clock.pauses)


def test_when_the_node_stays_down_then_patience_ends():
    clock = Clock()

    def handler(request):
        raise httpx.ConnectError("refused")

    with pytest.raises(MarketUnreachable, match=r"market\.test does not answer: refused"):
        node(handler, clock, timeouts=Timeouts(patience_s=10)).get("/v1/health")
    assert clock.now <= 10


def test_when_the_node_is_busy_then_it_is_asked_again():
    answers = iter([httpx.Response(503), httpx.Response(429), httpx.Response(200, json={"a": 2})])
    assert node(lambda request: next(answers)).post("/v1/orders", {}) == {"a": 2}


def test_when_the_node_refuses_then_code_and_advice_are_kept():
    error = {"error": {"code": "order_opened", "message": "too late", "what_to_do": "cancel"}}
    with pytest.raises(MarketRefused, match="too late") as caught:
        node(lambda request: httpx.Response(409, json=error)).delete("/v1/orders/x")
    assert (caught.value.status, caught.value.code) == (409, "order_opened")
    assert caught.value.what_to_do == "cancel"


def test_when_a_proxy_answers_with_a_page_then_the_status_is_said():
    with pytest.raises(MarketRefused, match="HTTP 404"):
        node(lambda request: httpx.Response(404, text="<html>")).get("/v1/market")


@pytest.mark.parametrize("body", [b"nonsense", b"[1]", b"{" + b" " * (MAX_JSON_BYTES + 1)])
def test_when_the_answer_is_no_small_json_object_then_the_node_misbehaves(body):
    with pytest.raises(MarketMisbehaved):
        node(lambda request: httpx.Response(200, content=body)).get("/v1/market")


def test_when_the_token_has_expired_then_it_is_renewed_once():
    renewals = []

    def token(renew):
        renewals.append(renew)
        return "new" if any(renewals) else "old"

    def handler(request):
        good = request.headers["Authorization"] == "Bearer new"
        return httpx.Response(200 if good else 401, json={})

    assert node(handler, token=token).get("/v1/jobs") == {}
    assert renewals.count(True) == 1


def test_when_a_request_is_anonymous_then_no_token_is_asked_for():
    def token(renew):
        raise AssertionError("not wanted")

    def handler(request):
        return httpx.Response(200, json={"sent": "Authorization" in request.headers})

    market = node(handler, token=token)
    assert market.get("/v1/offers", anonymous=True) == {"sent": False}
    assert market.post("/v1/auth/nonce", {}, anonymous=True) == {"sent": False}


def test_when_a_redirect_is_answered_then_it_is_not_followed():
    seen = []

    def handler(request):
        seen.append(request.url.host)
        return httpx.Response(302, headers={"Location": "http://evil.test/"})

    with pytest.raises(MarketRefused, match="302"):
        node(handler).get("/v1/jobs")
    assert seen == ["market.test"]


def test_when_a_file_is_uploaded_then_its_bytes_arrive(tmp_path):
    source = tmp_path / "artifact"
    source.write_bytes(b"x" * 3_000_000)
    received = []

    def handler(request):
        received.append((request.headers["Content-Length"], request.read()))
        return httpx.Response(201, json={})

    node(handler).put_file("/v1/artifacts/aa", source)
    assert received == [("3000000", b"x" * 3_000_000)]


def test_when_an_upload_is_cut_then_it_is_sent_again_whole(tmp_path):
    source = tmp_path / "artifact"
    source.write_bytes(b"abc")
    bodies = []

    def handler(request):
        bodies.append(request.read())
        if len(bodies) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(201, json={})

    node(handler).put_file("/v1/artifacts/aa", source)
    assert bodies == [b"abc", b"abc"]


def test_when_a_download_is_cut_then_it_starts_over():
    attempts = []

    def handler(request):
        attempts.append(1)
        if len(attempts) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(200, content=b"whole")

    dest = io.BytesIO()
    assert node(handler).get_file("/v1/artifacts/aa", dest, max_bytes=10) == 5
    assert dest.getvalue() == b"whole"


def test_when_a_download_is_too_large_then_it_is_given_up():
    with pytest.raises(MarketMisbehaved, match="larger than 3 bytes"):
        node(lambda request: httpx.Response(200, content=b"1234")).get_file(
            "/v1/artifacts/aa", io.BytesIO(), max_bytes=3
        )


def test_when_events_are_read_then_the_last_id_is_named():
    seen = []

    def handler(request):
        seen.append(request.headers.get("Last-Event-ID"))
        return httpx.Response(200, text="id: 4\ndata: " + json.dumps({"a": 1}) + "\n\n")

    with node(handler).events("/v1/jobs/x/logs", after=3) as lines:
        assert next(iter(lines)) == "id: 4"
    assert seen == ["3"]


def test_when_the_event_stream_breaks_then_the_node_is_unreachable():
    def handler(request):
        raise httpx.ConnectError("refused")

    with (
        pytest.raises(MarketUnreachable),
        node(handler).events("/v1/jobs/x/logs") as lines,
    ):
        list(lines)


def bomb(num_bytes: int) -> httpx.Response:
    """A short answer that unpacks to a long one."""
    packed = gzip.compress(b" " * num_bytes)
    stream = httpx.ByteStream(packed)
    return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream)


def test_when_something_is_asked_for_then_it_is_asked_for_uncompressed():
    seen = []

    def handler(request):
        seen.append(request.headers["Accept-Encoding"])
        return httpx.Response(200, json={})

    node(handler).get("/v1/market")
    assert seen == ["identity"]


def test_when_an_answer_is_compressed_all_the_same_then_it_is_not_unpacked():
    market = node(lambda request: bomb(1 << 20))
    dest = io.BytesIO()
    with pytest.raises(MarketMisbehaved, match="compressed"):
        market.get("/v1/market")
    with pytest.raises(MarketMisbehaved, match="compressed"):
        market.get_file("/v1/artifacts/aa", dest, max_bytes=1 << 30)
    assert dest.getvalue() == b""
    with pytest.raises(MarketMisbehaved, match="compressed"), market.events("/v1/x") as lines:
        list(lines)


def test_when_an_event_never_ends_then_it_is_given_up():
    class Endless(httpx.SyncByteStream):
        def __iter__(self):
            while True:
                yield b"x" * 65536

    market = node(lambda request: httpx.Response(200, stream=Endless()))
    with pytest.raises(MarketMisbehaved, match="without end"), market.events("/v1/x") as lines:
        list(lines)


def test_when_lines_are_cut_anywhere_then_they_come_out_whole():
    class Pieces(httpx.SyncByteStream):
        def __iter__(self):
            yield from (b"a", b"b\r\n\xc3", b"\xa9\n", b"rest")

    market = node(lambda request: httpx.Response(200, stream=Pieces()))
    with market.events("/v1/x") as lines:
        assert list(lines) == ["ab", "é", "rest"]
