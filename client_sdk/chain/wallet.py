"""Keys on disk: password-protected keystores for people, plain key files for daemons.

*Covered:* files that only their owner can read, never overwritten, written whole; keys that appear
in no message, log or repr. *Not covered:* whoever runs as the same user, or as root, can read a
daemon's key: keep little on it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from client_sdk.chain.errors import WalletError, WalletUnreadable, WrongPassword
from client_sdk.chain.keyfiles import read_private, write_new
from contracts import plain_json

_KEY: Final = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_MAX_WORK: Final = 1 << 22
"""Largest key-derivation work factor (scrypt n, PBKDF2 rounds) that a keystore may ask for: 4 times
the usual. A keystore from a stranger could otherwise take all memory."""


def new_key() -> LocalAccount:
    """Make a key from the system's randomness."""
    return account_from(os.urandom(32))


def account_from(private_key: bytes) -> LocalAccount:
    """The account of a private key.

    Raises
    ------
    WalletUnreadable
        Not 32 bytes, or not a valid key of the curve.
    """
    try:
        if len(private_key) != 32:
            raise ValueError
        account: LocalAccount = Account.from_key(private_key)
    except Exception:  # its errors quote the key
        raise WalletUnreadable("this is not a private key") from None
    return account


def parse_key(text: str) -> LocalAccount:
    """The account of a private key in hex, as exported by wallets; 0x may be missing.

    Raises
    ------
    WalletUnreadable
        It is something else; the message does not repeat it.
    """
    text = text.strip()
    if not _KEY.fullmatch(text):
        raise WalletUnreadable("this is not a private key of 64 hex digits")
    return account_from(bytes.fromhex(text.removeprefix("0x")))


def save_keystore(path: Path, account: LocalAccount, password: str) -> None:
    """Write a keystore (Web3 Secret Storage, version 3, scrypt) with mode 0600.

    Raises
    ------
    WalletExists
        There is a file already.
    """
    write_new(path, json.dumps(account.encrypt(password)))


def load_keystore(path: Path, password: str) -> LocalAccount:
    """Open a keystore.

    Raises
    ------
    WalletMissing, WalletUnreadable, KeyTooOpen, WrongPassword
    """
    content = read_private(path)
    try:
        keystore = plain_json.parse(content)
        version = keystore["version"]
        kdf = {key.lower(): value for key, value in keystore.items()}["crypto"]["kdfparams"]
        work = max(int(kdf.get("n", 0)) * int(kdf.get("r", 8)) // 8, int(kdf.get("c", 0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WalletUnreadable(f"{path} is not a keystore file") from None
    if version != 3 or not 0 < work <= _MAX_WORK:
        raise WalletUnreadable(f"{path}: only version 3 keystores of usual strength can be opened")
    try:
        return account_from(bytes(Account.decrypt(keystore, password)))
    except WalletError:
        raise
    except ValueError as error:
        if "MAC" in str(error):
            raise WrongPassword(f"wrong password for {path}") from None
        raise WalletUnreadable(f"{path} is not a whole keystore file") from None
    except Exception:  # a malformed keystore breaks the library in many ways
        raise WalletUnreadable(f"{path} is not a whole keystore file") from None


def keystore_address(path: Path) -> str:
    """The address that a keystore claims, without its password.

    Raises
    ------
    WalletMissing, WalletUnreadable, KeyTooOpen
    """
    try:
        claimed = plain_json.parse(read_private(path))["address"].removeprefix("0x")
        if len(bytes.fromhex(claimed)) != 20:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WalletUnreadable(f"{path} is not a keystore file") from None
    return to_checksum_address("0x" + claimed)


def save_key_file(path: Path, account: LocalAccount) -> None:
    """Write a daemon's key as hex, unencrypted, with mode 0600.

    Raises
    ------
    WalletExists
        There is a file already.
    """
    write_new(path, "0x" + bytes(account.key).hex() + "\n")


def load_key_file(path: Path) -> LocalAccount:
    """Read a daemon's key.

    Raises
    ------
    WalletMissing, WalletUnreadable, KeyTooOpen
    """
    content = read_private(path)
    try:
        return parse_key(content.decode("ascii"))
    except (UnicodeDecodeError, WalletUnreadable):
        raise WalletUnreadable(f"{path} is not a key file: 64 hex digits") from None
