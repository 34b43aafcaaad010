"""A second marketplace node that lies: it serves what a test gives it, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


@contextmanager
def forging_node(offers: list[dict[str, Any]]) -> Iterator[str]:
    """Serve these offers; gives the node's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"offers": offers, "hint": None}).encode()
            self.send_response(200)
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
