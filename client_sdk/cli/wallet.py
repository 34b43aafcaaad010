"""`gridlease wallet new | import | address | balance | withdraw`."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated, Any

import typer

from client_sdk.cli.context import JsonOption, Setup, connected, read_password
from client_sdk.cli.output import error_console, print_facts, print_json, say
from client_sdk.errors import GridleaseError, WalletError

app = typer.Typer(help="The renter's account.", no_args_is_help=True)


@app.command("new")
@connected
def new(
    setup: Setup,
    fund: Annotated[
        bool, typer.Option(help="Ask the development market's faucet for money.")
    ] = True,
    coin: Annotated[
        bool,
        typer.Option(help="Ask for the chain's own coin too; without it, market nodes pay fees."),
    ] = True,
) -> None:
    """Make a new account, protected by a password; on a development market, funded at once."""
    from client_sdk.chain.wallet import new_key, save_keystore

    path = setup.wallet_path()
    _refuse_existing(path)
    account = new_key()
    save_keystore(path, account, read_password(setup.password_file, confirm=True))
    say(f"{account.address}")
    error_console().print(f"wallet written to {path}; keep it and its password", markup=False)
    if fund:
        _fund(setup, str(account.address), coin=coin)


@app.command("import")
@connected
def import_(setup: Setup) -> None:
    """Import a private key of 64 hex digits; it is asked for, or read from a pipe."""
    from client_sdk.chain.wallet import parse_key, save_keystore

    path = setup.wallet_path()
    _refuse_existing(path)
    if sys.stdin.isatty():
        text = typer.prompt("private key", hide_input=True, err=True)
    else:
        text = sys.stdin.readline()
    account = parse_key(text)
    save_keystore(path, account, read_password(setup.password_file, confirm=True))
    say(f"{account.address}")


@app.command("address")
@connected
def address(setup: Setup, as_json: JsonOption = False) -> None:
    """Print the account's address; needs no password."""
    from client_sdk.chain.wallet import keystore_address

    owner = keystore_address(setup.wallet_path())
    if as_json:
        print_json({"schema": "gridlease/address/1", "address": owner})
    else:
        say(owner)


@app.command("balance")
@connected
def balance(setup: Setup, as_json: JsonOption = False) -> None:
    """What the account holds, and what the escrow owes it."""
    from client_sdk.chain.wallet import keystore_address
    from client_sdk.facts import chain_errors
    from client_sdk.protocol.money import format_amount

    owner = keystore_address(setup.wallet_path())
    with setup.client(with_account=False) as client:
        chain = client.chain
        with chain_errors("reading the balance"):
            coins = chain.balance(owner)
            tokens = [
                (
                    token,
                    chain.token_balance(token.address, owner),
                    chain.view(chain.escrow.credit_of(token.address, owner)),
                )
                for token in client.connection.deployment.tokens
            ]
    if as_json:
        listed = [
            {"symbol": token.symbol, "balance": str(held), "credit": str(credit)}
            for token, held, credit in tokens
        ]
        print_json(
            {"schema": "gridlease/balance/1", "address": owner, "wei": str(coins), "tokens": listed}
        )
        return
    facts: dict[str, object] = {"address": owner, "coin": f"{format_amount(coins, 18)}"}
    for token, held, credit in tokens:
        facts[token.symbol] = format_amount(held, token.decimals)
        advice = " (pays for the next lease; or: gridlease wallet withdraw)" if credit else ""
        facts[f"{token.symbol} credit"] = format_amount(credit, token.decimals) + advice
    print_facts(facts)


@app.command("withdraw")
@connected
def withdraw(setup: Setup) -> None:
    """Take refunds and other credit out of the escrow, into this wallet."""
    from client_sdk.protocol.money import format_amount

    with setup.client() as client:
        how = ", sent by a marketplace node, free of charge" if client.relays.wanted else ""
        for token in client.connection.deployment.tokens:
            amount = client.withdraw(token.address, key=secrets.token_hex(8))
            text = f"{format_amount(amount, token.decimals)} {token.symbol} withdrawn"
            say(text + how * bool(amount))


def _refuse_existing(path: Any) -> None:
    if path.exists():
        raise WalletError(
            f"there is a wallet already: {path}",
            what_to_do="Name another file with --wallet; a wallet is never overwritten.",
        )


def _fund(setup: Setup, address: str, *, coin: bool) -> None:
    """Ask the faucet, where there is one; a wallet without money is still a wallet."""
    from client_sdk import faucet

    try:
        with setup.client(with_account=False) as client:
            node = client.markets.nodes[0]
            if not faucet.has_faucet(node):
                return
            faucet.fund(node, address, coin=coin)
    except GridleaseError as error:
        error_console().print(f"not funded: {error.message}", markup=False, style="yellow")
        return
    error_console().print("funded by the development faucet", markup=False)
