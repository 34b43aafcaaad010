"""The bounded provider against a server that misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from web3.types import RPCEndpoint

from contracts.rpc import AnswerTooLarge, BoundedProvider, RpcUnreachable

METHOD = RPCEndpoint("eth_chainId")
Handler = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], str]]:
    """Start a server that answers every POST with a function; returns its URL."""
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def start(answer: Handler) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/secret-api-key"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(body: bytes, status: int = 200, **headers: str) -> Handler:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def ask(url: str, **options: float) -> object:
    provider = BoundedProvider(url, **options)  # type: ignore[arg-type]  # ints and floats mixed
    try:
        return provider.make_request(METHOD, [])
    finally:
        provider.close()


def test_when_the_node_answers_then_the_answer_comes_back(
    serve: Callable[[Handler], str],
) -> None:
    url = serve(reply(b'{"jsonrpc":"2.0","id":1,"result":"0x7a69"}'))
    assert ask(url) == {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}
    failing = serve(reply(b'{"error":{"code":-32000,"message":"busy"}}', status=429))
    assert ask(failing) == {"error": {"code": -32000, "message": "busy"}}


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (reply(b"<html>", status=502), "HTTP status 502"),
        (reply(b"not json"), "not JSON"),
        (reply(b"[]"), "not JSON-RPC"),
        (reply(b"{}"), "not JSON-RPC"),
        (reply(b"[" * 100_000), "not JSON"),
        (reply(b'{"result": ' + b"9" * 5000 + b"}"), "not JSON"),
        (reply(b"", status=302, Location="http://127.0.0.1:1/"), "not JSON"),
    ],
)
def test_when_the_answer_is_no_answer_then_the_error_tells_no_secret(
    serve: Callable[[Handler], str], handler: Handler, complaint: str
) -> None:
    with pytest.raises(RpcUnreachable, match=complaint) as failure:
        ask(serve(handler))
    assert "secret-api-key" not in str(failure.value)


def test_when_the_answer_is_too_long_then_it_is_not_read(serve: Callable[[Handler], str]) -> None:
    with pytest.raises(AnswerTooLarge):
        ask(serve(reply(b" " * 10_000)), max_bytes=5000)


def test_when_the_answer_drips_or_never_comes_then_it_ends_in_time(
    serve: Callable[[Handler], str],
) -> None:
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not over.wait(0.01):
                request.wfile.write(b" ")
        except OSError:
            return

    def silent(request: BaseHTTPRequestHandler) -> None:
        over.wait(5)

    try:
        with pytest.raises(RpcUnreachable, match="not complete"):
            ask(serve(drip), timeout_s=0.1)
        with pytest.raises(RpcUnreachable, match="no answer in time"):
            ask(serve(silent), timeout_s=0.1)
    finally:
        over.set()


def test_when_nobody_listens_or_hangs_up_then_the_error_says_so(
    serve: Callable[[Handler], str],
) -> None:
    with pytest.raises(RpcUnreachable, match="connection refused"):
        ask("http://127.0.0.1:1")
    with pytest.raises(RpcUnreachable, match="the connection broke"):
        ask(serve(lambda request: request.connection.close()))


def test_when_shown_then_the_url_keeps_its_secrets() -> None:
    provider = BoundedProvider("https://user:pass@node.example:8545/key?x=y")
    assert repr(provider) == "BoundedProvider(https://node.example:8545)"
    provider.close()


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "localhost:8545"])
def test_when_the_url_is_none_then_it_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="RPC URL"):
        BoundedProvider(url)
