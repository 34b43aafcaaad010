"""``gridlease market``: the processes of a marketplace node, and what operators ask it.

Each command imports its own part: every process, and ``gridlease --help``, starts without paying
for the web server, the task queue and the chain library of the others.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from marketplace.context import Market
    from marketplace.settings import Settings

CONFIG_VARIABLE = "GRIDLEASE_MARKET_CONFIG"
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
    from marketplace import schema

    settings = _settings(config)
    _folders(settings)
    schema.migrate(settings.database_url)
    typer.echo(f"the database has the schema {schema.newest()}")


@app.command()
def serve(config: Config = None) -> None:
    """Serve the HTTP API until stopped."""
    from marketplace.processes import serve as main

    _run(_settings(config), main)


@app.command()
def index(
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when the newest block is reached.")
    ] = False,
) -> None:
    """Follow the contract's events into the database."""
    from marketplace.chain import open_chain
    from marketplace.indexer.follower import Follower

    settings = _settings(config)

    async def main(market: Market, stop: asyncio.Event) -> None:
        with open_chain(market) as chain:
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
    others: Annotated[
        bool, typer.Option(help="Whether it does everything else as well: draws, upkeep, checks.")
    ] = True,
) -> None:
    """Deliver the outbox: a Celery worker.

    A busy node runs two, one with --no-others and one with --no-relay: neither a slow chain nor
    what strangers want sent then takes threads that audits are drawn in.
    """
    from marketplace.outbox.tasks import QUEUE, RELAY_QUEUE, build_celery

    settings = _settings(config)
    _check(settings)
    queues = [QUEUE] * others + [RELAY_QUEUE] * relay
    if not queues:
        _fail("nothing is left to do with --no-relay and --no-others", EXIT_CONFIGURATION)
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
    from marketplace.outbox.sweep import Sweeper
    from marketplace.outbox.tasks import build_celery

    settings = _settings(config)

    async def main(market: Market, stop: asyncio.Event) -> None:
        await Sweeper(market, build_celery(settings)).run(stop)

    _run(settings, main)


@app.command()
def stats(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print counts of what the node holds, and how far it is."""
    from marketplace.clock import now
    from marketplace.stats import collect

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
    from pydantic import ValidationError

    from marketplace.settings import load

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
    from sqlalchemy.exc import SQLAlchemyError

    from client_sdk.chain.deployment import DeploymentError
    from client_sdk.chain.errors import ChainError
    from marketplace import schema
    from marketplace.context import open_market
    from marketplace.errors import ConfigurationError

    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("alembic", "httpx", "httpcore", "urllib3", "web3"):
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
    except SQLAlchemyError as error:
        _fail(f"the database cannot be used: {error.__cause__ or error}", EXIT_UNAVAILABLE)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
