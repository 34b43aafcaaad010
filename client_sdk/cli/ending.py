"""Following a job to its end, and showing what it cost and left."""

from __future__ import annotations

from pathlib import Path

from client_sdk.cli.display import JobDisplay, ending_rows
from client_sdk.cli.output import error_console, print_table, say
from client_sdk.client import Client
from client_sdk.errors import NetworkFailed, NotFound
from client_sdk.job import Job, Status
from client_sdk.protocol.money import format_amount
from client_sdk.verify import audited_segments, load_receipt


def follow(client: Client, job: Job, *, show_logs: bool) -> Status:
    """Watch a job to its end on the terminal."""
    token = client.connection.deployment.token(job.terms.token)
    out = error_console()
    with JobDisplay(job, token.decimals, token.symbol, out, show_logs=show_logs) as display:
        return job.wait(on_update=display)


def collect(client: Client, job: Job, status: Status) -> dict[str, str]:
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
        try:
            client.withdraw(job.terms.token, key=f"end:{job.lease_id}")
        except NetworkFailed as error:  # the credit waits; it must not hide how the job ended
            out.print(f"not withdrawn: {error.message}", markup=False, style="yellow")
    return files


def show_ending(client: Client, job: Job, status: Status, files: dict[str, str]) -> None:
    """Tables of what was paid, to whom, what came back, and where things are."""
    token = client.connection.deployment.token(job.terms.token)
    terms = job.terms
    names = {
        terms.renter.lower(): "renter",
        terms.provider.lower(): "provider",
    }
    rows = ending_rows(status, token.decimals, names)
    columns = ["what", f"to whom ({token.symbol})", "transaction"]
    print_table(columns, rows, title=f"lease {job.lease_id}")
    account = status.account

    def money(amount: int) -> str:
        return f"{format_amount(amount, token.decimals)} {token.symbol}"

    say(
        f"{status.verdict}: {account.paid_segments} of {status.segments} segments paid, "
        f"{money(account.paid)} in all; {money(account.refunded)} refunded"
    )
    if "receipt" in files:
        reported, unreported = audited_segments(load_receipt(Path(files["receipt"])))
        say(f"re-executed segments: {_numbers(reported)}")
        if unreported:
            say(f"drawn for an audit, but not re-executed in time: {_numbers(unreported)}")
    for name in ("receipt", "artifacts"):
        if name in files:
            say(f"{name}: {files[name]}")


def _numbers(segments: list[int]) -> str:
    return ", ".join(map(str, segments)) or "none"
