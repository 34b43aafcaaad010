"""Talking HTTP to one marketplace node.

Every request of this module may be sent twice without harm: uploads are content-addressed, orders
are known by their digest, the rest are reads or logins. So a node that is being restarted costs
time, not the job: requests are repeated with a growing pause until `patience_s` has passed.

What a node answers is material to check, never a fact: signatures, digests and the chain decide.
Nothing compressed is asked for or taken: a few bytes could otherwise become gigabytes here. Every
body, and every line of an endless one, has a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import httpx

from client_sdk.errors import InputRejected, MarketMisbehaved, MarketRefused, MarketUnreachable
from client_sdk.protocol.canonical import parse_json
from client_sdk.protocol.errors import ProtocolError

MAX_JSON_BYTES = 8 * 1024 * 1024
FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
BUSY = frozenset({429, 502, 503, 504})
UPLOAD_CHUNK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024
"""Longest line of a stream of events."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Times for one marketplace node, in seconds."""

    connect_s: float = 5.0
    read_s: float = 30.0
    """Longest silence inside one answer."""
    patience_s: float = 60.0
    """How long a node that does not answer is asked again."""


@dataclass(slots=True)
class MarketNode:
    """One marketplace node.

    Parameters
    ----------
    url:
        Base URL without `/v1`.
    transport:
        Replaces the network; tests and users fake it in the same way.
    token:
        Gives the bearer token, or None before login; asked for again after a 401.
    """

    url: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    transport: httpx.BaseTransport | None = None
    token: Callable[[bool], str | None] = lambda renew: None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _http: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputRejected(
                f"market {self.url!r}: not an http or https URL",
                what_to_do="Give --market a URL like https://market.example",
            )
        self.url = self.url.rstrip("/").removesuffix("/v1")
        loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self.url,
            transport=self.transport,
            follow_redirects=False,  # a redirect could carry the token to another host
            trust_env=not loopback,
            headers={"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(self.timeouts.read_s, connect=self.timeouts.connect_s),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        anonymous: bool = False,
        patience_s: float | None = None,
    ) -> dict[str, Any]:
        """Answer of a GET as a JSON object.

        Parameters
        ----------
        anonymous:
            Do not log in for this: what is public needs no account, and a node need not know who
            looks.
        patience_s:
            In place of the node's own.
        """
        return self._json("GET", path, anonymous=anonymous, patience_s=patience_s, params=params)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        anonymous: bool = False,
        patience_s: float | None = None,
    ) -> dict[str, Any]:
        """Answer of a POST as a JSON object."""
        return self._json("POST", path, anonymous=anonymous, patience_s=patience_s, json=dict(body))

    def delete(self, path: str) -> None:
        """Send a DELETE."""
        self._request("DELETE", path)

    def put_file(self, path: str, source: Path) -> None:
        """Upload a file as the body of a PUT."""
        self._request("PUT", path, source=source)

    def get_file(self, path: str, dest: BinaryIO, *, max_bytes: int) -> int:
        """Download a body of at most `max_bytes`; returns its size in bytes.

        The caller checks the content against its hash.
        """

        def fetch() -> int:
            dest.seek(0)
            dest.truncate()
            with self._stream(path, {}) as response:
                for chunk in response.iter_bytes():
                    if dest.tell() + len(chunk) > max_bytes:
                        raise MarketMisbehaved(f"{self.url}{path}: larger than {max_bytes} bytes")
                    dest.write(chunk)
            return dest.tell()

        return self._patiently(fetch)

    @contextmanager
    def events(self, path: str, *, after: int | None = None) -> Iterator[Iterator[str]]:
        """Lines of a stream of server-sent events, after the event with this id.

        Not repeated here: the caller knows where to go on.
        """
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        try:
            with self._stream(path, headers) as response:
                yield _lines(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._request(method, path, **options)
        try:
            content = parse_json(response.content, max_bytes=MAX_JSON_BYTES)
        except ProtocolError as error:
            raise MarketMisbehaved(f"{self.url}{path}: the answer is not JSON") from error
        if not isinstance(content, dict):
            raise MarketMisbehaved(f"{self.url}{path}: the answer is not a JSON object")
        return content

    def _request(
        self,
        method: str,
        path: str,
        *,
        source: Path | None = None,
        anonymous: bool = False,
        patience_s: float | None = None,
        **options: Any,
    ) -> httpx.Response:
        def send() -> httpx.Response:
            headers = {} if anonymous else self._headers(renew=False)
            response = self._send(method, path, source, headers, **options)
            if response.status_code == 401 and headers:
                headers = self._headers(renew=True)
                response = self._send(method, path, source, headers, **options)
            return response

        response = self._patiently(send, patience_s)
        _check_status(response)
        return response

    def _send(
        self,
        method: str,
        path: str,
        source: Path | None,
        headers: dict[str, str],
        **options: Any,
    ) -> httpx.Response:
        if source is None:
            with self._http.stream(method, path, headers=headers, **options) as response:
                return _read_bounded(response)
        size = str(source.stat().st_size)
        headers |= {"Content-Length": size, "Content-Type": "application/octet-stream"}
        with (
            source.open("rb") as stream,
            self._http.stream(method, path, headers=headers, content=_chunks(stream)) as response,
        ):
            return _read_bounded(response)

    @contextmanager
    def _stream(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        headers = self._headers(renew=False) | headers
        with self._http.stream("GET", path, headers=headers) as response:
            if response.status_code >= 400:
                _check_status(_read_bounded(response))
            _require_plain(response)
            yield response

    def _headers(self, *, renew: bool) -> dict[str, str]:
        token = self.token(renew)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _patiently(self, attempt: Callable[[], T], patience_s: float | None = None) -> T:
        """Repeat while the node does not answer or is busy, within `patience_s`."""
        patient_s = self.timeouts.patience_s if patience_s is None else patience_s
        deadline = self.clock() + patient_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = attempt()
                if not (isinstance(result, httpx.Response) and result.status_code in BUSY):
                    return result
                failure: Exception = MarketUnreachable(
                    f"market {self.url} is busy (HTTP {result.status_code})"
                )
            except (httpx.TransportError, httpx.StreamError) as error:
                failure = self._unreachable(error)
                failure.__cause__ = error
            if self.clock() + pause_s >= deadline:
                raise failure
            self.sleep(pause_s)
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    def _unreachable(self, error: Exception) -> MarketUnreachable:
        why = str(error) or type(error).__name__
        return MarketUnreachable(f"market {self.url} does not answer: {why}")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(UPLOAD_CHUNK_BYTES):
        yield chunk


def _read_bounded(response: httpx.Response) -> httpx.Response:
    """The response with its whole body, which may not be longer than `MAX_JSON_BYTES`."""
    _require_plain(response)
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise MarketMisbehaved(f"{response.request.url}: the answer is too long")
    headers = {"Content-Type": response.headers.get("Content-Type", "application/json")}
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(body), request=response.request
    )


def _require_plain(response: httpx.Response) -> None:
    """Refuse a body that would grow when it is unpacked."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise MarketMisbehaved(
            f"{response.request.url}: the answer is compressed ({coding[:20]}), unasked"
        )


def _lines(response: httpx.Response) -> Iterator[str]:
    """Lines of a body without end, each of at most `MAX_LINE_BYTES`."""
    rest = b""
    for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")
        if len(rest) > MAX_LINE_BYTES:
            raise MarketMisbehaved(f"{response.request.url}: an event without end")
    if rest:
        yield rest.decode(errors="replace")


def _check_status(response: httpx.Response) -> None:
    if response.status_code < 300:
        return
    code, message, what_to_do = "unknown", f"HTTP {response.status_code}", ""
    try:
        content: Any = parse_json(response.content, max_bytes=MAX_JSON_BYTES)
        error = content["error"]
        code, message = str(error["code"]), str(error["message"])
        what_to_do = str(error.get("what_to_do") or "")
    except (ProtocolError, KeyError, TypeError, AttributeError):
        pass  # a proxy's page: the status says what there is to say
    raise MarketRefused(response.status_code, code, message[:500], what_to_do[:500])
