"""Keys on disk: private, never overwritten, never shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from client_sdk.chain import keyfiles, wallet
from client_sdk.chain.errors import (
    KeyTooOpen,
    WalletError,
    WalletExists,
    WalletMissing,
    WalletUnreadable,
    WrongPassword,
)

KEY = b"\x11" * 32


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    """A keystore with little work, so that tests stay fast; `save_keystore` does the usual."""
    path = tmp_path / "wallet.json"
    content = Account.encrypt(KEY, "right", kdf="pbkdf2", iterations=10)
    keyfiles.write_new(path, json.dumps(content))
    return path


def test_when_saved_with_a_password_then_only_it_opens_the_keystore(tmp_path: Path) -> None:
    account, path = wallet.new_key(), tmp_path / "keys" / "wallet.json"
    wallet.save_keystore(path, account, "right")
    assert path.stat().st_mode & 0o777 == 0o600
    assert wallet.load_keystore(path, "right").key == account.key
    assert wallet.keystore_address(path) == account.address
    assert bytes(account.key).hex() not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["wallet.json"]


def test_when_the_password_is_wrong_then_nothing_is_told(keystore: Path) -> None:
    assert bytes(wallet.load_keystore(keystore, "right").key) == KEY
    with pytest.raises(WrongPassword) as failure:
        wallet.load_keystore(keystore, "wrong")
    assert "wrong" not in str(failure.value).replace("wrong password", "")
    assert failure.value.__suppress_context__


def test_when_a_file_is_there_then_it_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    wallet.save_key_file(path, wallet.account_from(KEY))
    with pytest.raises(WalletExists):
        wallet.save_key_file(path, wallet.new_key())
    assert bytes(wallet.load_key_file(path).key) == KEY
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(WalletError, match="cannot write"):
        wallet.save_key_file(path / "below", wallet.new_key())


def test_when_others_can_read_a_key_then_it_is_refused(keystore: Path) -> None:
    keystore.chmod(0o640)
    with pytest.raises(KeyTooOpen) as failure:
        wallet.load_keystore(keystore, "right")
    assert "chmod 600" in failure.value.what_to_do


def test_when_there_is_no_key_file_then_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WalletMissing) as failure:
        wallet.load_key_file(tmp_path / "none")
    assert "gridlease wallet new" in failure.value.what_to_do
    with pytest.raises(WalletUnreadable):
        wallet.load_key_file(tmp_path)
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    with pytest.raises(WalletUnreadable, match="not a file"):
        wallet.load_key_file(device)


@pytest.mark.parametrize("content", ["", "0x12", "zz" * 32, "\u00e9" * 64, "1" * 20_000])
def test_when_a_key_file_holds_something_else_then_its_content_is_not_shown(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(WalletUnreadable) as failure:
        wallet.load_key_file(path)
    assert not content or content not in str(failure.value)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 4},
        {"crypto": {}},
        {"crypto": []},
        {"crypto": {"kdfparams": {"n": 2**40, "r": 8}}},
        {"crypto": {"kdfparams": {"n": 2**18, "r": 2**20}}},
        {"crypto": {"kdfparams": {"c": "many"}}},
        {"crypto": {"kdfparams": {"c": 10}}},
    ],
)
def test_when_a_keystore_is_malformed_or_greedy_then_it_is_refused(
    keystore: Path, change: dict[str, Any]
) -> None:
    content = json.loads(keystore.read_text()) | change
    keystore.write_text(json.dumps(content))
    with pytest.raises(WalletUnreadable):
        wallet.load_keystore(keystore, "right")


@pytest.mark.parametrize("content", ["", "[]", '{"address": 5}', '{"address": "12"}', "{}"])
def test_when_the_keystore_is_no_keystore_then_it_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wallet.json"
    keyfiles.write_new(path, content)
    with pytest.raises(WalletUnreadable):
        wallet.load_keystore(path, "x")
    with pytest.raises(WalletUnreadable):
        wallet.keystore_address(path)


@pytest.mark.parametrize("text", ["11" * 32, "0x" + "11" * 32, "  0x" + "11" * 32 + "\n"])
def test_when_a_key_is_pasted_then_it_is_read(text: str) -> None:
    assert bytes(wallet.parse_key(text).key) == KEY


@pytest.mark.parametrize("text", ["", "0x", "11" * 31, "ff" * 32, "00" * 32, "0x0x" + "11" * 31])
def test_when_no_key_is_pasted_then_it_is_not_repeated(text: str) -> None:
    with pytest.raises(WalletUnreadable) as failure:
        wallet.parse_key(text)
    assert len(text) < 10 or text not in str(failure.value)
    with pytest.raises(WalletUnreadable):
        wallet.account_from(b"\x01")
