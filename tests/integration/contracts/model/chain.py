"""The contract's side: a development chain whose time and blocks the test decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any, Final

from client_sdk.protocol.addresses import checksum_address
from contracts.bindings import Call, ContractError, View, decode_error
from contracts.codec import Artifact

_GAS: Final = hex(16_000_000)


class DevChain:
    """One anvil that makes a block when it is told to. Gas costs nothing, so that balances in the
    chain's own coin can be foretold.
    """

    def __init__(self, port: int) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=30)
        self._answers: dict[Any, tuple[str, Any]] = {}
        self.chain_id = int(self.rpc("eth_chainId"), 16)
        self.rpc("evm_setAutomine", False)
        self.rpc("anvil_autoImpersonateAccount", True)
        self.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")

    def close(self) -> None:
        self._http.close()

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self._post(_request(method, *params))
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def deploy(self, artifact: Artifact, sender: str, at: int, *arguments: Any) -> str:
        code = artifact.creation_code(*arguments)
        receipt = self._mine(_transaction(sender, code), at)
        return checksum_address(receipt["contractAddress"])

    def ask(self, sender: str, call: Call, at: int) -> ContractError | None:
        """Say how the call would fail at block time `at`; None when it would not."""
        transaction = _transaction(sender, call.data, call)
        answer = self._post(_request("eth_call", transaction, "latest", {}, {"time": hex(at)}))
        if "error" not in answer:
            return None
        data = answer["error"].get("data")
        assert isinstance(data, str), answer["error"]
        return decode_error(_bytes(data))

    def send(self, sender: str, call: Call, at: int) -> None:
        """Have the call mined at block time `at`."""
        receipt = self._mine(_transaction(sender, call.data, call), at)
        assert receipt["status"] == "0x1", f"{call.name} failed only when it was sent"

    def read(self, views: Mapping[Any, View[Any]]) -> dict[Any, Any]:
        """Ask all views at once; answers by the views' keys. What did not change since the last
        time is not decoded again.
        """
        questions = [_question(view) | {"id": i} for i, view in enumerate(views.values())]
        answers = sorted(self._post(questions), key=lambda answer: answer["id"])
        for (key, view), answer in zip(views.items(), answers, strict=True):
            assert "error" not in answer, f"{view.name}: {answer['error']}"
            if self._answers.get(key, ("",))[0] != answer["result"]:
                self._answers[key] = (answer["result"], view.decode(_bytes(answer["result"])))
        return {key: self._answers[key][1] for key in views}

    def _mine(self, transaction: dict[str, str], at: int) -> Any:
        tx_hash = self.rpc("eth_sendTransaction", transaction)
        self.rpc("evm_mine", {"timestamp": at})
        return self.rpc("eth_getTransactionReceipt", tx_hash)

    def _post(self, body: Any) -> Any:
        self._http.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(self._http.getresponse().read())


def coins_of(account: str) -> View[int]:
    """Balance of an account in the chain's own coin: a question to the chain, without data."""
    return View(account, b"", lambda data: int.from_bytes(data, "big"), "balance")


def _question(view: View[Any]) -> dict[str, Any]:
    if not view.data:
        return _request("eth_getBalance", view.to, "latest")
    return _request("eth_call", {"to": view.to, "data": "0x" + view.data.hex()}, "latest")


def _request(method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def _transaction(sender: str, data: bytes, call: Call | None = None) -> dict[str, str]:
    fields = {"from": sender, "data": "0x" + data.hex(), "gas": _GAS, "gasPrice": "0x0"}
    return fields | ({"to": call.to, "value": hex(call.value)} if call else {})


def _bytes(text: str) -> bytes:
    digits = text.removeprefix("0x")
    return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))
