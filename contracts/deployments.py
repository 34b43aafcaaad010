"""Where the contracts are: `deployments.json`.

::

    {"schema": "gridlease/deployments/1",
     "deployments": [
       {"chain_id": 31337, "escrow": "0x..", "start_block": 3, "abi_version": 3,
        "tokens": [{"symbol": "tUSD", "address": "0x..", "decimals": 6}],
        "arbiter": "0x.." or null, "audit_pool": "0x..", "registry": "0x.." or null,
        "beacon": {"kind": "dev", "delay_blocks": 2} or null}]}

One file holds several chains, and several versions of the contract on one chain.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from eth_utils.address import is_address, to_checksum_address

from contracts import plain_json

SCHEMA: Final = "gridlease/deployments/1"
DEV_CHAIN_ID: Final = 31337
"""Chain on which mock randomness, the faucet and workers that lie are allowed; nowhere else."""
MAX_FILE_BYTES: Final = 1024 * 1024


class DeploymentError(Exception):
    """The deployments file cannot be used."""


class BeaconKind(StrEnum):
    """Where public randomness comes from."""

    DEV = (
        "dev"  # hash of a later block: only for the development chain, whoever mines can choose it
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BeaconInfo:
    """The randomness beacon that all parties of a deployment use."""

    kind: BeaconKind
    delay_blocks: int
    """Blocks between an event and the block whose randomness counts for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenInfo:
    """A token of the escrow's allow-list."""

    symbol: str
    address: str
    decimals: int
    """Digits after the point: amounts are integers in units of 10**-decimals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """One escrow on one chain; addresses are EIP-55."""

    chain_id: int
    escrow: str
    tokens: tuple[TokenInfo, ...]
    start_block: int
    """Block of the first contract's creation: indexes start here."""

    abi_version: int
    arbiter: str | None
    """Arbiter that this market's parties accept by default; terms name theirs."""

    audit_pool: str
    beacon: BeaconInfo | None
    registry: str | None = None
    """Auditor registry beside the escrow. An entry without the key, as older versions wrote, has
    none.
    """

    def token(self, name: str) -> TokenInfo:
        """Find a token by symbol or address.

        Raises
        ------
        DeploymentError
            The escrow does not take this token.
        """
        for token in self.tokens:
            if name == token.symbol or name.lower() == token.address.lower():
                return token
        known = ", ".join(token.symbol for token in self.tokens)
        raise DeploymentError(f"this market does not take {name!r}; it takes {known}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"tokens": [asdict(token) for token in self.tokens]}

    @classmethod
    def from_json(cls, raw: object) -> Deployment:
        """Read one entry strictly.

        Raises
        ------
        DeploymentError
            A key is missing, unknown, or of the wrong type.
        """
        if isinstance(raw, dict):
            raw = {"registry": None, **raw}
        fields = _object(raw, "deployment", cls.__dataclass_fields__)
        beacon = fields["beacon"]
        return cls(
            chain_id=_integer(fields, "chain_id", least=1),
            escrow=_address(fields, "escrow"),
            tokens=tuple(_token(entry) for entry in _sequence(fields, "tokens")),
            start_block=_integer(fields, "start_block"),
            abi_version=_integer(fields, "abi_version", least=1),
            arbiter=None if fields["arbiter"] is None else _address(fields, "arbiter"),
            audit_pool=_address(fields, "audit_pool"),
            beacon=None if beacon is None else _beacon(beacon),
            registry=None if fields["registry"] is None else _address(fields, "registry"),
        )


def load_deployments(path: Path) -> list[Deployment]:
    """Read all entries of a deployments file.

    Raises
    ------
    DeploymentError
        The file is missing, too large, or malformed; the message says where.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DeploymentError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise DeploymentError(f"{path} is longer than {MAX_FILE_BYTES} bytes")
    try:
        raw = plain_json.parse(content)
    except ValueError as error:
        raise DeploymentError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise DeploymentError(f'{path} does not say "schema": "{SCHEMA}"')
    try:
        return [Deployment.from_json(entry) for entry in _sequence(raw, "deployments")]
    except DeploymentError as error:
        raise DeploymentError(f"{path}: {error}") from error


def load_deployment(
    path: Path, *, chain_id: int | None = None, escrow: str | None = None
) -> Deployment:
    """Read the one entry that fits; of several versions on one chain, the one deployed last.

    Raises
    ------
    DeploymentError
        No entry fits, or entries of several chains do.
    """
    fitting = [
        entry
        for entry in load_deployments(path)
        if chain_id in (None, entry.chain_id)
        and (escrow is None or escrow.lower() == entry.escrow.lower())
    ]
    if not fitting:
        raise DeploymentError(f"{path} has no deployment for chain {chain_id}, escrow {escrow}")
    if len({entry.chain_id for entry in fitting}) > 1:
        raise DeploymentError(f"{path} has deployments on several chains: name the chain id")
    return max(fitting, key=lambda entry: entry.start_block)


def check_writable(path: Path) -> None:
    """Look beforehand whether `save_deployment` will find a place for its file; makes nothing.

    Raises
    ------
    DeploymentError
        No such folder, no right to write to it, or the file there is none of deployments.
    """
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise DeploymentError(
            f"{path} cannot be written: {folder} is no folder, or not open to you"
        )
    if path.exists():
        load_deployments(path)


def save_deployment(path: Path, deployment: Deployment) -> None:
    """Add an entry, in place of one with the same chain and escrow; the file changes at once."""
    present = load_deployments(path) if path.exists() else []
    key = (deployment.chain_id, deployment.escrow)
    kept = [entry for entry in present if (entry.chain_id, entry.escrow) != key]
    content = {
        "schema": SCHEMA,
        "deployments": [entry.to_json() for entry in [*kept, deployment]],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # addresses only, and read by every process of the market
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _object(raw: object, what: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise DeploymentError(f"a {what} is not an object")
    wrong = sorted(set(keys) ^ set(raw))
    if wrong:
        raise DeploymentError(f"a {what} lacks, or has no such key: {', '.join(map(str, wrong))}")
    return raw


def _integer(fields: Mapping[str, Any], key: str, least: int = 0, most: int = 2**53) -> int:
    value = fields[key]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise DeploymentError(f"{key} is not an integer from {least} to {most}")
    return value


def _address(fields: Mapping[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str) or not value.startswith("0x") or not is_address(value):
        raise DeploymentError(f"{key} is not an address")
    return to_checksum_address(value)


def _sequence(fields: Mapping[str, Any], key: str) -> Sequence[object]:
    value = fields.get(key)
    if not isinstance(value, list):
        raise DeploymentError(f"{key} is not a list")
    return value


def _token(raw: object) -> TokenInfo:
    fields = _object(raw, "token", TokenInfo.__dataclass_fields__)
    symbol = fields["symbol"]
    if not isinstance(symbol, str) or not symbol.isalnum() or len(symbol) > 16:
        raise DeploymentError("a token's symbol is not 1 to 16 letters and digits")
    return TokenInfo(
        symbol=symbol,
        address=_address(fields, "address"),
        decimals=_integer(fields, "decimals", most=36),
    )


def _beacon(raw: object) -> BeaconInfo:
    fields = _object(raw, "beacon", BeaconInfo.__dataclass_fields__)
    if fields["kind"] not in [kind.value for kind in BeaconKind]:
        raise DeploymentError(f"beacon kind {fields['kind']!r} is not known")
    return BeaconInfo(
        kind=BeaconKind(fields["kind"]),
        delay_blocks=_integer(fields, "delay_blocks", least=1, most=1000),
    )
