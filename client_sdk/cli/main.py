"""The command `gridlease`: its groups, its plug-ins, and how errors leave it.

Exit codes are `client_sdk.errors.ExitCode`; scripts depend on them. The groups `market` and
`worker` are plug-ins: entry points of the group `gridlease.cli`, loaded only when they are asked
for, so that the plain install needs neither FastAPI nor torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from client_sdk.cli import demo, embedded, job, offer, receipt, run, session, wallet
from client_sdk.cli.output import show_error
from client_sdk.errors import ExitCode, InputRejected

PLUGIN_GROUP = "gridlease.cli"
PLUGIN_HELP = {
    "market": "Run a marketplace node.",
    "worker": "Rent out this machine, or audit others.",
}


class ExtraMissing(InputRejected):
    """The packages of this command are not installed."""


class Gridlease(TyperGroup):
    """The root command: adds the plug-ins and turns our errors into text and an exit code."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Own commands first, then plug-ins."""
        own = super().list_commands(ctx)
        return own + sorted(name for name in _plugins() if name not in own)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """An own command, or a plug-in's."""
        own = super().get_command(ctx, cmd_name)
        plugin = _plugins().get(cmd_name)
        if own is not None or plugin is None:
            return own
        return (
            _stand_in(cmd_name, PLUGIN_HELP.get(cmd_name, "")) if self._listing else _load(plugin)
        )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the plug-ins without loading them: that takes seconds."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def invoke(self, ctx: Any) -> Any:
        """Run the command; our errors become a message and a documented exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader went away (`gridlease logs | head`): nothing is left to tell anybody.
            sys.stderr.close()
            raise typer.Exit(ExitCode.OK) from None
        except Exception as error:
            code = show_error(error)
            if code is None:
                raise
            raise typer.Exit(code) from error


app = typer.Typer(
    name="gridlease",
    cls=Gridlease,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Rent out and use GPUs, paid per verified segment of training.",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gridlease {version('gridlease')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Rent out and use GPUs, paid per verified segment of training."""


def _register() -> None:
    for module in (embedded, offer, run, job, receipt, session, demo):
        module.register(app)
    app.add_typer(wallet.app, name="wallet")


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=PLUGIN_GROUP)}


def _load(entry: EntryPoint) -> Any:
    """The plug-in's command, or one that says what to install."""
    try:
        plugin = entry.load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("client_sdk", "contracts", entry.module):
            raise
        return _missing(entry.name, error.name or "?")
    command = get_command(plugin) if isinstance(plugin, typer.Typer) else plugin
    command.name = entry.name
    return command


def _missing(name: str, module: str) -> Any:
    """A command in place of a plug-in whose packages are not installed."""

    def refuse(ctx: typer.Context) -> None:
        raise ExtraMissing(
            f"`gridlease {name}` needs packages that are not installed ({module})",
            what_to_do=f"Run: pip install 'gridlease[{name}]'",
        )

    return _stand_in(name, "Not installed.", refuse)


def _stand_in(name: str, text: str, run: Callable[[typer.Context], None] = lambda ctx: None) -> Any:
    """A command that takes any arguments."""
    holder = typer.Typer()
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    holder.command(name, help=text, context_settings=settings)(run)
    command = get_command(holder)
    command.name = name
    return command


_register()


def main(run_app: Callable[[], Any] = app) -> None:
    """Entry point of the command `gridlease`."""
    run_app()


if __name__ == "__main__":
    main()
