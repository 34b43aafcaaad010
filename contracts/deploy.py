"""Deploying the contracts to any EVM chain: `python -m contracts.deploy --help`.

On the development chain a test token is deployed too, unless tokens are named.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from eth_utils.address import is_address, to_checksum_address
from web3 import Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import Nonce, TxReceipt
from web3.utils import get_create_address

from contracts.bindings import ABI_VERSION
from contracts.codec import Artifact, load_artifact
from contracts.deployments import (
    DEV_CHAIN_ID,
    BeaconInfo,
    BeaconKind,
    Deployment,
    DeploymentError,
    TokenInfo,
    check_writable,
    save_deployment,
)
from contracts.errors import decode_error
from contracts.rpc import BoundedProvider, RpcUnreachable

DEFAULT_UNBONDING_S: Final = 14 * 24 * 3600
DEFAULT_PAY_DELAY_S: Final = 24 * 3600
FEE_CAP_WEI: Final = 500 * 10**9
RECEIPT_TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.3


class DeployError(Exception):
    """The contracts could not be deployed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployOptions:
    """What the constructors and the deployments file need; no address means the deployer."""

    owner: str | None = None
    """May pause `open` and `list`, set fee and receivers, and reject roots of audit pay; cannot
    reach user funds.
    """

    treasury: str | None = None
    """Credited with fees."""

    audit_pool: str | None = None
    """Credited with audit shares; none means the auditor registry."""

    distributor: str | None = None
    """Posts how the registry shares audit pay."""

    pay_delay_s: int = DEFAULT_PAY_DELAY_S
    """Seconds between a root of audit pay and the first claim under it."""

    fee_bps: int = 0
    """Treasury's share of each payment, in 1/10000."""

    tokens: tuple[str, ...] = ()
    """Allow-list, fixed for ever; auditors bond in the first. Empty is allowed on the development
    chain only.
    """

    unbonding_period_s: int = DEFAULT_UNBONDING_S
    """Seconds between `unbond` and `claimUnbond`, for stakes and for auditors' bonds."""

    arbiter: str | None = None
    """Arbiter that this market's parties accept by default."""

    beacon_delay_blocks: int = 2
    """For the development beacon."""

    confirmations: int = 1
    """Blocks on top of each creation before it counts."""


def deploy(rpc_url: str, private_key: bytes, options: DeployOptions | None = None) -> Deployment:
    """Create the contracts and return where they are; nothing is written to disk.

    Raises
    ------
    DeployError
        No answer from the node, no funds, a bad option, or a creation that failed; the message
        says what to do.
    """
    try:
        account: LocalAccount = Account.from_key(private_key)
    except Exception:  # its errors quote the key
        raise DeployError("this is not a private key") from None
    try:
        provider = BoundedProvider(rpc_url)
    except ValueError as error:
        raise DeployError(str(error)) from error
    try:
        return _Deployer(Web3(provider), account, options or DeployOptions()).run()
    except RpcUnreachable as error:
        raise DeployError(
            f"no answer from the node at {provider.endpoint}: {error}. Check the RPC URL."
        ) from error
    except ContractLogicError as error:
        raise DeployError(
            f"the contract refuses these options: {_reason(error)}. Neither it nor what follows it"
            " was created."
        ) from error
    except (Web3Exception, ValueError, TypeError, KeyError) as error:
        # web3 raises these for whatever a node answers wrongly.
        raise DeployError(f"the node at {provider.endpoint} refused: {error}") from error
    finally:
        provider.close()


class _Deployer:
    def __init__(self, web3: Web3, account: LocalAccount, options: DeployOptions) -> None:
        # Many chains put more into a header's extraData than Ethereum does.
        web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self._web3 = web3
        self._account = account
        mine = str(account.address)
        self._options = options
        self._owner = options.owner or mine
        self._treasury = options.treasury or mine
        self._distributor = options.distributor or mine

    def run(self) -> Deployment:
        options = self._options
        chain_id = self._web3.eth.chain_id
        is_dev = chain_id == DEV_CHAIN_ID
        if not options.tokens and not is_dev:
            raise DeployError(
                "name the tokens of the allow-list with --token: it is fixed for ever"
            )
        tokens = options.tokens or (self._create("TestToken", self._account.address)[0],)
        found = tuple(self._token(token) for token in tokens)
        registry, audit_pool, escrow, block = self._create_pair([t.address for t in found])
        return Deployment(
            chain_id=chain_id,
            escrow=escrow,
            tokens=found,
            start_block=block,
            abi_version=ABI_VERSION,
            arbiter=options.arbiter,
            audit_pool=audit_pool,
            registry=registry,
            beacon=_dev_beacon(options) if is_dev else None,
        )

    def _create_pair(self, tokens: list[str]) -> tuple[str, str, str, int]:
        """Create registry and escrow: registry, audit pool, escrow, and the registry's block."""
        options = self._options
        # They name each other, for ever: the addresses are foreseen.
        foreseen = self._next_address(1)
        audit_pool = options.audit_pool or self._next_address(0)
        unbonding_s = options.unbonding_period_s
        of_registry = (self._owner, foreseen, self._distributor, tokens[0], unbonding_s)
        registry_arguments = (*of_registry, options.pay_delay_s)
        of_escrow = (self._owner, self._treasury, audit_pool, options.fee_bps, tokens)
        escrow_arguments = (*of_escrow, unbonding_s)
        # Both are tried before anything is spent on the first.
        gas = self._gas("AuditorRegistry", registry_arguments)
        gas += self._gas("LeaseEscrow", escrow_arguments)
        self._check_balance("registry and escrow", gas, self._fees()[0])
        registry, block = self._create("AuditorRegistry", *registry_arguments)
        escrow, _ = self._create("LeaseEscrow", *escrow_arguments)
        if escrow != foreseen:
            raise DeployError(
                f"the escrow is at {escrow}, not at {foreseen} as its registry expects: something"
                " else was sent with this key meanwhile. Deploy again."
            )
        return registry, audit_pool, escrow, block

    def _next_address(self, later: int) -> str:
        """Address of the contract that this key creates `later` transactions after the next."""
        nonce = self._web3.eth.get_transaction_count(self._account.address, "pending")
        return str(get_create_address(self._account.address, Nonce(nonce + later)))

    def _create(self, name: str, *arguments: Any) -> tuple[str, int]:
        """Create a contract; returns its address and block."""
        artifact = load_artifact(name)
        transaction = self._transaction(artifact, arguments)
        signed = self._account.sign_transaction(transaction)
        self._web3.eth.send_raw_transaction(signed.raw_transaction)
        receipt = self._wait(bytes(signed.hash), name)
        address = receipt["contractAddress"]
        if receipt["status"] != 1 or address is None:
            raise DeployError(f"creating {name} failed in transaction 0x{signed.hash.hex()}")
        if len(self._web3.eth.get_code(address)) != len(artifact.deployed_bytecode):
            raise DeployError(f"the code at {address} is not that of {name}: do not use this node")
        return to_checksum_address(address), int(receipt["blockNumber"])

    def _transaction(self, artifact: Artifact, arguments: Sequence[Any]) -> dict[str, Any]:
        eth = self._web3.eth
        max_fee, tip = self._fees()
        gas = self._gas(artifact.name, arguments)
        self._check_balance(artifact.name, gas, max_fee)
        return {
            "type": 2,
            "chainId": eth.chain_id,
            "nonce": eth.get_transaction_count(self._account.address, "pending"),
            "data": artifact.creation_code(*arguments),
            "value": 0,
            "gas": gas,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": tip,
        }

    def _gas(self, name: str, arguments: Sequence[Any]) -> int:
        code = load_artifact(name).creation_code(*arguments)
        return self._web3.eth.estimate_gas({"from": self._account.address, "data": code}) * 6 // 5

    def _fees(self) -> tuple[int, int]:
        """Most that is paid for a unit of gas, and the tip in it."""
        base_fee = self._web3.eth.get_block("latest").get("baseFeePerGas", 0)
        tip = self._web3.eth.max_priority_fee
        if base_fee + tip > FEE_CAP_WEI:
            raise DeployError(f"the chain asks {base_fee + tip} wei per gas; try again when calmer")
        return min(2 * base_fee + tip, FEE_CAP_WEI), tip

    def _check_balance(self, what: str, gas: int, max_fee: int) -> None:
        balance = self._web3.eth.get_balance(self._account.address)
        if balance < gas * max_fee:
            raise DeployError(
                f"{self._account.address} holds {balance} wei; creating {what} may take"
                f" {gas * max_fee} wei. Send it the difference."
            )

    def _wait(self, tx_hash: bytes, name: str) -> TxReceipt:
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                receipt = self._web3.eth.get_transaction_receipt(Hash32(tx_hash))
            except TransactionNotFound:
                pass
            else:
                depth = self._web3.eth.block_number - receipt["blockNumber"]
                if depth >= self._options.confirmations:
                    return receipt
            time.sleep(_POLL_S)
        raise DeployError(
            f"{name} was sent as 0x{tx_hash.hex()} but not mined in {RECEIPT_TIMEOUT_S:.0f} s;"
            " look it up before trying again"
        )

    def _token(self, address: str) -> TokenInfo:
        if not is_address(address):
            raise DeployError(f"{address!r} is not a token's address")
        contract = self._web3.eth.contract(
            to_checksum_address(address), abi=load_artifact("TestToken").abi
        )
        symbol = "".join(c for c in contract.functions.symbol().call() if c.isalnum())[:16]
        return TokenInfo(
            symbol=symbol or "token",
            address=to_checksum_address(address),
            decimals=contract.functions.decimals().call(),
        )


def read_key_file(path: Path) -> bytes:
    """Read a private key in hex from a file that nobody else may read.

    Raises
    ------
    DeployError
        Missing, readable by others, or not a key; the message never shows its content.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(1024)
    except OSError as error:
        raise DeployError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise DeployError(f"others can read {path}: run `chmod 600` on it")
    try:
        key = bytes.fromhex(content.decode("ascii").strip().removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise DeployError(f"{path} does not hold a private key of 64 hex digits")
    return key


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    deployment = None
    try:
        check_writable(options.output)
        deployment = deploy(
            options.rpc_url,
            read_key_file(options.key_file),
            DeployOptions(
                owner=options.owner,
                treasury=options.treasury,
                audit_pool=options.audit_pool,
                fee_bps=options.fee_bps,
                tokens=tuple(options.token),
                unbonding_period_s=options.unbonding_period,
                distributor=options.distributor,
                pay_delay_s=options.pay_delay,
                arbiter=options.arbiter,
                confirmations=options.confirmations,
            ),
        )
        save_deployment(options.output, deployment)
    except (DeployError, DeploymentError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        if deployment is not None:  # it was paid for
            entry = json.dumps(deployment.to_json(), indent=2)
            sys.stderr.write(f"The contracts are deployed. Keep this:\n{entry}\n")
        return 1
    sys.stdout.write(
        f"escrow {deployment.escrow}, registry {deployment.registry} on chain"
        f" {deployment.chain_id}, block {deployment.start_block}; written to {options.output}\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contracts.deploy",
        description="Deploy escrow and auditor registry to an EVM chain.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rpc-url", required=True, help="node of the chain")
    parser.add_argument("--key-file", type=Path, required=True, help="private key in hex, mode 600")
    parser.add_argument(
        "--output", type=Path, default=Path("deployments.json"), help="is added to if it exists"
    )
    parser.add_argument("--owner", type=_address, help="none: the deployer")
    parser.add_argument("--treasury", type=_address, help="none: the deployer")
    parser.add_argument("--audit-pool", type=_address, help="none: the auditor registry")
    parser.add_argument("--distributor", type=_address, help="of audit pay; none: the deployer")
    parser.add_argument(
        "--pay-delay", type=int, default=DEFAULT_PAY_DELAY_S, help="seconds, fixed for ever"
    )
    parser.add_argument("--arbiter", type=_address, help="that this market's parties accept")
    parser.add_argument("--fee-bps", type=int, default=0, help="share of each payment, 1/10000")
    parser.add_argument(
        "--token", type=_address, action="append", default=[], help="ERC-20 to allow; repeatable"
    )
    parser.add_argument(
        "--unbonding-period", type=int, default=DEFAULT_UNBONDING_S, help="seconds, fixed for ever"
    )
    parser.add_argument("--confirmations", type=int, default=1, help="blocks on top")
    return parser


def _address(text: str) -> str:
    if not text.startswith("0x") or not is_address(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address")
    return to_checksum_address(text)


def _reason(error: ContractLogicError) -> str:
    try:
        data = bytes.fromhex(str(error.data).removeprefix("0x"))
    except ValueError:
        return "no reason given"
    reason = decode_error(data)
    return f"{reason.name} {reason.args}"


def _dev_beacon(options: DeployOptions) -> BeaconInfo:
    return BeaconInfo(kind=BeaconKind.DEV, delay_blocks=options.beacon_delay_blocks)


if __name__ == "__main__":
    raise SystemExit(main())
