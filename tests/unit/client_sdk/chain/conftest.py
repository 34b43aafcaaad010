"""A node in memory: blocks on demand, a pool, reorganisations, refusals and lost answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import ChainUnreachable, RpcRefused
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import account_from
from client_sdk.protocol.keccak import keccak256
from contracts.deployments import BeaconInfo, BeaconKind, Deployment, TokenInfo

ESCROW = "0x00000000000000000000000000000000000000E5"
TOKEN = "0x0000000000000000000000000000000000000700"
GWEI = 10**9


def make_deployment(chain_id: int = 31337) -> Deployment:
    return Deployment(
        chain_id=chain_id,
        escrow=ESCROW,
        tokens=(TokenInfo(symbol="tUSD", address=TOKEN, decimals=6),),
        start_block=0,
        abi_version=3,
        arbiter=None,
        audit_pool=ESCROW,
        beacon=BeaconInfo(kind=BeaconKind.DEV, delay_blocks=2),
    )


@dataclass(frozen=True)
class Tx:
    hash: bytes
    sender: str
    nonce: int
    data: bytes
    value: int
    max_fee: int
    succeeded: bool = True


@dataclass
class Mined:
    number: int
    hash: bytes
    parent_hash: bytes
    txs: list[Tx] = field(default_factory=list)


class FakeNode:
    """Executes nothing: a transaction's effect is that it is in a block.

    `refuse` holds input data that the contract refuses, with the revert data.
    """

    endpoint = "http://fake"

    def __init__(self) -> None:
        self.salt = 0
        self.blocks = [Mined(0, keccak256(b"genesis"), bytes(32))]
        self.pool: dict[bytes, Tx] = {}
        self.refuse: dict[bytes, bytes] = {}
        self.balance = 10**21
        self.base_fee = GWEI
        self.is_down = False
        self.answers_to_lose = 0
        self.requests: list[str] = []
        self.overrides: dict[str, Any] = {}

    # What tests do

    def mine(self, count: int = 1, *, with_pool: bool = True) -> None:
        for _ in range(count):
            self.salt += 1
            parent = self.blocks[-1]
            block_hash = keccak256(parent.hash + self.salt.to_bytes(8, "big"))
            block = Mined(parent.number + 1, block_hash, parent.hash)
            self.blocks.append(block)
            if with_pool:
                self._fill(block)

    def lose(self, depth: int) -> None:
        """Drop the newest blocks with their transactions; the pool is gone too."""
        del self.blocks[max(1, len(self.blocks) - depth) :]
        self.pool.clear()

    def executed(self, data: bytes) -> int:
        """How often a call took effect on the chain as it is now."""
        return sum(tx.data == data and tx.succeeded for tx in self._mined())

    def put(self, account: LocalAccount, nonce: int, data: bytes = b"foreign") -> None:
        """A transaction of a program that does not use our journal."""
        self.pool[keccak256(data + nonce.to_bytes(8, "big"))] = Tx(
            keccak256(data + nonce.to_bytes(8, "big")),
            account.address.lower(),
            nonce,
            data,
            0,
            10**12,
        )

    # The transport

    def close(self) -> None:
        pass

    def request(self, method: str, params: Sequence[Any]) -> Any:
        self.requests.append(method)
        if self.is_down:
            raise ChainUnreachable(self.endpoint, "connection refused")
        if method in self.overrides:
            answer = self.overrides[method]
            if isinstance(answer, Exception):
                raise answer
            return answer(*params) if callable(answer) else answer
        answer = getattr(self, f"_{method}")(*params)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise ChainUnreachable(self.endpoint, "the connection broke")
        return answer

    # Methods

    def _eth_chainId(self) -> str:
        return hex(31337)

    def _eth_blockNumber(self) -> str:
        return hex(self.blocks[-1].number)

    def _eth_getBlockByNumber(self, tag: str, _full: bool) -> Any:
        number = self.blocks[-1].number if tag == "latest" else int(tag, 16)
        if number >= len(self.blocks):
            return None
        block = self.blocks[number]
        return {
            "number": hex(block.number),
            "hash": "0x" + block.hash.hex(),
            "parentHash": "0x" + block.parent_hash.hex(),
            "timestamp": hex(1_700_000_000 + block.number),
            "baseFeePerGas": hex(self.base_fee),
            "gasLimit": hex(30_000_000),
        }

    def _eth_getTransactionCount(self, address: str, tag: str) -> str:
        nonce = self._nonce(address.lower())
        if tag == "pending":
            waiting = {tx.nonce for tx in self.pool.values() if tx.sender == address.lower()}
            while nonce in waiting:
                nonce += 1
        return hex(nonce)

    def _eth_getTransactionReceipt(self, tx_hash: str) -> Any:
        for block in self.blocks:
            for tx in block.txs:
                if tx.hash.hex() == tx_hash[2:]:
                    return {
                        "transactionHash": tx_hash,
                        "blockNumber": hex(block.number),
                        "blockHash": "0x" + block.hash.hex(),
                        "status": hex(tx.succeeded),
                        "gasUsed": hex(21_000),
                        "effectiveGasPrice": hex(GWEI),
                        "contractAddress": None,
                        "logs": [],
                    }
        return None

    def _eth_getTransactionByHash(self, tx_hash: str) -> Any:
        wanted = bytes.fromhex(tx_hash[2:])
        known = wanted in self.pool or any(tx.hash == wanted for tx in self._mined())
        return {"hash": tx_hash} if known else None

    def _eth_sendRawTransaction(self, raw: str) -> str:
        content = bytes.fromhex(raw[2:])
        fields = TypedTransaction.from_bytes(HexBytes(content)).as_dict()
        tx = Tx(
            keccak256(content),
            Account.recover_transaction(raw).lower(),
            fields["nonce"],
            bytes(fields["data"]),
            fields["value"],
            fields["maxFeePerGas"],
        )
        if tx.nonce < self._nonce(tx.sender):
            raise RpcRefused("eth_sendRawTransaction", -32003, "nonce too low")
        for other in list(self.pool.values()):
            if (other.sender, other.nonce) == (tx.sender, tx.nonce) and other.hash != tx.hash:
                if tx.max_fee < other.max_fee * 110 // 100:
                    raise RpcRefused("eth_sendRawTransaction", -32003, "underpriced")
                del self.pool[other.hash]
        self.pool[tx.hash] = tx
        return "0x" + tx.hash.hex()

    def _eth_estimateGas(self, request: dict[str, str], *_tag: str) -> str:
        self._eth_call(request)
        return hex(50_000)

    def _eth_call(self, request: dict[str, str], *_tag: str) -> str:
        reason = self.refuse.get(bytes.fromhex(request["data"][2:]))
        if reason is not None:
            raise RpcRefused("eth_call", 3, "execution reverted", reason)
        return "0x" + "00" * 31 + "01"

    def _eth_maxPriorityFeePerGas(self) -> str:
        return hex(GWEI)

    def _eth_getBalance(self, _address: str, _tag: str) -> str:
        return hex(self.balance)

    def _eth_getCode(self, _address: str, _tag: str) -> str:
        return "0x6000"

    # Inner

    def _mined(self) -> list[Tx]:
        return [tx for block in self.blocks for tx in block.txs]

    def _nonce(self, sender: str) -> int:
        return sum(tx.sender == sender for tx in self._mined())

    def _fill(self, block: Mined) -> None:
        while True:
            ready = [tx for tx in self.pool.values() if tx.nonce == self._nonce(tx.sender)]
            if not ready:
                break
            tx = ready[0]
            del self.pool[tx.hash]
            succeeded = tx.data not in self.refuse
            block.txs.append(
                Tx(tx.hash, tx.sender, tx.nonce, tx.data, tx.value, tx.max_fee, succeeded)
            )
        gone = [h for h, tx in self.pool.items() if tx.nonce < self._nonce(tx.sender)]
        for tx_hash in gone:
            del self.pool[tx_hash]


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def chain(node: FakeNode) -> Chain:
    return Chain("http://fake", make_deployment(), transport=node)


@pytest.fixture
def account() -> LocalAccount:
    return account_from(b"\x11" * 32)


@pytest.fixture
def new_sender(node: FakeNode, chain: Chain, account: LocalAccount, tmp_path: Path) -> Any:
    """Senders over one journal; a block is mined whenever one of them pauses."""

    def make(**options: Any) -> Sender:
        options.setdefault("sleep", lambda _: node.mine())
        options.setdefault("confirmations", 2)
        return Sender(chain, account, tmp_path / "journal.sqlite", **options)

    return make


@pytest.fixture
def new_chain() -> Any:
    """Make any number of nodes, each with its chain."""

    def make() -> tuple[FakeNode, Chain]:
        fake = FakeNode()
        return fake, Chain("http://fake", make_deployment(), transport=fake)

    return make
