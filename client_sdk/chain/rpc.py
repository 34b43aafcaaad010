"""One JSON-RPC request to the node, with every way it can fail named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from web3.types import RPCEndpoint

from client_sdk.chain import answers
from client_sdk.chain.errors import BadAnswer, ChainUnreachable, RpcRefused
from contracts.rpc import AnswerTooLarge, BoundedProvider, RpcUnreachable

TOO_LARGE_CODE: Final = -32005
"""JSON-RPC code of "limit exceeded" (EIP-1474); also for answers that we refuse to read."""

_MAX_TEXT: Final = 300
_ATTEMPTS: Final = 2


class Transport(Protocol):
    """How requests reach a node; tests put a fake in its place."""

    @property
    def endpoint(self) -> str:
        """Scheme, host and port: what may be shown to people."""

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """Send a request and return its result, which is not checked in any way.

        Raises
        ------
        ChainUnreachable, RpcRefused
        """

    def close(self) -> None:
        """Drop the connections."""


class HttpTransport:
    """Requests over HTTP; thread-safe.

    Parameters
    ----------
    timeout_s:
        For one request, in seconds.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self._provider = BoundedProvider(url, timeout_s=timeout_s)

    @property
    def endpoint(self) -> str:
        return self._provider.endpoint

    def __repr__(self) -> str:
        return f"HttpTransport({self.endpoint})"

    def close(self) -> None:
        self._provider.close()

    def request(self, method: str, params: Sequence[Any]) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                return read_answer(
                    method, self._provider.make_request(RPCEndpoint(method), list(params))
                )
            except AnswerTooLarge as error:
                raise RpcRefused(method, TOO_LARGE_CODE, str(error)) from error
            except RpcUnreachable as error:
                # A restarted node leaves dead pooled connections behind: one fresh try. Repeating
                # is safe for every method used here, a raw transaction included.
                if attempt + 1 == _ATTEMPTS:
                    raise ChainUnreachable(self.endpoint, str(error)) from error
        raise AssertionError("the loop returns or raises")


def read_answer(method: str, answer: Mapping[str, Any]) -> Any:
    """Return the result in a JSON-RPC answer, or raise its error."""
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise BadAnswer(f"{method}: neither a result nor an error")
        return answer["result"]
    if not isinstance(error, dict):
        raise BadAnswer(f"{method}: the error is not an object")
    code = error.get("code")
    text = error.get("message")
    raise RpcRefused(
        method,
        code if isinstance(code, int) and abs(code) < 1 << 31 else 0,
        plain_text(text if isinstance(text, str) else "no reason given"),
        _revert_data(error.get("data")),
    )


def plain_text(text: str) -> str:
    """Untrusted text on one line, bounded, without control characters (terminal escapes)."""
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT])


def _revert_data(value: object) -> bytes | None:
    """Revert data, which nodes put into `error.data` or one level below it."""
    if isinstance(value, dict):
        value = value.get("data", value.get("result"))
    try:
        return answers.data(value, "revert data")
    except BadAnswer:
        return None  # other nodes put prose there
