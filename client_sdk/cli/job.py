"""`gridlease jobs | status | logs | cancel | artifacts`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from client_sdk.cli.context import JsonOption, Setup, connected
from client_sdk.cli.output import print_facts, print_json, print_table, say
from client_sdk.protocol.money import format_amount

JobArgument = Annotated[
    str, typer.Argument(help="Job: its id, the start of it, its lease id, or `last`.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this noun."""
    app.command("jobs")(jobs)
    app.command("status")(status)
    app.command("logs")(logs)
    app.command("cancel")(cancel)
    app.command("artifacts")(artifacts)


@connected
def jobs(setup: Setup, as_json: JsonOption = False) -> None:
    """Jobs that were ordered from this folder; money and ending are the chain's word."""
    with setup.client() as client:
        rows = [(job.record, job.status()) for job in client.jobs()]
    if as_json:
        listed = [
            {"name": record.name, "created_at": record.created_at, **found.to_json()}
            for record, found in rows
        ]
        print_json({"schema": "gridlease/jobs/1", "jobs": listed})
        return
    if not rows:
        say("no jobs yet; `gridlease run SPEC` starts one")
        return
    print_table(
        ["job", "name", "state", "verdict", "segments", "created"],
        [
            (
                record.job_id,
                record.name,
                found.state,
                found.verdict or "-",
                f"{found.account.paid_segments}/{found.segments}",
                record.created_at,
            )
            for record, found in rows
        ],
    )


@connected
def status(setup: Setup, job: JobArgument = "last", as_json: JsonOption = False) -> None:
    """Where a job is, and what it has cost so far."""
    with setup.client() as client:
        found = client.job(job)
        now = found.status()
        token = client.connection.deployment.token(found.terms.token)
    if as_json:
        print_json(now.to_json())
        return
    account = now.account

    def money(amount: int) -> str:
        return f"{format_amount(amount, token.decimals)} {token.symbol}"

    relay = {"relay fee": money(account.relay_fee)} if account.relay_fee else {}
    print_facts(
        {
            "job": now.job_id,
            "lease": now.lease_id,
            "state": now.state,
            "verdict": now.verdict or "-",
            "segments": f"{now.segments_done} done, {account.committed_segments} committed, "
            f"{account.paid_segments} paid, of at most {now.segments}",
            "funded": money(account.funded),
            **relay,
            "paid": money(account.paid),
            "refunded": money(account.refunded),
            "in escrow": money(account.held),
        }
    )


@connected
def logs(
    setup: Setup,
    job: JobArgument = "last",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Until the job ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """What the job's program wrote, decrypted here."""
    with setup.client() as client:
        for text in client.job(job).logs(follow=follow):
            sys.stdout.write(json.dumps({"text": text}) + "\n" if as_json else printable(text))
            sys.stdout.flush()


@connected
def cancel(setup: Setup, job: JobArgument) -> None:
    """Stop a job on the chain: finished segments and at most the running one are paid."""
    with setup.client() as client:
        found = client.job(job)
        relayed = client.relays.wanted
        tx_hash = found.cancel()
    if relayed:
        say("a marketplace node sent the stop, free of charge")
    say(f"stopping {found.id} (transaction 0x{tx_hash.hex()})")
    say("finished segments, and at most the running one, are paid; the rest is refunded")


@connected
def artifacts(
    setup: Setup,
    job: JobArgument = "last",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder; default: in the home folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download, check and decrypt the last checkpoint, the outputs and the trace."""
    with setup.client() as client:
        paths = client.job(job).artifacts(output)
    if as_json:
        print_json({"schema": "gridlease/artifacts/1", "paths": [str(path) for path in paths]})
        return
    for path in paths:
        say(str(path))


def printable(text: str) -> str:
    """Text of a stranger's machine without the characters that steer a terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
