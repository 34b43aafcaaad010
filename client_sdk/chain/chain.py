"""Reading one chain through one node, and the requests that a sender needs.

Every answer is checked (`answers`), every failure is a :class:`ChainError`. Whether a well-formed
answer is true only a chain of confirmations, or another node, can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import TracebackType
from typing import Final, Self, TypeVar

from client_sdk.chain import answers
from client_sdk.chain.answers import Block, TxReceipt
from client_sdk.chain.beacon import Beacon, beacon_of
from client_sdk.chain.deployment import Deployment
from client_sdk.chain.errors import BadAnswer, CallReverted, RpcRefused, WrongChain
from client_sdk.chain.rpc import HttpTransport, Transport
from client_sdk.protocol.eip712 import Domain
from contracts.bindings import (
    ABI_VERSION,
    BadChainData,
    Call,
    Event,
    LeaseEscrow,
    LeaseView,
    Log,
    Token,
    View,
    decode_error,
    decode_event,
)
from contracts.deployments import DEV_CHAIN_ID

LOG_RANGE_BLOCKS: Final = 2000
"""Blocks per `eth_getLogs`; public nodes refuse much longer ranges."""

DEFAULT_PRIORITY_FEE_WEI: Final = 10**9
"""For nodes that suggest none."""

_REVERT_CODE: Final = 3  # "execution error" of geth, anvil and those that follow them

T = TypeVar("T")


class Chain:
    """One deployment, read through one node. Thread-safe.

    Parameters
    ----------
    rpc_url:
        Node's HTTP URL; may hold an API key and is never shown.
    timeout_s:
        For one request, in seconds.
    transport:
        In place of HTTP, for tests.
    """

    def __init__(
        self,
        rpc_url: str,
        deployment: Deployment,
        *,
        timeout_s: float = 10.0,
        transport: Transport | None = None,
    ) -> None:
        self.deployment = deployment
        self.escrow = LeaseEscrow(deployment.escrow)
        self.domain = Domain(deployment.chain_id, deployment.escrow)
        self._transport = transport or HttpTransport(rpc_url, timeout_s=timeout_s)
        self._beacon: Beacon | None = None

    def __repr__(self) -> str:
        return f"Chain({self.endpoint}, chain_id={self.deployment.chain_id})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def endpoint(self) -> str:
        """Scheme, host and port of the node: what may be shown."""
        return self._transport.endpoint

    # Blocks

    def check(self) -> None:
        """Make sure that the node serves the deployment's chain and that the escrow is there.

        Raises
        ------
        WrongChain
            Another chain id, no contract at the address, or another version of it.
        """
        found = answers.quantity(self._request("eth_chainId"), "chain id", bits=64)
        wanted = self.deployment.chain_id
        if found != wanted:
            raise WrongChain(f"{self.endpoint} serves chain {found}, not chain {wanted}")
        if self.deployment.abi_version != ABI_VERSION:
            raise WrongChain(
                f"the escrow {self.escrow.address} has interface version"
                f" {self.deployment.abi_version}, this program speaks {ABI_VERSION}"
            )
        code = self._request("eth_getCode", self.escrow.address, "latest")
        if not answers.data(code, "contract code"):
            raise WrongChain(f"there is no contract at {self.escrow.address} on chain {found}")

    def head(self) -> int:
        """Number of the newest block."""
        return answers.quantity(self._request("eth_blockNumber"), "block number", bits=53)

    def block(self, number: int | None = None) -> Block | None:
        """One block, the newest without a number; `None` when the chain has none of that number."""
        tag = "latest" if number is None else hex(number)
        raw = self._request("eth_getBlockByNumber", tag, False)
        if raw is None:
            return None
        block = answers.block(raw)
        if number is not None and block.number != number:
            raise BadAnswer(f"block {block.number} in place of block {number}")
        return block

    def latest(self) -> Block:
        """The newest block."""
        block = self.block()
        if block is None:
            raise BadAnswer("the chain has no newest block")
        return block

    def confirmed_block(self, confirmations: int) -> Block:
        """The newest block with `confirmations` blocks on top (the first block on a younger chain).

        Raises
        ------
        BadAnswer
            The block went away between two requests; ask again.
        """
        number = max(0, self.head() - confirmations)
        block = self.block(number)
        if block is None:
            raise BadAnswer(f"block {number} went away while it was read")
        return block

    def now(self) -> int:
        """Time of the newest block, in seconds since 1970: the clock that the contract goes by."""
        return self.latest().timestamp

    def identity(self) -> bytes:
        """A block hash that stays for the chain's whole life: tells two chains with one id apart.

        Block 0; on the development chain the escrow's block, because anvil may answer with another
        block 0 after it was loaded from a file.

        Raises
        ------
        WrongChain
            There is no such block.
        """
        chain_id = self.deployment.chain_id
        number = self.deployment.start_block if chain_id == DEV_CHAIN_ID else 0
        block = self.block(number)
        if block is None:
            raise WrongChain(f"chain {chain_id} at {self.endpoint} has no block {number}")
        return block.hash

    def beacon(self, block_number: int) -> bytes | None:
        """Randomness that belongs to a block; `None` while it cannot be known.

        Raises
        ------
        BeaconUnavailable
            The deployment has no beacon that may be used on this chain.
        """
        if self._beacon is None:
            self._beacon = beacon_of(self.deployment, self)
        return self._beacon.value(block_number)

    # State

    def view(self, view: View[T], *, sender: str | None = None) -> T:
        """Ask a contract, at the newest block.

        Raises
        ------
        CallReverted
            The view itself refuses.
        WrongChain
            There is no contract at its address.
        """
        answer = self._call(view.to, view.data, view.name, sender=sender)
        if not answer:
            raise WrongChain(f"there is no contract at {view.to}")
        try:
            return view.decode(answer)
        except BadChainData as error:
            raise BadAnswer(f"{view.name}: {error}") from error

    def lease(self, lease_id: bytes) -> LeaseView:
        """Progress of a lease; status `NONE` for one that was never opened."""
        return self.view(self.escrow.lease_of(lease_id))

    def balance(self, address: str) -> int:
        """Native coin of an account, in wei."""
        return answers.quantity(self._request("eth_getBalance", address, "latest"), "balance")

    def token_balance(self, token: str, address: str) -> int:
        """Tokens of an account, in the token's smallest unit."""
        return self.view(Token(token).balance_of(address))

    def events(self, from_block: int, to_block: int, *, topic: bytes | None = None) -> list[Event]:
        """Events of the escrow in a range of blocks, both included, in order.

        Parameters
        ----------
        topic:
            Only those whose first indexed argument is this: the events of one lease, say.
        """
        found: list[Event] = []
        for start, end in _ranges(from_block, to_block):
            found += self._events(start, end, topic)
        return found

    def receipt(self, tx_hash: bytes) -> TxReceipt | None:
        """A transaction's receipt; `None` while it is not in a block of the chain."""
        raw = self._request("eth_getTransactionReceipt", "0x" + tx_hash.hex())
        if raw is None:
            return None
        receipt = answers.receipt(raw, tx_hash)
        return replace(receipt, events=tuple(self._decode(receipt.logs)))

    # Sending

    def simulate(self, call: Call, sender: str, *, block: int | None = None) -> bytes:
        """Run a call without sending it, at the newest block or a given one.

        Raises
        ------
        CallReverted
            The contract refuses it, with the contract's own error name.
        """
        return self._call(call.to, call.data, call.name, sender=sender, value=call.value, at=block)

    def estimate_gas(self, call: Call, sender: str) -> int:
        """Gas that the call takes in the newest state; some nodes count waiting transactions in.

        Raises
        ------
        CallReverted
            The contract refuses it.
        """
        request = _transaction(call.to, call.data, sender, call.value)
        try:
            answer = self._request("eth_estimateGas", request)
        except RpcRefused as error:
            raise _revert_in(error, call.name) or error from error
        return answers.quantity(answer, "gas estimate", bits=53)

    def nonce(self, address: str, *, pending: bool = False) -> int:
        """Number of the account's transactions: in blocks, or with those the node has waiting."""
        tag = "pending" if pending else "latest"
        answer = self._request("eth_getTransactionCount", address, tag)
        return answers.quantity(answer, "nonce", bits=53)

    def priority_fee(self) -> int:
        """Tip that the node suggests, in wei per gas."""
        try:
            answer = self._request("eth_maxPriorityFeePerGas")
        except RpcRefused:
            return DEFAULT_PRIORITY_FEE_WEI
        return answers.quantity(answer, "priority fee", bits=96)

    def knows(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, in a block or waiting."""
        return self._request("eth_getTransactionByHash", "0x" + tx_hash.hex()) is not None

    def broadcast(self, raw: bytes) -> None:
        """Hand a signed transaction to the node.

        Raises
        ------
        RpcRefused
            The node does not take it, with the node's reason.
        """
        self._request("eth_sendRawTransaction", "0x" + raw.hex())

    # Inner

    def _request(self, method: str, *params: object) -> object:
        answer: object = self._transport.request(method, params)
        return answer

    def _call(
        self,
        to: str,
        call_data: bytes,
        name: str,
        *,
        sender: str | None,
        value: int = 0,
        at: int | None = None,
    ) -> bytes:
        request = _transaction(to, call_data, sender, value)
        try:
            answer = self._request("eth_call", request, "latest" if at is None else hex(at))
        except RpcRefused as error:
            raise _revert_in(error, name) or error from error
        return answers.data(answer, f"{name} result")

    def _events(self, start: int, end: int, topic: bytes | None) -> list[Event]:
        criteria = {
            "address": self.escrow.address,
            "fromBlock": hex(start),
            "toBlock": hex(end),
            "topics": [] if topic is None else [None, "0x" + topic.hex()],
        }
        try:
            raw = self._request("eth_getLogs", criteria)
        except RpcRefused:
            if start == end:
                raise
            middle = (start + end) // 2  # nodes bound range and answer, each in its own way
            return self._events(start, middle, topic) + self._events(middle + 1, end, topic)
        if not isinstance(raw, list):
            raise BadAnswer("the logs are not a list")
        logs = [answers.log(entry) for entry in raw]
        self._check_logs(logs, start, end, topic)
        return list(self._decode(logs))

    def _check_logs(self, logs: list[Log], start: int, end: int, topic: bytes | None) -> None:
        places = [(log.block_number, log.log_index) for log in logs]
        if any(left >= right for left, right in pairwise(places)):
            raise BadAnswer("the logs are not in order, or repeated")
        for log in logs:
            if not start <= log.block_number <= end:
                raise BadAnswer(f"a log of block {log.block_number} outside {start} to {end}")
            if log.address != self.escrow.address.lower():
                raise BadAnswer("a log of another contract")
            if topic is not None and (len(log.topics) < 2 or log.topics[1] != topic):
                raise BadAnswer("a log with another topic")

    def _decode(self, logs: list[Log] | tuple[Log, ...]) -> Iterator[Event]:
        for log in logs:
            if log.address != self.escrow.address.lower():
                continue
            try:
                event = decode_event(log)
            except BadChainData as error:
                raise BadAnswer(str(error)) from error
            if event is not None:
                yield event


def _ranges(from_block: int, to_block: int) -> Iterator[tuple[int, int]]:
    for start in range(from_block, to_block + 1, LOG_RANGE_BLOCKS):
        yield start, min(start + LOG_RANGE_BLOCKS - 1, to_block)


def _transaction(to: str, call_data: bytes, sender: str | None, value: int) -> dict[str, str]:
    request = {"to": to, "data": "0x" + call_data.hex()}
    if sender is not None:
        request["from"] = sender
    if value:
        request["value"] = hex(value)
    return request


def _revert_in(error: RpcRefused, name: str) -> CallReverted | None:
    """The contract's refusal inside the node's; `None` when the node refused for another reason."""
    is_revert = error.code == _REVERT_CODE or "revert" in error.text.lower()
    if not is_revert and error.data is None:
        return None
    reason = decode_error(error.data or b"")
    return CallReverted(name, reason.name, reason.args)
