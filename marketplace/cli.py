"""``gridlease market``: the processes of a marketplace node, and what operators ask it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from granian.constants import Interfaces
from granian.errors import FatalError
from granian.log import LogLevels
from granian.server.embed import Server
from pydantic import ValidationError

from client_sdk.chain.deployment import DeploymentError
from client_sdk.chain.errors import ChainError
from marketplace import schema
from marketplace.app import create
from marketplace.clock import now
from marketplace.context import Market, open_market
from marketplace.errors import ConfigurationError
from marketplace.indexer.follower import Follower
from marketplace.outbox import sweep as sweeper
from marketplace.outbox.tasks import QUEUE, RELAY_QUEUE, build_celery
from marketplace.settings import CONFIG_VARIABLE, Settings, load
from marketplace.stats import collect

app = typer.Typer(help="Run a marketplace node.", no_args_is_help=True)

Config = Annotated[
    Path | None,
    typer.Option("--config", envvar=CONFIG_VARIABLE, help="JSON file with the settings."),
]
EXIT_CONFIGURATION = 2
EXIT_UNAVAILABLE = 3


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the database to the schema of this release."""
    settings = _settings(config)
    _folders(settings)
    schema.migrate(settings.database_url)
    typer.echo(f"the database has the schema {schema.newest()}")


@app.command()
def serve(config: Config = None) -> None:
    """Serve the HTTP API until stopped."""
    settings = _settings(config)

    async def main(market: Market, stop: asyncio.Event) -> None:
        server = Server(
            create(settings),
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            log_level=LogLevels.warning,
            websockets=False,
        )
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
        try:
            await asyncio.wait_for(serving, timeout=5)
        except TimeoutError:
            # Open log streams do not end by themselves.
            logging.getLogger(__name__).info("open streams were cut")
        except FatalError as error:
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port}; choose another port"
            ) from error

    _run(settings, main)


@app.command()
def index(
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when the newest block is reached.")
    ] = False,
) -> None:
    """Follow the contract's events into the database."""
    settings = _settings(config)

    async def main(market: Market, stop: asyncio.Event) -> None:
        with market.open_chain() as chain:
            if once:
                await asyncio.to_thread(chain.check)
            follower = Follower(market, chain)
            if not once:
                await follower.run(stop)
                return
            while await follower.step():
                pass

    _run(settings, main)


@app.command()
def celery(
    config: Config = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Deliveries at once.")] = 4,
    relay: Annotated[
        bool, typer.Option(help="Whether this process sends transactions; one process only.")
    ] = True,
) -> None:
    """Deliver the outbox: a Celery worker."""
    settings = _settings(config)
    _check(settings)
    queues = [QUEUE, RELAY_QUEUE] if relay else [QUEUE]
    # Threads: a killed process leaves no children behind that go on delivering.
    build_celery(settings).worker_main(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={concurrency}",
            f"--queues={','.join(queues)}",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


@app.command()
def sweep(config: Config = None) -> None:
    """Tell the Celery workers what is due, and order the upkeep."""
    settings = _settings(config)

    async def main(market: Market, stop: asyncio.Event) -> None:
        await sweeper.run(market, build_celery(settings), stop)

    _run(settings, main)


@app.command()
def stats(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print counts of what the node holds, and how far it is."""
    settings = _settings(config)
    found: dict[str, object] = {}

    async def main(market: Market, _stop: asyncio.Event) -> None:
        async with market.database.reading() as session:
            found.update(await collect(session, market.scope, now()))

    _run(settings, main)
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for name, value in found.items():
        typer.echo(f"{name:24} {value}")


def _settings(config: Path | None) -> Settings:
    try:
        return load(config)
    except ValidationError as error:
        # Where and why, never the value: it may be a secret.
        lines = [
            f"  {'.'.join(str(p) for p in e['loc'])}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        source = f" in {config}" if config else ""
        _fail(f"the settings{source} are refused:\n" + "\n".join(lines), EXIT_CONFIGURATION)
    except (OSError, json.JSONDecodeError) as error:
        _fail(f"the settings cannot be read: {error}", EXIT_CONFIGURATION)


def _folders(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)


def _check(settings: Settings) -> None:
    """Refuse to start on a database of another release."""

    async def main(_market: Market, _stop: asyncio.Event) -> None:
        return

    _run(settings, main)


def _run(settings: Settings, main: Callable[[Market, asyncio.Event], Awaitable[None]]) -> None:
    """Run one process of the node until it ends or is told to stop."""
    logging.basicConfig(
        level=os.environ.get("GRIDLEASE_LOG", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "httpcore", "urllib3", "web3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _folders(settings)

    async def outer() -> None:
        market = open_market(settings)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        try:
            await schema.require_newest(market.database)
            await main(market, stop)
        finally:
            await market.close()

    try:
        asyncio.run(outer())
    except (ConfigurationError, DeploymentError) as error:
        _fail(str(error), EXIT_CONFIGURATION)
    except ChainError as error:
        _fail(f"{error}. {error.what_to_do}", EXIT_UNAVAILABLE)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
