"""A few calls to the development chain's own interface, beyond what any EVM chain has."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx

from client_sdk.errors import ChainFailed


class DevelopmentChain:
    """JSON-RPC of anvil on the loopback interface.

    Safe to share between threads.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self._url = url
        # No proxy from the environment: this is our own child on the loopback interface.
        self._http = httpx.Client(timeout=timeout_s, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, *params: object) -> Any:
        """Result of one call.

        Raises
        ------
        ChainFailed
            No answer, or an error in the answer.
        """
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            answer = self._http.post(self._url, json=body).json()
        except (httpx.HTTPError, ValueError) as error:
            raise ChainFailed(f"{method}: the chain does not answer: {error}") from error
        if "error" in answer:
            raise ChainFailed(f"{method}: {answer['error'].get('message', answer['error'])}")
        return answer["result"]

    def chain_id(self) -> int | None:
        """Chain id; None when nothing answers."""
        try:
            return int(self.call("eth_chainId"), 16)
        except ChainFailed:
            return None

    def fund(self, address: str, wei: int) -> None:
        """Set an account's balance of the chain's own coin."""
        self.call("anvil_setBalance", address, hex(wei))

    def balance(self, address: str) -> int:
        """Balance of the chain's own coin in wei."""
        return int(self.call("eth_getBalance", address, "latest"), 16)

    def dump(self) -> bytes:
        """The whole chain as JSON, as `anvil --load-state` reads it."""
        packed = bytes.fromhex(str(self.call("anvil_dumpState")).removeprefix("0x"))
        return one_genesis(gzip.decompress(packed))


def one_genesis(dump: bytes) -> bytes:
    """A dump with the chain's own first block only.

    anvil 1.7.1 makes a first block at every start, also when it loads a state, and dumps it beside
    the loaded one; the next load would take either. The chain's own is the oldest.
    """
    state = json.loads(dump)
    blocks = state.get("blocks") or []
    first = [block for block in blocks if _number(block, "number") == 0]
    if len(first) < 2:
        return dump
    oldest = min(first, key=lambda block: _number(block, "timestamp"))
    state["blocks"] = [block for block in blocks if block is oldest or block not in first]
    return json.dumps(state, separators=(",", ":")).encode()


def _number(block: dict[str, Any], key: str) -> int:
    return int(block["header"][key], 16)
