"""The processes of the embedded market: their arguments, configuration files and readiness."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from client_sdk.embedded.child import ChildSpec
from client_sdk.embedded.keys import key_file
from client_sdk.embedded.layout import DataFolder, Ports
from client_sdk.embedded.ports import HOST
from client_sdk.embedded.rpc import DevelopmentChain
from client_sdk.home import write_private
from contracts.deployments import DEV_CHAIN_ID

CONFIRMATIONS = 2
WINDOW_S = 20
COMMIT_GRACE_S = 15
DISPUTE_TIMEOUT_S = 20
OPEN_WITHIN_S = 90
COLLECT_INTERVAL_S = 60
PRICE_PER_HOUR = "0.60"
RELAY = {"tUSD": {"open_fee": 1_000, "min_withdrawal": 1, "min_collect": 100}}
"""For what the node carries renters' calls, and from what on it collects shares: smallest units."""
STAKE = "100"

CHAIN = ("anvil", "valkey")
MARKET = ("api", "indexer", "celery", "sweep")
WORKER_POLL_S = 0.5
WORKERS = {"worker": "provider", "auditor": "auditor", "arbiter": "arbiter"}

# What children inherit: enough to find programs, homes and locales, and no more.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Builds what the supervisor runs."""

    folder: DataFolder
    ports: Ports
    anvil: Path
    valkey: Path
    environ: Mapping[str, str]
    cheat: str | None = None
    """How the provider's worker lies, for showing that it is caught."""

    @property
    def api_url(self) -> str:
        """Base URL of the marketplace node."""
        return f"http://{HOST}:{self.ports.api}"

    @property
    def rpc_url(self) -> str:
        """URL of the development chain."""
        return f"http://{HOST}:{self.ports.rpc}"

    @property
    def market_config(self) -> Path:
        """Configuration file of the marketplace's processes."""
        return self.folder.config / "market.json"

    def chain(self) -> ChildSpec:
        """The development chain, continuing from its last dump."""
        argv = [str(self.anvil), "--host", HOST, "--port", str(self.ports.rpc), "--quiet"]
        argv += ["--chain-id", str(DEV_CHAIN_ID), "--block-time", "1", "--accounts", "0"]
        if self.folder.chain_state.exists():
            argv += ["--load-state", str(self.folder.chain_state)]
        return self._spec("anvil", argv, self._chain_ready, ready_within_s=30.0, grace_s=5.0)

    def queue(self) -> ChildSpec:
        """The queue server, on a unix socket that only this user can open."""
        path = self.folder.valkey_socket()
        argv = [str(self.valkey), "--port", "0", "--unixsocket", str(path)]
        argv += ["--unixsocketperm", "700", "--dir", str(self.folder.valkey), "--save", ""]
        argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory", "256mb"]
        argv += ["--maxmemory-policy", "noeviction"]
        return self._spec("valkey", argv, lambda: ping(path), ready_within_s=20.0, grace_s=5.0)

    def market(self, name: str) -> ChildSpec:
        """One process of the marketplace node."""
        command = {"api": "serve", "indexer": "index"}.get(name, name)
        argv = [*python_cli(), "market", command, "--config", str(self.market_config)]
        ready = self._api_ready if name == "api" else lambda: True
        return self._spec(name, argv, ready)

    def worker(self, name: str) -> ChildSpec:
        """One worker process: the provider's, the auditor's or the arbiter's."""
        argv = [*python_cli(), "worker", "start", "--role", WORKERS[name]]
        argv += ["--config", str(self.folder.config / f"{name}.json")]
        ready = self._offer_ready if name == "worker" else self._auditor_ready(WORKERS[name])
        return self._spec(name, argv, ready, ready_within_s=300.0, grace_s=15.0)

    def migrate_argv(self) -> list[str]:
        """Command that brings the marketplace's database to this release."""
        return [*python_cli(), "market", "migrate", "--config", str(self.market_config)]

    def write_configs(self) -> None:
        """Write the configuration files of the marketplace and the workers."""
        for name, content in self._configs().items():
            write_private(
                self.folder.config / f"{name}.json", json.dumps(content, indent=1).encode()
            )

    def child_environ(self) -> dict[str, str]:
        """Environment of every child: nothing secret, nothing that changes results."""
        environ = {key: self.environ[key] for key in INHERITED if key in self.environ}
        return environ | {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}

    def _configs(self) -> dict[str, dict[str, object]]:
        market: dict[str, object] = {
            "database_url": f"sqlite+aiosqlite:///{self.folder.market / 'market.db'}",
            "rpc_url": self.rpc_url,
            "deployments_file": str(self.folder.deployment),
            "chain_id": DEV_CHAIN_ID,
            "host": HOST,
            "port": self.ports.api,
            "public_url": self.api_url,
            "broker_url": f"redis+socket://{quote(str(self.folder.valkey_socket()))}",
            "artifact_store": {"kind": "folder", "path": str(self.folder.market / "artifacts")},
            "confirmations": CONFIRMATIONS,
            "data_dir": str(self.folder.market),
            "relayer_key_file": str(key_file(self.folder.keys, "relayer")),
            "faucet_key_file": str(key_file(self.folder.keys, "deployer")),
            "publish_rpc_url": True,
            "relay": RELAY,
            "collect_interval_s": COLLECT_INTERVAL_S,
        }
        return {"market": market} | {
            name: self._worker_config(name, role) for name, role in WORKERS.items()
        }

    def _worker_config(self, name: str, role: str) -> dict[str, object]:
        config: dict[str, object] = {
            "schema": "gridlease/worker-config/1",
            "role": role,
            "data_dir": str(self.folder.worker(name)),
            "rpc_url": self.rpc_url,
            "deployments_file": str(self.folder.deployment),
            "chain_id": DEV_CHAIN_ID,
            "markets": [self.api_url],
            "allow_weak_isolation": True,
            "confirmations": CONFIRMATIONS,
            # All three run on this machine: its hardware class need not be measured three times.
            "machine_file": str(self.folder.root / "workers" / "machine.json"),
            "poll_interval_s": WORKER_POLL_S,
        }
        if role != "provider":
            return config | {"operator_key_file": str(key_file(self.folder.keys, role))}
        return config | {
            "operator_key_file": str(key_file(self.folder.keys, "operator")),
            "owner_key_file": str(key_file(self.folder.keys, "owner")),
            "price_per_hour": PRICE_PER_HOUR,
            "stake": STAKE,
            "window_s": WINDOW_S,
            "commit_grace_s": COMMIT_GRACE_S,
            "dispute_timeout_s": DISPUTE_TIMEOUT_S,
            "open_within_s": OPEN_WITHIN_S,
            "cheat": self.cheat,
        }

    def _spec(
        self,
        name: str,
        argv: list[str],
        is_ready: Callable[[], bool],
        *,
        ready_within_s: float = 60.0,
        grace_s: float = 10.0,
    ) -> ChildSpec:
        return ChildSpec(
            name=name,
            argv=argv,
            environ=self.child_environ(),
            cwd=self.folder.root,
            log=self.folder.logs / f"{name}.log",
            is_ready=is_ready,
            ready_within_s=ready_within_s,
            grace_s=grace_s,
        )

    def _chain_ready(self) -> bool:
        chain = DevelopmentChain(self.rpc_url, timeout_s=2.0)
        try:
            return chain.chain_id() == DEV_CHAIN_ID
        finally:
            chain.close()

    def _api_ready(self) -> bool:
        return self._get("/v1/health") is not None

    def _offer_ready(self) -> bool:
        answer = self._get("/v1/offers")
        return answer is not None and bool(answer.get("offers"))

    def _auditor_ready(self, role: str) -> Callable[[], bool]:
        def is_ready() -> bool:
            answer = self._get(f"/v1/auditors?role={role}")
            return answer is not None and bool(answer.get("auditors"))

        return is_ready

    def _get(self, path: str) -> dict[str, object] | None:
        try:
            answer = httpx.get(f"{self.api_url}{path}", timeout=3.0, trust_env=False)
            content = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None
        return content if isinstance(content, dict) else None


def python_cli() -> list[str]:
    """Our own command line, run by this interpreter."""
    return [sys.executable, "-m", "client_sdk.cli.main"]


def ping(path: Path) -> bool:
    """Whether a queue server answers on the unix socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(2.0)
            client.connect(os.fspath(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
    except OSError:
        return False
