"""A real development chain for the tests: anvil, a deployed escrow, funded accounts."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import account_from
from contracts.bindings import Token
from contracts.deploy import DeployOptions, deploy
from contracts.deployments import Deployment

ROOT = Path(__file__).parents[2]
ETHER = 10**18
TOKENS = 10**6
"""Smallest units of tUSD in one tUSD."""


def find_anvil() -> Path:
    """The native binary inside the npm package: no Node.js at run time."""
    found = sorted(ROOT.glob("contracts/node_modules/@foundry-rs/anvil-*/bin/anvil*"))
    assert found, "anvil is not installed: run `make setup`"
    return found[0]


class Anvil:
    """One anvil process in its own process group, on a free port that it keeps over restarts."""

    def __init__(
        self, folder: Path, *, block_time_s: float | None = 1.0, chain_id: int = 31337
    ) -> None:
        """No block time: a block for each transaction."""
        self.folder = folder
        self.chain_id = chain_id
        self.block_time_s = block_time_s
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(trust_env=False, timeout=10)

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, state: Path | None = None) -> None:
        assert self.process is None
        command = [str(find_anvil()), "--port", str(self.port)]
        command += ["--chain-id", str(self.chain_id)]
        command += ["--accounts", "1", "--silent"]
        if self.block_time_s is not None:
            command += ["--block-time", str(self.block_time_s)]
        if state is not None:
            command += ["--load-state", str(state)]
        log = (self.folder / "anvil.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.rpc("eth_chainId")
                return
            except httpx.TransportError:
                assert self.process.poll() is None, (self.folder / "anvil.log").read_text()
                assert time.monotonic() < deadline, "anvil did not start"
                time.sleep(0.05)

    def rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self._client.post(self.rpc_url, json=body).json()
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def dump(self) -> Path:
        """Write the chain's state as `--load-state` wants it: unzipped JSON."""
        path = self.folder / "state.json"
        path.write_bytes(gzip.decompress(bytes.fromhex(self.rpc("anvil_dumpState")[2:])))
        assert "blocks" in json.loads(path.read_bytes())
        return path

    def kill(self) -> None:
        """SIGKILL: everything since the last dump is lost."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def close(self) -> None:
        self.kill()
        self._client.close()

    def fund(self, account: LocalAccount, ether: int = 1000) -> LocalAccount:
        self.rpc("anvil_setBalance", account.address, hex(ether * ETHER))
        return account


def key_of(number: int) -> LocalAccount:
    """A fixed key; `number` picks it."""
    return account_from(number.to_bytes(32, "big"))


@dataclass(frozen=True)
class Accounts:
    """Keys of the parties on the test chain; each has ether, and all but the deployer 10,000
    tUSD.
    """

    deployer: LocalAccount
    renter: LocalAccount
    provider: LocalAccount
    operator: LocalAccount
    auditor: LocalAccount
    arbiter: LocalAccount
    stranger: LocalAccount


@pytest.fixture(scope="session")
def new_anvil(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Anvil]]:
    """Start further chains; all are killed at the end."""
    started: list[Anvil] = []

    def make(**options: Any) -> Anvil:
        anvil = Anvil(tmp_path_factory.mktemp("anvil"), **options)
        started.append(anvil)
        anvil.start()
        return anvil

    yield make
    for anvil in started:
        anvil.close()


@pytest.fixture(scope="session")
def anvil(new_anvil: Callable[..., Anvil]) -> Anvil:
    """The session's chain: real block time of a second, shared, so leave its time and blocks
    alone.
    """
    return new_anvil()


@pytest.fixture(scope="session")
def accounts(anvil: Anvil) -> Accounts:
    """Seven funded accounts; tUSD comes with `deployment`."""
    return Accounts(*(anvil.fund(key_of(number)) for number in range(1001, 1008)))


@pytest.fixture(scope="session")
def deployment(anvil: Anvil, accounts: Accounts) -> Deployment:
    """The escrow and a test token, deployed by the command's own code; every account holds tUSD."""
    made = deploy(
        anvil.rpc_url,
        bytes(accounts.deployer.key),
        DeployOptions(arbiter=accounts.arbiter.address, unbonding_period_s=5),
    )
    token = Token(made.tokens[0].address)
    holders = (
        accounts.renter,
        accounts.provider,
        accounts.operator,
        accounts.auditor,
        accounts.arbiter,
        accounts.stranger,
    )
    with Chain(anvil.rpc_url, made) as chain:
        sender = Sender(chain, accounts.deployer, anvil.folder / "deployer.sqlite")
        for holder in holders:
            sender.submit(token.mint(holder.address, 10_000 * TOKENS), f"mint/{holder.address}")
        for holder in holders:
            sender.wait(f"mint/{holder.address}", confirmations=0)
    return made


@pytest.fixture(scope="session")
def chain(anvil: Anvil, deployment: Deployment) -> Iterator[Chain]:
    """The session's chain, as production code reads it."""
    with Chain(anvil.rpc_url, deployment) as chain:
        yield chain


@pytest.fixture
def sender_of(chain: Chain, anvil: Anvil) -> Callable[[LocalAccount], Sender]:
    """Senders on the session's chain; all of one key share a journal, as they must."""

    def make(account: LocalAccount, **options: Any) -> Sender:
        return Sender(chain, account, anvil.folder / f"{account.address}.sqlite", **options)

    return make
