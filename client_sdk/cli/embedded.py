"""`gridlease up`, `gridlease down`: the embedded market."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk.cli.context import HomeOption, home_for_up
from client_sdk.cli.output import error_console, print_facts, print_json, say
from client_sdk.embedded import layout, ports, run_file, running, toolchain
from client_sdk.embedded.layout import DataFolder
from client_sdk.embedded.run_file import Run
from client_sdk.errors import ChildFailed
from client_sdk.home import find_home

DETACH_TIMEOUT_S = 420.0


def register(app: typer.Typer) -> None:
    """Add the commands of this noun."""
    app.command("up")(up)
    app.command("down")(down)


def up(
    home: HomeOption = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the API; 0 for any free one.", min=0, max=65535)
    ] = None,
    rpc_port: Annotated[
        int | None, typer.Option(help="Port of the chain; 0 for any free one.", min=0, max=65535)
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything runs, and leave it running.")
    ] = False,
    cheat: Annotated[
        str | None, typer.Option(help="Let the worker lie in this way.", hidden=True)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Start the whole market on this machine: chain, marketplace, worker, auditor, arbiter."""
    folder = layout.prepare(home_for_up(home))
    run = run_file.load(folder)
    if run is not None and run.alive():
        raise running.already_up(folder)
    if detach:
        _show(start_detached(folder, port, rpc_port, cheat), folder, as_json=as_json)
        return
    _supervise(folder, port, rpc_port, cheat, as_json=as_json)


def down(home: HomeOption = None) -> None:
    """Stop the market of the nearest .gridlease upwards; its data stays."""
    folder = DataFolder(find_home(home))
    running.stop_running(folder, lambda line: say(line))
    say("stopped; the data stays in " + str(folder.root))


def _supervise(
    folder: DataFolder, port: int | None, rpc_port: int | None, cheat: str | None, *, as_json: bool
) -> None:
    # Imported here: these load web3, which takes a second that `--help` need not take.
    from client_sdk.embedded.services import Services
    from client_sdk.embedded.supervisor import Supervisor

    toolchain.check_extras()
    running.end_leftovers(folder, _note)
    chosen = ports.choose(api=port, rpc=rpc_port, remembered=layout.load_ports(folder))
    if toolchain.anvil_needs_fetching(os.environ):
        _note("fetching the development chain (once)")
    services = Services(
        folder=folder,
        ports=chosen,
        anvil=toolchain.find_anvil(os.environ),
        valkey=toolchain.find_valkey(os.environ),
        environ=dict(os.environ),
        cheat=cheat,
    )
    layout.save_ports(folder, chosen)
    market = Supervisor(services, _note)
    before = {
        number: signal.signal(number, lambda *_: market.request_stop())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    _note(f"starting the market in {folder.root}")
    try:
        market.run(on_ready=lambda: _ready(folder, as_json=as_json))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _note("stopped")


def _ready(folder: DataFolder, *, as_json: bool) -> None:
    run = run_file.load(folder)
    assert run is not None
    _show(run, folder, as_json=as_json)
    if not as_json:
        say("Ctrl-C (or `gridlease down`) stops it; the data stays.")
    sys.stdout.flush()


def _show(run: Run, folder: DataFolder, *, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "api": run.api_url,
        "openapi": f"{run.api_url}/docs",
        "chain": run.rpc_url,
        "data": str(folder.root),
    }
    if as_json:
        print_json({"schema": "gridlease/up/1", "pid": run.pid, **facts})
        return
    say("the market is up")
    print_facts(
        {
            "API": facts["api"],
            "OpenAPI page": facts["openapi"],
            "chain (RPC)": facts["chain"],
            "data folder": facts["data"],
        }
    )


def start_detached(
    folder: DataFolder, port: int | None, rpc_port: int | None, cheat: str | None
) -> Run:
    """Run `gridlease up` in a session of its own, and wait until it is ready or has failed."""
    argv = [sys.executable, "-m", "client_sdk.cli.main", "up", "--home", str(folder.root)]
    argv += ["--port", str(port)] if port is not None else []
    argv += ["--rpc-port", str(rpc_port)] if rpc_port is not None else []
    argv += ["--cheat", cheat] if cheat is not None else []
    log = folder.logs / "supervisor.log"
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as stream:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
    deadline = time.monotonic() + DETACH_TIMEOUT_S
    while time.monotonic() < deadline:
        run = run_file.load(folder)
        if run is not None and run.pid == process.pid and run.ready:
            return run
        if process.poll() is not None:
            break
        time.sleep(0.2)
    else:
        process.terminate()
    raise _detached_failed(log, start)


def _detached_failed(log: Path, start: int) -> ChildFailed:
    with log.open("rb") as stream:
        stream.seek(start)
        text = stream.read().decode(errors="replace").strip()
    return ChildFailed(f"the market did not start:\n{text}", what_to_do=f"Read {log.parent}.")


def _note(line: str) -> None:
    error_console().print(line, markup=False)
