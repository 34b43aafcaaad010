"""`gridlease demo`: the whole market on this machine, from nothing to a verified receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client_sdk.cli.context import HomeOption, home_for_up


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    home: HomeOption = None,
    cheat: Annotated[
        bool, typer.Option("--cheat", help="Run on a worker that lies, and see it caught.")
    ] = False,
    spec: Annotated[Path | None, typer.Option(help="Job to run in place of the example.")] = None,
) -> None:
    """Start a market, train a model in it, verify the receipt, stop the market."""
    # Imported here: it loads web3, which takes a second that `--help` need not take.
    from client_sdk.cli.demonstration import demonstrate

    demonstrate(home_for_up(home), spec, cheat=cheat)
