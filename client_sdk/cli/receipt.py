"""`gridlease receipt | verify`.

What loads web3 is imported inside the commands: it takes a second that `--help` need not take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client_sdk.cli.context import JsonOption, Setup, connected
from client_sdk.cli.job import JobArgument
from client_sdk.cli.output import print_json, say
from client_sdk.errors import VerificationFailed


def register(app: typer.Typer) -> None:
    """Add the commands of this noun."""
    app.command("receipt")(receipt)
    app.command("verify")(verify_receipt)


@connected
def receipt(setup: Setup, job: JobArgument = "last", as_json: JsonOption = False) -> None:
    """Fetch the receipt of an ended job, and say where it is."""
    from client_sdk.verify import load_receipt

    with setup.client() as client:
        path = client.job(job).receipt()
    if as_json:
        print_json(load_receipt(path).to_json())
        return
    say(str(path))


@connected
def verify_receipt(
    setup: Setup,
    path: Annotated[Path, typer.Argument(metavar="RECEIPT", help="Receipt file.")],
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder of the job's artifacts; default: the home folder's.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option(help="Run the job's own evaluation on the final checkpoint.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt against the chain and the artifacts; no marketplace node is asked."""
    from client_sdk.verify import load_receipt, verify

    found = load_receipt(path)
    home = setup.renter_home()
    lease_id = "0x" + found.lease_id.hex()
    record = next((job for job in home.jobs() if job.lease_id == lease_id), None)
    if artifacts is None and record is not None:
        artifacts = home.artifacts(record.job_id)
    with setup.client(with_account=False) as client:
        report = verify(found, client.chain, artifacts=artifacts, record=record, evaluate=evaluate)
    if as_json:
        print_json(report.to_json())
    else:
        for line in report.checks:
            say(f"ok       {line}", style="green")
        for line in report.skipped:
            say(f"skipped  {line}", style="yellow")
        for line in report.findings:
            say(f"wrong    {line}", style="red")
    if not report.holds:
        raise VerificationFailed(f"the receipt of lease {lease_id} does not hold")
    if not as_json:
        say(f"the receipt of lease {lease_id} holds")
