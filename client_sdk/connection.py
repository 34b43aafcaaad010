"""Where a renter's session points to: marketplace nodes, chain, contracts, folder.

The contracts' addresses come from the renter's own deployment file, never from a marketplace
node: a node that could choose them could point the money at a contract of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client_sdk.chain.deployment import (
    Deployment,
    DeploymentError,
    load_deployment,
    load_deployments,
)
from client_sdk.embedded import run_file
from client_sdk.embedded.layout import DataFolder
from client_sdk.errors import InputRejected
from client_sdk.home import RenterHome, find_home


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """Everything a client needs to know before it can speak to anybody."""

    markets: tuple[str, ...]
    rpc_url: str
    deployment: Deployment
    home: RenterHome


def connect(
    *,
    home: Path | None = None,
    markets: Sequence[str] = (),
    rpc_url: str | None = None,
    deployment: Path | None = None,
    chain_id: int | None = None,
) -> Connection:
    """Fill in what the caller left out from the embedded market in the home folder.

    Raises
    ------
    InputRejected
        Something is neither given nor found; the message names the option.
    """
    root = find_home(home)
    folder = DataFolder(root)
    run = run_file.load(folder) if folder.run_file.exists() else None
    urls = tuple(markets) or ((run.api_url,) if run is not None else ())
    endpoint = rpc_url or (run.rpc_url if run is not None else None)
    if not urls:
        raise _missing("no marketplace node", root, "--market URL")
    if endpoint is None:
        raise _missing("no node of the chain", root, "--rpc-url URL")
    path = deployment or folder.deployment
    if not path.exists():
        raise _missing("no deployment file", root, "--deployment FILE")
    return Connection(
        markets=urls,
        rpc_url=endpoint,
        deployment=_load(path, chain_id),
        home=RenterHome(root),
    )


def _load(path: Path, chain_id: int | None) -> Deployment:
    try:
        if chain_id is not None:
            return load_deployment(path, chain_id=chain_id)
        known = load_deployments(path)
    except DeploymentError as error:
        raise InputRejected(str(error), what_to_do="Name another with --deployment.") from error
    if len(known) != 1:
        chains = ", ".join(str(entry.chain_id) for entry in known) or "none"
        raise InputRejected(
            f"{path} names {len(known)} deployments (chains: {chains})",
            what_to_do="Choose one with --chain-id.",
        )
    return known[0]


def _missing(what: str, root: Path, option: str) -> InputRejected:
    return InputRejected(
        f"{what} is known in {root}",
        what_to_do=f"Start a market here with `gridlease up`, or name one with {option}.",
    )
