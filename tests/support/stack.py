"""One running market for the acceptance tests: every party for real, on this machine."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount

from client_sdk import faucet
from client_sdk.chain.wallet import new_key, save_keystore
from client_sdk.client import Client
from client_sdk.connection import Connection, connect
from client_sdk.embedded import procs, run_file
from client_sdk.embedded.layout import DataFolder
from client_sdk.embedded.run_file import Run
from client_sdk.home import RenterHome, write_private
from client_sdk.job import Job, Status, Update
from client_sdk.policy import Policy

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits_cnn" / "job.yaml"
COMMAND = [sys.executable, "-m", "client_sdk.cli.main"]
UP_TIMEOUT_S = 420
JOB_TIMEOUT_S = 600.0


@dataclass
class Stack:
    """The market in one home folder."""

    home: Path

    @property
    def folder(self) -> DataFolder:
        """Files of the market."""
        return DataFolder(self.home)

    @property
    def run(self) -> Run:
        """Who runs now."""
        run = run_file.load(self.folder)
        assert run is not None
        return run

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`gridlease up --detach`, on free ports at the first start."""
        ports = [] if self.folder.marker.exists() else ["--port", "0", "--rpc-port", "0"]
        arguments = ["up", "--detach", "--home", str(self.home), *ports, *options]
        return gridlease(*arguments, timeout_s=UP_TIMEOUT_S)

    def down(self) -> subprocess.CompletedProcess[str]:
        """`gridlease down`."""
        return gridlease("down", "--home", str(self.home), timeout_s=120)

    def connection(self, home: Path) -> Connection:
        """What a renter with a home folder of its own needs to know."""
        found = connect(home=self.home)
        return Connection(
            markets=found.markets,
            rpc_url=found.rpc_url,
            deployment=found.deployment,
            home=RenterHome(home),
        )

    def kill(self, name: str) -> int:
        """kill -9 one process of the market by name; returns its pid."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            child = self.run.children.get(name)
            if child is not None and procs.is_same(child.pid, child.started_at):
                os.kill(child.pid, signal.SIGKILL)
                return child.pid
            time.sleep(0.1)
        raise AssertionError(f"{name} did not come back")

    def processes(self) -> list[tuple[int, int]]:
        """The supervisor, its children and everything below them."""
        run = self.run
        return [(run.pid, run.started_at), *procs.descendants(run.pid)]


@dataclass
class Renter:
    """A funded renter with a home folder of its own."""

    client: Client
    home: Path
    password_file: Path

    def balance(self) -> int:
        """Tokens in the wallet, in the smallest unit."""
        token = self.client.connection.deployment.tokens[0].address
        return self.client.chain.token_balance(token, self.client.address)

    def allowance(self) -> int:
        """What the escrow may take."""
        from contracts.bindings import Token

        token = Token(self.client.connection.deployment.tokens[0].address)
        chain = self.client.chain
        return chain.view(token.allowance(self.client.address, chain.escrow.address))

    def environ(self, stack: Stack) -> dict[str, str]:
        """For the command line in this renter's name."""
        connection = self.client.connection
        return {
            "GRIDLEASE_HOME": str(self.home),
            "GRIDLEASE_PASSWORD_FILE": str(self.password_file),
            "GRIDLEASE_MARKETS": connection.markets[0],
            "GRIDLEASE_RPC_URL": connection.rpc_url,
            "GRIDLEASE_DEPLOYMENT": str(stack.folder.deployment),
        }


def new_renter(
    stack: Stack,
    home: Path,
    *,
    funded: bool = True,
    coin: bool = True,
    account: LocalAccount | None = None,
    markets: tuple[str, ...] = (),
    policy: Policy | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Renter:
    """Make an account, and fund it from the faucet; or take one that has money already.

    Parameters
    ----------
    coin
        Whether the chain's own coin comes with the tokens.
    """
    funded = funded and account is None
    account = account or new_key()
    password = secrets.token_hex(16)
    password_file = home / "password"
    write_private(password_file, password.encode())
    save_keystore(home / "wallet.json", account, password)
    found = stack.connection(home)
    connection = Connection(
        markets=(*found.markets, *markets),
        rpc_url=found.rpc_url,
        deployment=found.deployment,
        home=found.home,
    )
    client = Client(connection=connection, account=account, policy=policy, transport=transport)
    if funded:
        faucet.fund(client.markets.nodes[0], client.address, coin=coin, timeout_s=120)
    return Renter(client, home, password_file)


def gridlease(
    *arguments: str, environ: dict[str, str] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does; the output is kept for the failure's report."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GRIDLEASE_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=clean | (environ or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def finish(job: Job, on_update: Callable[[Update], None] | None = None) -> Status:
    """Wait until a job has ended."""
    return job.wait(timeout_s=JOB_TIMEOUT_S, on_update=on_update)


def read_json(text: str) -> Any:
    """A command's JSON output."""
    return json.loads(text)
