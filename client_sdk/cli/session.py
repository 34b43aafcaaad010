"""`gridlease login`."""

from __future__ import annotations

import typer

from client_sdk.cli.context import Setup, connected
from client_sdk.cli.output import say


def register(app: typer.Typer) -> None:
    """Add the commands of this noun."""
    app.command("login")(login)


@connected
def login(setup: Setup) -> None:
    """Log in at the marketplace nodes with a signed message; other commands do it by themselves."""
    with setup.client() as client:
        for node in client.markets.nodes:
            node.token(True)
            say(f"{client.address} is logged in at {node.url}")
