"""`gridlease run`: order a job, pay for it segment by segment, fetch what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk.cli.context import JsonOption, Setup, connected
from client_sdk.cli.output import error_console, print_json, say
from client_sdk.errors import InputRejected, NotFound, SpecRejected
from client_sdk.jobfile import JobFile
from client_sdk.protocol.errors import JobSpecError
from client_sdk.protocol.jobspec import JobSpec

SCRIPT_SEGMENT_S = 60
SCRIPT_MAX_SEGMENTS = 60


def register(app: typer.Typer) -> None:
    """Add the commands of this noun."""
    app.command("run")(run)


@connected
def run(
    setup: Setup,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Job file (YAML), or a script.")],
    budget: Annotated[
        str | None, typer.Option(help="Most to spend, in place of the job file's.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="GPU model, for a script.")] = None,
    query: Annotated[str, typer.Option(help="Further demands on the offer.")] = "",
    offer: Annotated[str | None, typer.Option(help="Take this offer and no other.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when the lease is open.")
    ] = False,
    show_logs: Annotated[
        bool, typer.Option("--logs/--no-logs", help="Show the program's output.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Run a job: nothing is spent before the provider's terms have been checked.

    Ctrl-C stops watching, not the job; `gridlease cancel` stops the job.
    """
    # Imported here: these load web3, which takes a second that `--help` need not take.
    from client_sdk.cli.ending import collect, follow, show_ending
    from client_sdk.client import read_spec
    from client_sdk.job import raise_unless_completed

    job_file = _job_file(spec, budget, gpu) or read_spec(spec)
    with setup.client() as client:
        out = error_console()
        job = client.run(
            job_file,
            query=query,
            offer_id=_offer_id(offer),
            budget=budget,
            on_note=lambda line: out.print(line, markup=False),
        )
        if detach:
            _show_started(job, as_json=as_json)
            return
        status = follow(client, job, show_logs=show_logs and not as_json)
        files = collect(client, job, status)
        if as_json:
            print_json({**status.to_json(), "files": files})
        else:
            show_ending(client, job, status, files)
        raise_unless_completed(status)


def _show_started(job: Any, *, as_json: bool) -> None:
    if as_json:
        print_json({"schema": "gridlease/started/1", "job_id": job.id, "lease_id": job.lease_id})
        return
    say(job.id)


def _offer_id(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise InputRejected(
            f"--offer {text!r} is not the id of an offer",
            what_to_do="Copy it from `gridlease offers --json`: 0x and 64 digits.",
        )
    return found


def _job_file(path: Path, budget: str | None, gpu: str | None) -> JobFile | None:
    """A metered job around a plain script; None for a job file, which says all itself."""
    if path.suffix != ".py":
        if gpu is not None:
            raise InputRejected(
                "--gpu is for scripts", what_to_do="Write `resources: {gpu: ...}` in the job file."
            )
        return None
    if not path.is_file():
        raise NotFound(f"there is no script {path}", what_to_do="Name an existing file.")
    if budget is None:
        raise InputRejected(
            "a script needs a budget", what_to_do=f"gridlease run {path} --budget 5"
        )
    value = {
        "name": path.stem,
        "resources": {"gpu": gpu or "none", "gpu_count": 1 if gpu else 0},
        "entry": path.name,
        "segments": {"seconds": SCRIPT_SEGMENT_S, "max": SCRIPT_MAX_SEGMENTS},
        "verification": "metered",
        "audit": "none",
        "budget": budget,
        "outputs": {"paths": ["**"]},
    }
    try:
        return JobFile(spec=JobSpec.from_dict(value), folder=path.parent)
    except JobSpecError as error:
        raise SpecRejected(str(error)) from error
