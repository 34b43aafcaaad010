"""The worker's side of a market's HTTP interface.

Everything a market says is input from a stranger: bodies are bounded, shapes are checked where they
are read, and nothing here decides about money. Logs in by itself when the session has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from client_sdk.protocol.canonical import parse_json
from client_sdk.protocol.errors import ProtocolError
from worker_agent.errors import ArtifactTooLarge, MarketRefused, MarketUnreachable

log = logging.getLogger(__name__)
MAX_JSON_BYTES = 4 * 1024 * 1024
_CHUNK = 1 << 20
Json = dict[str, Any]


class Login(Protocol):
    """Makes the signed login message for one market.

    Takes the market's facts (``GET /v1/market``) and a fresh nonce; gives message and signature.
    """

    def __call__(self, facts: Json, nonce: str) -> tuple[str, str]: ...


class Market:
    """One market node.

    Parameters
    ----------
    url:
        Base URL without ``/v1``.
    login:
        Signs the login message with this worker's account.
    timeout_s:
        Limit for connecting, and for each read and write, in seconds.
    """

    def __init__(
        self,
        url: str,
        login: Login,
        timeout_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._login = login
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout_s,
            transport=transport,
            headers={"accept-encoding": "identity"},
        )
        self._token: str | None = None
        self._facts: Json | None = None
        self._facts_until = 0.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def facts(self) -> Json:
        """What the market says about itself; kept for a minute."""
        if self._facts is None or time.monotonic() > self._facts_until:
            self._facts = self.get("/v1/market", auth=False)
            self._facts_until = time.monotonic() + 60
        return self._facts

    def get(self, path: str, auth: bool = True, **query: object) -> Json:
        """GET a JSON object; of a list in the query, each item is a parameter."""
        params = {
            key: [str(item) for item in value] if isinstance(value, list) else str(value)
            for key, value in query.items()
            if value is not None
        }
        return self._call("GET", path, None, auth, params)

    def post(self, path: str, body: Mapping[str, Any], auth: bool = True) -> Json:
        """POST a JSON object and read the JSON object of the answer."""
        return self._call("POST", path, body, auth, {})

    def delete(self, path: str) -> None:
        """DELETE an object."""
        self._call("DELETE", path, None, True, {})

    def withdraw_offer(self, digest: str) -> None:
        """Take an own offer down."""
        self.delete(f"/v1/offers/{quote(digest)}")

    def put_artifact(self, address: str, path: Path) -> None:
        """Store a ciphertext under its hash; storing it again changes nothing."""
        self._request(
            "PUT",
            f"/v1/artifacts/{quote(address)}",
            True,
            body=lambda: _chunks(path),
            headers={
                "content-type": "application/octet-stream",
                "content-length": str(path.stat().st_size),
            },
        ).read()

    def has_artifact(self, address: str) -> bool:
        """Whether the market says that it holds a ciphertext that this account may read."""
        try:
            self._request("HEAD", f"/v1/artifacts/{quote(address)}", True)
        except MarketRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    def fetch_artifact(self, address: str, path: Path, max_bytes: int) -> None:
        """Fetch a ciphertext into a file.

        Raises
        ------
        MarketRefused
            The artifact is unknown, or (``ArtifactTooLarge``) larger than ``max_bytes``.
        """
        url = f"/v1/artifacts/{quote(address)}"
        for last_try in (False, True):
            try:
                with self._http.stream("GET", url, headers=self._headers(True)) as answer:
                    if answer.status_code == 401 and not last_try:
                        self._token = None
                        continue
                    if answer.status_code != 200:
                        raise _refusal(answer.status_code, _bounded(answer))
                    _save(answer, path, max_bytes)
                    return
            except httpx.HTTPError as error:
                raise MarketUnreachable(f"{self.url}: {error!r}") from error

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        auth: bool,
        params: Mapping[str, str | list[str]],
    ) -> Json:
        answer = self._request(method, path, auth, json=body, params=params)
        if answer.status_code == 204 or not answer.content:
            return {}
        try:
            # Not the library's own reader: deep nesting must not reach it.
            value = parse_json(answer.content, max_bytes=MAX_JSON_BYTES)
        except ProtocolError as error:
            raise MarketUnreachable(f"{self.url}{path} answered without JSON") from error
        if not isinstance(value, dict):
            raise MarketUnreachable(f"{self.url}{path} answered without a JSON object")
        return value

    def _request(
        self,
        method: str,
        path: str,
        auth: bool,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str | list[str]] | None = None,
        body: Callable[[], Iterator[bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        for last_try in (False, True):
            try:
                request = self._http.build_request(
                    method,
                    path,
                    json=json,
                    params=params or None,
                    content=body() if body else None,
                    headers={**self._headers(auth), **(headers or {})},
                )
                answer = self._http.send(request, stream=True)
                try:
                    content = _bounded(answer)
                finally:
                    answer.close()
            except httpx.HTTPError as error:
                raise MarketUnreachable(f"{self.url}: {error!r}") from error
            if answer.status_code == 401 and auth and not last_try:
                self._token = None
                continue
            if answer.status_code >= 400:
                raise _refusal(answer.status_code, content)
            return httpx.Response(answer.status_code, content=content)
        raise AssertionError("the second try answers or raises")

    def _headers(self, auth: bool) -> dict[str, str]:
        if not auth:
            return {}
        with self._lock:
            if self._token is None:
                self._token = self._new_session()
            return {"authorization": f"Bearer {self._token}"}

    def _new_session(self) -> str:
        nonce = str(self.post("/v1/auth/nonce", {}, auth=False).get("nonce", ""))
        message, signature = self._login(self.facts(), nonce)
        answer = self.post(
            "/v1/auth/login", {"message": message, "signature": signature}, auth=False
        )
        token = answer.get("token")
        if not isinstance(token, str) or not 8 <= len(token) <= 4096 or not token.isprintable():
            raise MarketUnreachable(f"{self.url} gave no session token")
        return token


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _bounded(answer: httpx.Response) -> bytes:
    """Read a whole body, which must be small."""
    _require_plain(answer)
    content = bytearray()
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > MAX_JSON_BYTES:
            raise MarketUnreachable(f"{answer.url} answered more than {MAX_JSON_BYTES} bytes")
    return bytes(content)


def _require_plain(answer: httpx.Response) -> None:
    """Refuse a body that would grow when it is unpacked."""
    coding = answer.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise MarketUnreachable(f"{answer.url} answered compressed ({coding[:20]}), unasked")


def _save(answer: httpx.Response, path: Path, max_bytes: int) -> None:
    """Write a body to a file, through a temporary name."""
    _require_plain(answer)
    announced = answer.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise ArtifactTooLarge(max_bytes)
    temporary = path.with_name(path.name + ".part")
    size = 0
    try:
        with temporary.open("wb") as file:
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > max_bytes:
                    raise ArtifactTooLarge(max_bytes)
                file.write(chunk)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _refusal(status: int, content: bytes) -> MarketRefused:
    """Build the error of an answer; unknown shapes give a general one."""
    code, message = "unknown", "the market gave no reason"
    try:
        answer: Any = parse_json(content, max_bytes=MAX_JSON_BYTES)
        error = answer["error"]
        code, message = str(error["code"])[:64], str(error["message"])[:300]
    except (ProtocolError, KeyError, TypeError):
        log.debug("an error answer of unknown shape, status %d", status)
    return MarketRefused(status, code, message)
