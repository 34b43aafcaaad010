"""Keys of the embedded market's own parties: raw keys, worth nothing outside this chain.

Covered: files are created with mode 0600 in a folder with mode 0700, and never leave them through
arguments, logs or the environment. Not covered: encryption at rest; do not send real money to
these accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from client_sdk.chain.errors import WalletError
from client_sdk.chain.wallet import load_key_file, new_key, save_key_file
from client_sdk.errors import FolderBroken

PARTIES = (
    "deployer",  # owns and deploys the contracts, mints the test token
    "treasury",  # receives the market's fee
    "audit-pool",  # receives the auditors' share
    "relayer",  # the marketplace's own account: settles and closes when nobody else does
    "owner",  # the provider's owner: stakes, lists, withdraws
    "operator",  # the provider's operator, on the machine
    "auditor",  # the auditor's account
    "arbiter",  # the account that rules on disputes
)


def key_file(folder: Path, party: str) -> Path:
    """File of one party's key."""
    return folder / f"{party}.key"


def ensure_keys(folder: Path) -> Mapping[str, str]:
    """Create the missing keys; returns the address per party.

    Raises
    ------
    FolderBroken
        A key file is there and does not hold a key.
    """
    addresses: dict[str, str] = {}
    for party in PARTIES:
        path = key_file(folder, party)
        if not path.exists():
            save_key_file(path, new_key())
        try:
            addresses[party] = str(load_key_file(path).address)
        except WalletError as error:
            raise FolderBroken(
                f"{path} does not hold a usable key: {error}",
                what_to_do=f"Restore it from a copy, or start anew: move {folder.parent} away.",
            ) from error
    return addresses
