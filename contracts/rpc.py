"""JSON-RPC over HTTP to a node that is not trusted: bounded in time, in bytes, and in where it may
send us.

*Covered:* slow or endless answers, huge answers, redirects, answers that are not JSON. *Not
covered:* whether an answer is true; callers validate what they use, and only confirmations and
other nodes tell lies from truth.
"""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from web3.providers import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from contracts import plain_json

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""Longest answer that is read; a full range of event logs stays far below."""


class RpcUnreachable(Exception):
    """The node did not give a usable answer in time."""


class AnswerTooLarge(RpcUnreachable):
    """The node's answer is longer than we read."""


class BoundedProvider(JSONBaseProvider):
    """A web3 provider over one pooled, thread-safe HTTP client.

    Unlike web3's own HTTP provider it bounds the whole exchange (not only each read), caps the
    answer's size and never follows a redirect, which could leak the URL's API key to another host.

    Parameters
    ----------
    timeout_s:
        For one whole request, in seconds.
    """

    def __init__(
        self, url: str, *, timeout_s: float = 10.0, max_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        super().__init__()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an RPC URL starts with http:// or https:// and names a host")
        self.endpoint: Final = f"{parts.scheme}://{parts.hostname}" + (
            f":{parts.port}" if parts.port else ""
        )
        self._url = url
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=not loopback,  # a proxy cannot reach our own loopback
            headers={"Content-Type": "application/json"},
        )

    def __repr__(self) -> str:
        # The URL's path and user part may hold an API key.
        return f"{type(self).__name__}({self.endpoint})"

    def close(self) -> None:
        self._client.close()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send one request; a JSON-RPC error is part of the returned answer.

        Raises
        ------
        RpcUnreachable
            No connection, no answer in time, too large an answer, or one that is no JSON-RPC
            answer.
        """
        body = self.encode_rpc_request(method, params)
        answer = self._parse(self._post(body))
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise RpcUnreachable("the answer is not JSON-RPC: is this the URL of an Ethereum node?")
        return answer  # type: ignore[return-value]  # shape checked above; the content is the caller's to check

    def _post(self, body: bytes) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        received = bytearray()
        try:
            with self._client.stream("POST", self._url, content=body) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > self._max_bytes:
                        raise AnswerTooLarge(f"the answer is longer than {self._max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise RpcUnreachable(
                            f"the answer was not complete after {self._timeout_s:g} s"
                        )
                status = response.status_code
        except httpx.HTTPError as error:
            # The library's text may quote the URL with its API key: tell only the kind of failure.
            raise RpcUnreachable(_reason(error)) from None
        if status >= 400 and not received.startswith(b"{"):
            raise RpcUnreachable(f"HTTP status {status}")
        return bytes(received)

    @staticmethod
    def _parse(body: bytes) -> Any:
        try:
            return plain_json.parse(body)
        except ValueError:
            raise RpcUnreachable(
                "the answer is not JSON: is this the URL of an Ethereum node?"
            ) from None


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, httpx.ConnectError):
        return "connection refused or host unknown"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return f"the connection broke ({type(error).__name__})"
