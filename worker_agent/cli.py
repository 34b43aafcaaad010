"""``gridlease worker``: init, check, start, status, drain, earnings, and a provider's way out.

Exit codes: 0 done; 1 the daemon ended because of an unrecoverable error, a check failed, or what
was asked for is not possible now; 2 the configuration or an argument cannot be used; 7 chain or
market cannot be reached.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client_sdk.chain.errors import ChainError
from client_sdk.chain.wallet import load_key_file, new_key, save_key_file
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.units import format_duration
from worker_agent.errors import NetworkFailed, SettingsError, WorkerError
from worker_agent.settings import SCHEMA, Role, WorkerSettings, load_settings, parse_settings

if TYPE_CHECKING:
    from worker_agent.context import Context

app = typer.Typer(help="Rent out this machine, audit others, or rule disputes.")
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The worker's JSON file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@contextmanager
def told() -> Iterator[None]:
    """Turn errors into one line and a documented exit code."""
    try:
        yield
    except SettingsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except (ChainError, NetworkFailed) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(7) from error
    except WorkerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def init(
    config: ConfigOption = Path("worker.json"),
    role: Annotated[Role, typer.Option(help="What this daemon will do.")] = Role.PROVIDER,
    market: Annotated[list[str] | None, typer.Option(help="URL of a market; repeatable.")] = None,
    rpc_url: Annotated[str, typer.Option(help="Node of the chain.")] = "http://127.0.0.1:8545",
    chain_id: Annotated[int, typer.Option(help="The chain's id.")] = 31337,
    deployments: Annotated[Path, typer.Option(help="deployments.json")] = Path("deployments.json"),
    price: Annotated[str, typer.Option(help="Price per hour.")] = "0.60",
    owner_key: Annotated[Path | None, typer.Option(help="Key file of the owner.")] = None,
    allow_weak: Annotated[
        bool, typer.Option(help="Take jobs although memory limits cannot be enforced.")
    ] = False,
) -> None:
    """Write a configuration and the keys that it needs; existing files are left alone."""
    with told():
        if config.exists():
            raise SettingsError(f"{config} exists already; remove it to write a new one")
        folder = config.resolve().parent
        operator = folder / f"{role}-operator.key"
        owner = owner_key.resolve() if owner_key else folder / "owner.key"
        values: dict[str, Any] = {
            "role": role.value,
            "data_dir": f"{role}-data",
            "rpc_url": rpc_url,
            "deployments_file": str(deployments.resolve()),
            "chain_id": chain_id,
            "markets": market or ["http://127.0.0.1:8480"],
            "operator_key_file": operator.name,
            "price_per_hour": price,
            "allow_weak_isolation": allow_weak,
        }
        if role is Role.PROVIDER:
            values["owner_key_file"] = str(owner)
        parse_settings(values, folder)  # refuses what no later command could use
        folder.mkdir(parents=True, exist_ok=True)
        if not operator.exists():
            save_key_file(operator, new_key())
        if role is Role.PROVIDER and owner_key is None and not owner.exists():
            save_key_file(owner, new_key())
        _write_new(config, json.dumps({"schema": SCHEMA, **values}, indent=2) + "\n")
        typer.echo(f"wrote {config}")
        typer.echo(f"operator {load_key_file(operator).address}: needs coins for gas")
        if role is Role.PROVIDER:
            address = load_key_file(owner).address
            typer.echo(f"owner    {address}: needs coins for gas, and the token for its stake")
        typer.echo(f"next: gridlease worker check --config {config}")


@app.command()
def check(config: ConfigOption = Path("worker.json"), as_json: JsonOption = False) -> None:
    """Look at everything that a worker needs, and say what is missing."""
    from worker_agent.check import check_all

    with told():
        findings = check_all(load_settings(config))
    if as_json:
        _print_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.ok else "FAIL"
            typer.echo(f"{mark}  {finding.name:<12} {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def start(
    config: ConfigOption = Path("worker.json"),
    role: Annotated[Role | None, typer.Option(help="Must agree with the file.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C."""
    from worker_agent.worker import run_worker

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore", "web3", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with told():
        settings = load_settings(config, role.value if role else None)
        code = run_worker(settings)
    raise typer.Exit(code)


@app.command()
def status(config: ConfigOption = Path("worker.json"), as_json: JsonOption = False) -> None:
    """Show what the journal knows: the listing, the offer, and each lease's phase."""
    from worker_agent.status import read_status

    with told():
        found = read_status(load_settings(config))
    if as_json:
        _print_json(found)
        return
    typer.echo(f"role      {found['role']}")
    typer.echo(f"running   {'yes' if found['running'] else 'no'}")
    typer.echo(f"draining  {'yes' if found['draining'] else 'no'}")
    typer.echo(f"offer     {found['offer'] or 'none'}")
    for lease in found["leases"]:
        typer.echo(
            f"lease     {lease['lease_id'][:18]}  {lease['phase']:<8} "
            f"{lease['segments']}/{lease['max_segments']} segments  {lease['verdict'] or ''}"
        )


@app.command()
def drain(
    config: ConfigOption = Path("worker.json"),
    undo: Annotated[bool, typer.Option("--undo", help="Take leases again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take no more leases; what runs is finished. A running daemon notices at once."""
    from worker_agent.draining import set_draining
    from worker_agent.journal import Journal

    with told():
        settings = load_settings(config)
        journal = Journal(settings.data_dir / "journal.db")
        set_draining(journal, not undo)
        journal.close()
    if as_json:
        _print_json({"draining": not undo})
        return
    typer.echo("takes leases again" if undo else "draining: no new leases, offers are withdrawn")


@app.command()
def earnings(config: ConfigOption = Path("worker.json"), as_json: JsonOption = False) -> None:
    """Sum up from the chain what the provider was paid, what can be withdrawn, and the stake."""
    from worker_agent.status import read_earnings

    with told():
        found = read_earnings(load_settings(config))
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        typer.echo(f"{name:<16} {value}")


@app.command()
def delist(config: ConfigOption = Path("worker.json"), as_json: JsonOption = False) -> None:
    """End this worker's listings, after `drain`: no new terms under them, live leases go on."""
    from worker_agent import exits

    with _acting(config) as context:
        ended = [to_hex(listing_id) for listing_id in exits.delist(context)]
    if as_json:
        _print_json({"delisted": ended})
        return
    for listing_id in ended:
        typer.echo(f"delisted {listing_id}")
    if not ended:
        typer.echo("this worker has no active listing")


@app.command()
def unbond(
    amount: Annotated[str, typer.Argument(help="In whole tokens, such as 25.50, or `all`.")],
    config: ConfigOption = Path("worker.json"),
    as_json: JsonOption = False,
) -> None:
    """Start to take stake out; it can be claimed after the contract's unbonding period.

    The period (`earnings` shows it) starts anew for all that is unbonding already.
    """
    from worker_agent import exits

    with _acting(config) as context:
        period = format_duration(exits.unbonding_period_s(context))
        typer.echo(f"unbonding takes {period}, anew for what is unbonding already", err=True)
        started = exits.unbond(context, amount)
        shown, again = (exits.shown(context, n) for n in (started.unbonding, started.again))
    if as_json:
        unbonding, claimable = str(started.unbonding), started.claimable_at
        _print_json(
            {"amount": str(started.amount), "unbonding": unbonding, "claimable_at": claimable}
        )
        return
    typer.echo(f"unbonding {shown}, to be claimed from {exits.moment(started.claimable_at)} on")
    if started.again:
        typer.echo(f"{again} of it was unbonding before: its period started anew")
    typer.echo("next: gridlease worker claim-unbond")


@app.command("claim-unbond")
def claim_unbond(config: ConfigOption = Path("worker.json"), as_json: JsonOption = False) -> None:
    """Turn the stake that has unbonded into credit of the owner."""
    from worker_agent import exits

    with _acting(config) as context:
        amount = exits.claim_unbond(context)
        shown = exits.shown(context, amount)
    if as_json:
        _print_json({"amount": str(amount)})
        return
    typer.echo(f"claimed {shown}: it is credit of the owner now")
    typer.echo("next: gridlease worker withdraw")


@app.command()
def withdraw(config: ConfigOption = Path("worker.json"), as_json: JsonOption = False) -> None:
    """Send the owner its credit: earnings, and stake that was claimed."""
    from worker_agent import exits

    with _acting(config) as context:
        amount = exits.withdraw(context)
        shown, owner = exits.shown(context, amount), context.provider
    if as_json:
        _print_json({"amount": str(amount), "to": owner})
        return
    typer.echo(f"{shown} withdrawn to {owner}")


@contextmanager
def _acting(config: Path) -> Iterator[Context]:
    """The provider's keys and connections, for one command beside the daemon."""
    from worker_agent.context import make_context

    with told():
        context = make_context(load_settings(config, Role.PROVIDER.value))
        try:
            yield context
        finally:
            context.close()


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _write_new(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


__all__ = ["WorkerSettings", "app"]
