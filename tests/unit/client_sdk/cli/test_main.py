"""Exit codes and messages of the command line; scripts depend on them."""

from __future__ import annotations

import errno
import json
import socket
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from client_sdk.chain import errors as chain_errors
from client_sdk.chain.deployment import Deployment, TokenInfo, save_deployment
from client_sdk.cli import main
from client_sdk.cli.context import Setup
from client_sdk.cli.foreign import foreign
from client_sdk.cli.job import printable
from client_sdk.embedded.layout import DataFolder
from client_sdk.errors import ChainFailed, ExitCode, InputRejected, InsufficientFunds, WalletError
from client_sdk.home import write_private
from client_sdk.policy import Policy
from client_sdk.protocol.errors import MoneyError
from tests.support.sdk import ARBITER, ESCROW, RENTER, TOKEN

RUNNER = CliRunner()
VARIABLES = (
    "HOME",
    "MARKETS",
    "RPC_URL",
    "DEPLOYMENT",
    "WALLET",
    "PASSWORD_FILE",
    "RELAY",
    "MAX_RELAY_FEE",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(f"GRIDLEASE_{name}", raising=False)
    monkeypatch.setenv("GRIDLEASE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def deployed(home):
    """A home that knows contracts, a market and a chain that do not answer."""
    deployment = Deployment(
        chain_id=31337,
        escrow=ESCROW,
        tokens=(TokenInfo(symbol="tUSD", address=TOKEN, decimals=6),),
        start_block=1,
        abi_version=3,
        arbiter=ARBITER,
        audit_pool=ARBITER,
        beacon=None,
    )
    save_deployment(DataFolder(home).deployment, deployment)
    return ["--market", "http://127.0.0.1:1", "--rpc-url", "http://127.0.0.1:1"]


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text("secret\n")
    return ["--password-file", str(path)]


def make_wallet(home, password):
    """A key file whose password costs no time to check, unlike those of `wallet new`."""
    content = RENTER.encrypt(password, kdf="scrypt", iterations=2)
    write_private(home / "wallet.json", json.dumps(content).encode())


def gridlease(*arguments: str):
    return RUNNER.invoke(main.app, list(arguments))


def test_when_help_is_asked_then_every_documented_command_is_there():
    result = gridlease("--help")
    assert result.exit_code == ExitCode.OK
    documented = "up down offers run jobs status logs cancel artifacts receipt verify wallet login"
    for command in [*documented.split(), "demo", "market", "worker"]:
        assert f" {command} " in result.output


def test_when_the_version_is_asked_then_it_is_the_installed_one():
    result = gridlease("--version")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == f"gridlease {version('gridlease')}\n"


def test_when_the_command_is_unknown_then_it_is_a_usage_error():
    assert gridlease("offer").exit_code == ExitCode.INPUT


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--market"),
        (["--market", "http://m.test"], "--rpc-url"),
        (["--market", "http://m.test", "--rpc-url", "http://c.test"], "--deployment"),
    ],
)
def test_when_the_market_is_not_known_then_the_option_is_named(given, missing):
    result = gridlease("offers", *given)
    assert result.exit_code == ExitCode.INPUT
    assert "gridlease up" in result.output
    assert missing in result.output


def test_when_there_is_no_wallet_then_it_is_said(deployed):
    result = gridlease("jobs", *deployed)
    assert result.exit_code == ExitCode.WALLET
    assert "gridlease wallet new" in result.output


def test_when_the_password_cannot_be_asked_then_the_option_is_named(deployed, home):
    make_wallet(home, "secret")
    result = gridlease("jobs", *deployed)
    assert result.exit_code == ExitCode.WALLET
    assert "--password-file" in result.output


def test_when_the_password_is_wrong_then_it_is_said(deployed, home, password):
    make_wallet(home, "other")
    result = gridlease("jobs", *deployed, *password)
    assert result.exit_code == ExitCode.WALLET
    assert "wrong password" in result.output


def test_when_a_wallet_is_made_then_only_its_address_is_on_standard_output(home, password):
    result = gridlease("wallet", "new", "--no-fund", *password)
    assert result.exit_code == ExitCode.OK
    address = result.stdout.strip()
    assert len(address) == 42
    assert gridlease("wallet", "address").stdout.strip() == address
    assert (home / "wallet.json").stat().st_mode & 0o777 == 0o600
    again = gridlease("wallet", "new", "--no-fund", *password)
    assert again.exit_code == ExitCode.WALLET
    assert "never overwritten" in again.output


def test_when_a_key_is_imported_then_it_comes_from_the_pipe(password):
    key = "0x" + bytes(RENTER.key).hex()
    result = RUNNER.invoke(main.app, ["wallet", "import", *password], input=key + "\n")
    assert result.stdout.strip() == RENTER.address
    assert key not in result.output


def test_when_no_key_is_imported_then_it_is_not_repeated(password):
    result = RUNNER.invoke(main.app, ["wallet", "import", *password], input="hunter2\n")
    assert result.exit_code == ExitCode.WALLET
    assert "hunter2" not in result.output


def test_when_the_spec_has_problems_then_all_are_named_with_their_lines(tmp_path):
    spec = tmp_path / "job.yaml"
    spec.write_text("name: x\nentri: train.py\nbudget: 1.00\nsegments: {steps: 50, max: many}\n")
    result = gridlease("run", str(spec))
    assert result.exit_code == ExitCode.INPUT
    assert "job.yaml:2" in result.output.replace("\n", "")
    assert "did you mean entry" in result.output
    assert "job.yaml:4" in result.output.replace("\n", "")


def test_when_a_script_is_run_without_a_budget_then_it_is_said(tmp_path):
    (tmp_path / "train.py").write_text("")
    result = gridlease("run", str(tmp_path / "train.py"))
    assert result.exit_code == ExitCode.INPUT
    assert "--budget" in result.output
    assert gridlease("run", "missing.py", "--budget", "1").exit_code == ExitCode.NOT_FOUND


def test_when_an_offers_id_is_malformed_then_it_is_said(tmp_path, deployed, home, password):
    make_wallet(home, "secret")
    (tmp_path / "train.py").write_text("")
    arguments = ["run", str(tmp_path / "train.py"), "--budget", "1", "--offer", "0x12"]
    result = gridlease(*arguments, *deployed, *password)
    assert result.exit_code == ExitCode.INPUT
    assert "--offer" in result.output


def test_when_the_receipt_is_missing_then_it_is_not_found(deployed):
    result = gridlease("verify", "missing.json", *deployed)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "gridlease receipt" in result.output


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "gridlease/receipt/1"}'])
def test_when_the_receipt_is_none_then_it_does_not_verify(tmp_path, deployed, content):
    (tmp_path / "receipt.json").write_text(content)
    assert gridlease("verify", "receipt.json", *deployed).exit_code == ExitCode.VERIFICATION


@pytest.mark.parametrize("name", ["last", "job_1", "0x12"])
def test_when_a_job_is_not_known_then_it_is_not_found(deployed, home, password, name):
    make_wallet(home, "secret")
    result = gridlease("status", name, *deployed, *password)
    assert result.exit_code == ExitCode.NOT_FOUND


def test_when_there_are_no_jobs_then_json_is_an_empty_list(deployed, home, password):
    make_wallet(home, "secret")
    result = gridlease("jobs", "--json", *deployed, *password)
    assert json.loads(result.stdout) == {"schema": "gridlease/jobs/1", "jobs": []}


def test_when_the_chain_does_not_answer_then_it_is_a_network_failure(deployed, home):
    make_wallet(home, "secret")
    result = gridlease("wallet", "balance", *deployed)
    assert result.exit_code == ExitCode.NETWORK
    assert "127.0.0.1:1" in result.output


@pytest.mark.parametrize(
    ("options", "wanted", "most"),
    [({}, None, Policy().max_relay_fee), ({"relay": False, "max_relay_fee": 7}, False, 7)],
)
def test_when_relaying_is_chosen_then_the_client_keeps_to_it(
    deployed, home, password, options, wanted, most
):
    make_wallet(home, "secret")
    setup = Setup(
        home=home,
        market=[deployed[1]],
        rpc_url=deployed[3],
        password_file=Path(password[1]),
        **options,
    )
    with setup.client() as client:
        assert client.policy.max_relay_fee == most
        if wanted is None:
            with pytest.raises(ChainFailed, match="balance"):  # it depends on what it holds
                _ = client.relays.wanted
        else:
            assert client.relays.wanted is wanted


def test_when_nothing_runs_then_down_says_so():
    result = gridlease("down")
    assert result.exit_code == ExitCode.EMBEDDED
    assert "gridlease up" in result.output


def test_when_down_is_said_below_the_folder_then_the_nearest_market_is_meant(tmp_path, monkeypatch):
    monkeypatch.delenv("GRIDLEASE_HOME")
    (tmp_path / ".gridlease").mkdir()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    result = gridlease("down")
    assert f"nothing runs in {tmp_path / '.gridlease'}" in result.output.replace("\n", "")


def test_when_a_file_is_in_the_way_then_it_is_named(home):
    home.mkdir()
    (home / "logs").write_text("a file where a folder belongs")
    result = gridlease("up")
    assert result.exit_code == ExitCode.INPUT
    assert str(home / "logs") in result.output.replace("\n", "")


def test_when_the_port_is_taken_then_up_names_the_option():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        result = gridlease("up", "--port", str(server.getsockname()[1]), "--rpc-port", "0")
    assert result.exit_code == ExitCode.EMBEDDED
    assert "--port" in result.output


def test_when_the_data_folder_is_broken_then_up_names_it(home):
    home.mkdir()
    (home / "embedded.json").write_text("{")
    result = gridlease("up")
    assert result.exit_code == ExitCode.EMBEDDED
    assert "embedded.json" in result.output


def test_when_a_plugin_is_not_installed_then_the_pip_command_is_said(monkeypatch):
    entry = EntryPoint(name="market", value="no_such_package.cli:app", group=main.PLUGIN_GROUP)
    monkeypatch.setattr(main, "entry_points", lambda group: [entry])
    result = gridlease("market", "serve", "--config", "x")
    assert result.exit_code == ExitCode.INPUT
    assert "pip install 'gridlease[market]'" in result.output


def test_when_a_plugin_is_there_then_it_runs(monkeypatch):
    plugin = typer.Typer()

    @plugin.command()
    def serve() -> None:
        typer.echo("serving")

    @plugin.command()
    def index() -> None:
        raise InputRejected("no such index")

    entry = EntryPoint(name="market", value="x:app", group=main.PLUGIN_GROUP)
    monkeypatch.setattr(main, "entry_points", lambda group: [entry])
    monkeypatch.setattr(EntryPoint, "load", lambda self: plugin)
    assert gridlease("market", "serve").stdout == "serving\n"
    assert gridlease("market", "index").exit_code == ExitCode.INPUT


def test_when_an_error_is_nobodys_then_its_traceback_is_kept(monkeypatch):
    plugin = typer.Typer()

    @plugin.callback(invoke_without_command=True)
    def broken() -> None:
        raise ZeroDivisionError

    entry = EntryPoint(name="market", value="x:app", group=main.PLUGIN_GROUP)
    monkeypatch.setattr(main, "entry_points", lambda group: [entry])
    monkeypatch.setattr(EntryPoint, "load", lambda self: plugin)
    assert isinstance(gridlease("market").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MoneyError("x"), InputRejected),
        (chain_errors.WrongPassword("x"), WalletError),
        (chain_errors.InsufficientFunds("0x1", 1, 2), InsufficientFunds),
        (chain_errors.ChainUnreachable("http://c", "refused"), ChainFailed),
        (PermissionError(errno.EACCES, "Permission denied", "wallet.json"), InputRejected),
        (ConnectionResetError(errno.ECONNRESET, "reset"), type(None)),
        (ZeroDivisionError(), type(None)),
    ],
)
def test_when_another_package_fails_then_its_error_is_translated(error, kind):
    assert type(foreign(error)) is kind


def test_when_a_job_prints_escape_codes_then_they_do_not_reach_the_terminal():
    assert printable("a\x1b[2Jb\tc\n") == "a\ufffd[2Jb\tc\n"
