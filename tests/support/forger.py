"""A second marketplace node that lies: it serves what a test gives it, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Answers = Callable[[str, str], Any]
"""What a node says to a method and a path; nothing for 404."""


@contextmanager
def lying_node(answers: Answers) -> Iterator[str]:
    """Serve made-up JSON; gives the node's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer("POST")

        def _answer(self, method: str) -> None:
            said = answers(method, self.path.partition("?")[0])
            body = json.dumps(said).encode()
            self.send_response(404 if said is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def forging_node(offers: list[dict[str, Any]]) -> Iterator[str]:
    """Serve these offers; gives the node's URL."""
    with lying_node(lambda _method, _path: {"offers": offers, "hint": None}) as url:
        yield url


class LyingRelayer:
    """A node that asks next to nothing for carrying calls, says it has, and does nothing."""

    def __init__(self, token: str) -> None:
        self.asked: list[str] = []
        self._token = token
        self._url = ""

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve it; gives the node's URL."""
        with lying_node(self._say) as url:
            self._url = url
            yield url

    def _say(self, method: str, path: str) -> Any:
        if method == "POST" and path.startswith("/v1/relays/"):
            self.asked.append(path)
            return {"request_id": "evt_1", "state": "queued"}
        return {
            "/v1/offers": {"offers": [], "hint": None},
            "/v1/market": {
                "login": {"domain": self._url.removeprefix("http://"), "uri": self._url},
                "relay": [{"token": self._token, "open_fee": "1", "min_withdrawal": "1"}],
            },
            "/v1/auth/nonce": {"nonce": "n0nce123"},
            "/v1/auth/login": {"token": "t", "expires_at": "2100-01-01T00:00:00+00:00"},
            "/v1/relays/evt_1": {"state": "confirmed", "transactions": ["0x" + "11" * 32]},
        }.get(path)


class TamperingNode(httpx.BaseTransport):
    """The real node, but its answers to some paths are changed on the way.

    Parameters
    ----------
    change:
        Receives the path and the answer's JSON; returns the JSON to pass on.
    """

    def __init__(self, change: Callable[[str, Any], Any]) -> None:
        self._inner = httpx.HTTPTransport()
        self._change = change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if "json" not in response.headers.get("content-type", ""):
            return response
        body = self._change(request.url.path, json.loads(response.read()))
        return httpx.Response(response.status_code, json=body, request=request)

    def close(self) -> None:
        self._inner.close()
