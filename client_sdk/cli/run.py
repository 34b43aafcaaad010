"""`gridlease run`: order a job, pay for it segment by segment, fetch what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk.cli.context import JsonOption, Setup, connected
from client_sdk.cli.display import JobDisplay, ending_rows
from client_sdk.cli.output import error_console, print_json, print_table, say
from client_sdk.errors import InputRejected, NetworkFailed, NotFound, SpecRejected
from client_sdk.job import Job, Status, raise_unless_completed
from client_sdk.jobfile import JobFile
from client_sdk.protocol.errors import JobSpecError
from client_sdk.protocol.jobspec import JobSpec
from client_sdk.protocol.money import format_amount
from client_sdk.verify import load_receipt

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
    job_file = _job_file(spec, budget, gpu)
    with setup.client() as client:
        out = error_console()
        job = client.run(
            job_file or spec,
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


def follow(client: Any, job: Job, *, show_logs: bool) -> Status:
    """Watch a job to its end on the terminal."""
    token = client.connection.deployment.token(job.terms.token)
    out = error_console()
    with JobDisplay(job, token.decimals, token.symbol, out, show_logs=show_logs) as display:
        return job.wait(on_update=display)


def collect(client: Any, job: Job, status: Status) -> dict[str, str]:
    """Receipt, artifacts and refund of an ended job; what a node withholds is only said."""
    files: dict[str, str] = {}
    out = error_console()
    try:
        files["receipt"] = str(job.receipt())
        paths = job.artifacts()
        files["artifacts"] = str(client.home.artifacts(job.id))
        files |= {path.stem: str(path) for path in paths}
    except (NetworkFailed, NotFound) as error:
        out.print(f"not fetched: {error.message}", markup=False, style="yellow")
    if status.account.refunded or status.account.slashed:
        client.withdraw(job.terms.token, key=f"end:{job.lease_id}")
    return files


def show_ending(client: Any, job: Job, status: Status, files: dict[str, str]) -> None:
    """Tables of what was paid, to whom, what came back, and where things are."""
    token = client.connection.deployment.token(job.terms.token)
    terms = job.terms
    names = {
        terms.renter.lower(): "renter (you)",
        terms.provider.lower(): "provider",
        client.connection.deployment.audit_pool.lower(): "audit pool",
    }
    rows = ending_rows(status, token.decimals, names)
    print_table(["what", "to", token.symbol, "transaction"], rows, title=f"lease {job.lease_id}")
    account = status.account

    def money(amount: int) -> str:
        return f"{format_amount(amount, token.decimals)} {token.symbol}"

    say(
        f"{status.verdict}: {account.paid_segments} of {status.segments} segments paid, "
        f"{money(account.paid)} in all; {money(account.refunded)} refunded"
    )
    if "receipt" in files:
        receipt = load_receipt(Path(files["receipt"]))
        audited = sorted({audit.segment for audit in receipt.audits})
        say(f"audited segments: {', '.join(map(str, audited)) or 'none'}")
    for name in ("receipt", "artifacts"):
        if name in files:
            say(f"{name}: {files[name]}")


def _show_started(job: Job, *, as_json: bool) -> None:
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
