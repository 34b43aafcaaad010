"""The parts of `gridlease demo`, each named in the error when it fails.

The last line of standard output is stable; scripts read it:

    demo: ok lease=<id> accuracy=<x> segments=<verified>/<total> paid=<amount> refunded=<amount>
    demo: cheat caught lease=<id> slashed=<amount> refunded=<amount>
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client_sdk import faucet
from client_sdk.chain.wallet import new_key, save_keystore
from client_sdk.cli.embedded import start_detached
from client_sdk.cli.ending import collect, follow, show_ending
from client_sdk.cli.output import console, print_facts, print_table, say
from client_sdk.client import Client
from client_sdk.embedded import layout, running
from client_sdk.embedded.layout import DataFolder
from client_sdk.errors import DemoFailed, GridleaseError
from client_sdk.home import write_private
from client_sdk.job import Job, Status
from client_sdk.protocol.machine import Isolation
from client_sdk.protocol.money import format_amount
from client_sdk.protocol.verdicts import Verdict
from client_sdk.verify import Report, load_receipt, verify

LEAST_ACCURACY = 0.97
LEAST_SEGMENTS = 20
LEAST_COMMITS = 2
SPEC = Path("examples") / "digits_cnn" / "job.yaml"
CHEAT = "skip_steps"


def demonstrate(home: Path, spec: Path | None, *, cheat: bool) -> None:
    """Run the demo in a folder of its own below `home`.

    Raises
    ------
    DemoFailed
        Naming the part that failed; the market has been stopped.
    """
    begun = time.monotonic()
    with _market(home / ("demo-cheat" if cheat else "demo"), cheat=cheat) as folder:
        account, password_file = _new_wallet(folder)
        with Client(home=folder.root, account=account) as client:
            _fund(client)
            _show_offers(client)
            last_line = _run(client, spec or _find_spec(), cheat=cheat)
    say(by_hand(folder.root, password_file))
    say(f"the demo took {time.monotonic() - begun:.0f} s")
    say(last_line)


def by_hand(home: Path, password_file: Path) -> str:
    """How to go on with the demo's market, which has been stopped, and with its wallet."""
    wallet = password_file.with_suffix(".json")
    return (
        f"by hand: export GRIDLEASE_HOME={home} GRIDLEASE_WALLET={wallet} "
        f"GRIDLEASE_PASSWORD_FILE={password_file}; gridlease up --detach"
    )


def _run(client: Client, spec: Path, *, cheat: bool) -> str:
    """Order, follow, check and verify; returns the last line."""
    _title("3. Run the job", f"gridlease run {spec}")
    with _part("run"):
        job = client.run(spec, on_note=lambda line: say(line))
        status = follow(client, job, show_logs=False)
    _title("4. What was paid, to whom", f"gridlease status {job.id}")
    with _part("the ending"):
        files = collect(client, job, status)
        show_ending(client, job, status, files)
        _check_ending(status, cheat=cheat)
        if "receipt" not in files:
            raise DemoFailed("the ending", "the marketplace made no receipt")
    _title("5. Verify", f"gridlease verify {files['receipt']}")
    with _part("verify"):
        report = _verify(client, job, Path(files["receipt"]), evaluate=not cheat)
    return _last_line(client, job, status, report, cheat=cheat)


def _last_line(client: Client, job: Job, status: Status, report: Report, *, cheat: bool) -> str:
    decimals = client.connection.deployment.token(job.terms.token).decimals
    account = status.account
    paid, refunded, slashed = (
        format_amount(amount, decimals)
        for amount in (account.paid, account.refunded, account.slashed)
    )
    if cheat:
        return f"demo: cheat caught lease={job.lease_id} slashed={slashed} refunded={refunded}"
    accuracy = report.metrics["accuracy"]
    segments = f"{account.paid_segments}/{status.segments_done}"
    head = f"demo: ok lease={job.lease_id} accuracy={accuracy} segments={segments}"
    return f"{head} paid={paid} refunded={refunded}"


def _check_ending(status: Status, *, cheat: bool) -> None:
    account = status.account
    if cheat:
        if status.verdict is not Verdict.PROOF_REJECTED or account.slashed <= 0:
            raise DemoFailed("the ending", f"the cheat was not caught: {status.verdict}")
        return
    if status.verdict is not Verdict.COMPLETED:
        raise DemoFailed("the ending", f"the job ended as {status.verdict}")
    if account.paid_segments < LEAST_SEGMENTS or account.paid_segments != status.segments_done:
        raise DemoFailed(
            "the ending", f"{account.paid_segments} of {status.segments_done} segments were paid"
        )
    if account.num_commits < LEAST_COMMITS:
        raise DemoFailed("the ending", f"{account.num_commits} commits on chain")


def _verify(client: Client, job: Job, path: Path, *, evaluate: bool) -> Report:
    report = verify(
        load_receipt(path),
        client.chain,
        artifacts=client.home.artifacts(job.id),
        record=job.record,
        evaluate=evaluate,
    )
    for line in report.checks:
        say(f"ok       {line}")
    for line in report.skipped:
        say(f"skipped  {line}")
    if not report.holds:
        raise DemoFailed("verify", "; ".join(report.findings))
    if evaluate:
        accuracy = report.metrics.get("accuracy")
        if not isinstance(accuracy, int | float) or accuracy < LEAST_ACCURACY:
            raise DemoFailed("verify", f"the accuracy is {accuracy}, not {LEAST_ACCURACY}")
    return report


def _fund(client: Client) -> None:
    _title("2. A new renter, and what the market offers", "gridlease wallet new; gridlease offers")
    with _part("the faucet"):
        faucet.fund(client.markets.nodes[0], client.address)
        token = client.connection.deployment.tokens[0]
        held = client.chain.token_balance(token.address, client.address)
        print_facts(
            {
                "wallet": client.address,
                "balance": f"{format_amount(held, token.decimals)} {token.symbol}",
            }
        )


def _show_offers(client: Client) -> None:
    with _part("offers"):
        found = client.offers(order="dph")
        if not found.offers:
            raise DemoFailed("offers", "the market has no offer")
        rows = [
            [
                "0x" + offer.offer_id.hex()[:16],
                offer.machine.gpu_name or "none",
                offer.machine.cpu_count,
                _price(client, offer),
                str(offer.machine.isolation),
            ]
            for offer in found.offers
        ]
        print_table(["offer", "GPU", "cores", "price/h", "isolation"], rows)
        if any(offer.machine.isolation is Isolation.WEAK for offer in found.offers):
            say(
                "isolation: weak - this worker does not run as root, so not every limit of a job "
                "can be enforced; its provider opted in, for the development chain only"
            )


def _price(client: Client, offer: Any) -> str:
    token = client.connection.deployment.token(offer.offer.token)
    return f"{format_amount(offer.offer.price_per_hour, token.decimals)} {token.symbol}"


def _new_wallet(folder: DataFolder) -> tuple[Any, Path]:
    """A fresh account in an encrypted key file; earlier demos' wallets stay."""
    with _part("the wallet"):
        account = new_key()
        password = secrets.token_urlsafe(24)
        password_file = folder.root / "wallet.password"
        wallet = folder.root / "wallet.json"
        if wallet.exists():
            suffix = secrets.token_hex(4)
            wallet = folder.root / f"wallet-{suffix}.json"
            password_file = folder.root / f"wallet-{suffix}.password"
        write_private(password_file, password.encode())
        save_keystore(wallet, account, password)
        return account, password_file


@contextmanager
def _market(root: Path, *, cheat: bool) -> Iterator[DataFolder]:
    """A market of its own for the demo, on free ports, ended with it."""
    _title("1. Start the market", f"gridlease up --home {root}")
    with _part("up"):
        folder = layout.prepare(root)
        run = start_detached(folder, 0, 0, CHEAT if cheat else None)
    print_facts({"API": run.api_url, "OpenAPI page": f"{run.api_url}/docs"})
    try:
        yield folder
    finally:
        with _part("down"):
            running.stop_running(folder, lambda line: say(line))


@contextmanager
def _part(name: str) -> Iterator[None]:
    """Name the part in the error when it fails."""
    try:
        yield
    except DemoFailed:
        raise
    except GridleaseError as error:
        failed = DemoFailed(name, error.message)
        failed.what_to_do = error.what_to_do
        raise failed from error


def _find_spec() -> Path:
    """The example beside the working directory, or in the source checkout."""
    checkout = Path(__file__).parents[2] / SPEC
    found = next((path for path in (SPEC, checkout) if path.is_file()), None)
    if found is None:
        raise DemoFailed("run", f"the example {SPEC} is not there; run from a checkout")
    return found


def _title(text: str, command: str) -> None:
    console().print(f"\n{text}", style="bold", markup=False)
    say(f"   {command}", style="dim")
