"""What the commands share: where the market is, which folder, which wallet."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk.errors import WalletError
from client_sdk.home import HOME_NAME, RenterHome, find_home

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="GRIDLEASE_HOME",
        help="Folder for wallet, jobs and the embedded market; default: the nearest "
        ".gridlease upwards, else the one in your home; `up` makes it in this folder.",
        show_envvar=True,
    ),
]
PasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        envvar="GRIDLEASE_PASSWORD_FILE",
        help="File with the wallet's password; default: ask.",
        show_envvar=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MAX_PASSWORD_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Options that every command has which speaks to the market."""

    home: HomeOption = None
    market: Annotated[
        list[str] | None,
        typer.Option(
            "--market",
            envvar="GRIDLEASE_MARKETS",
            help="URL of a marketplace node; repeat it for several.",
        ),
    ] = None
    rpc_url: Annotated[
        str | None,
        typer.Option(envvar="GRIDLEASE_RPC_URL", help="Node of the chain."),
    ] = None
    deployment: Annotated[
        Path | None,
        typer.Option(envvar="GRIDLEASE_DEPLOYMENT", help="File that names the contracts."),
    ] = None
    chain_id: Annotated[int | None, typer.Option(help="Chain, where the file names several.")] = (
        None
    )
    wallet: Annotated[
        Path | None, typer.Option(envvar="GRIDLEASE_WALLET", help="Wallet to use.")
    ] = None
    password_file: PasswordOption = None
    relay: Annotated[
        bool | None,
        typer.Option(
            "--relay/--no-relay",
            envvar="GRIDLEASE_RELAY",
            help="Let marketplace nodes send this wallet's transactions; default: when it cannot"
            " pay the chain's fees.",
        ),
    ] = None
    max_relay_fee: Annotated[
        int | None,
        typer.Option(
            envvar="GRIDLEASE_MAX_RELAY_FEE",
            min=0,
            help="Most that a node may take for opening a lease, in the token's smallest unit.",
        ),
    ] = None

    def renter_home(self) -> RenterHome:
        """The folder to work with."""
        return RenterHome(find_home(self.home))

    def wallet_path(self) -> Path:
        """The wallet to use."""
        return self.wallet or self.renter_home().wallet

    def client(self, *, with_account: bool = True) -> Any:
        """A client; without an account it can only read what is public."""
        # Imported here: these load web3, which takes a second that `--help` need not take.
        from client_sdk.chain.wallet import load_keystore
        from client_sdk.client import Client
        from client_sdk.connection import connect
        from client_sdk.policy import Policy

        connection = connect(
            home=self.home,
            markets=self.market or (),
            rpc_url=self.rpc_url,
            deployment=self.deployment,
            chain_id=self.chain_id,
        )
        account = None
        if with_account:
            path = self.wallet_path()
            if not path.exists():
                raise WalletError(
                    f"there is no wallet at {path}",
                    what_to_do="Create one with `gridlease wallet new`.",
                )
            account = load_keystore(path, read_password(self.password_file))
        policy = Policy()
        if self.max_relay_fee is not None:
            policy = replace(policy, max_relay_fee=self.max_relay_fee)
        return Client(connection=connection, account=account, policy=policy, relay=self.relay)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `Setup`'s options; it receives them as its first argument."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(Setup, eval_str=True).parameters.values()
    ]
    names = {parameter.name for parameter in shared}

    @wraps(command)
    def run(**values: Any) -> None:
        setup = Setup(**{name: values.pop(name) for name in names})
        command(setup, **values)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    merged = inspect.Signature([*parameters, *shared])
    run.__signature__ = merged  # type: ignore[attr-defined]  # read by inspect.signature
    run.__annotations__ = {item.name: item.annotation for item in merged.parameters.values()}
    del run.__wrapped__  # set by wraps; it would win over ours
    return run


def home_for_up(home: Path | None) -> Path:
    """Folder of the embedded market: as told, or `.gridlease` in the working directory."""
    return home if home is not None else Path.cwd() / HOME_NAME


def read_password(path: Path | None, *, confirm: bool = False) -> str:
    """The wallet's password: from a file, or asked for on the terminal; never an argument.

    Raises
    ------
    WalletError
        There is neither a file nor a terminal.
    """
    if path is not None:
        try:
            return path.read_bytes()[:MAX_PASSWORD_BYTES].decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise WalletError(
                f"cannot read the password file {path}: {error}",
                what_to_do="Name a readable file with --password-file.",
            ) from error
    if not sys.stdin.isatty():
        raise WalletError(
            "the wallet's password is needed, and there is no terminal to ask on",
            what_to_do="Name a file with --password-file or GRIDLEASE_PASSWORD_FILE.",
        )
    answer: str = typer.prompt("password", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer
