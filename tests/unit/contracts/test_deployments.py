"""The deployments file: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.deployments import (
    MAX_FILE_BYTES,
    BeaconInfo,
    BeaconKind,
    Deployment,
    DeploymentError,
    TokenInfo,
    load_deployment,
    load_deployments,
    save_deployment,
)

ESCROW = "0x0000000000000000000000000000000000000025"
OTHER = "0x0000000000000000000000000000000000000026"
DEV = Deployment(
    chain_id=31337,
    escrow=ESCROW,
    tokens=(TokenInfo(symbol="tUSD", address=OTHER, decimals=6),),
    start_block=3,
    abi_version=3,
    arbiter=ESCROW,
    audit_pool=OTHER,
    beacon=BeaconInfo(kind=BeaconKind.DEV, delay_blocks=2),
    registry=OTHER,
)
MAIN = replace(DEV, chain_id=10, arbiter=None, beacon=None)


def test_when_saved_then_it_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "deployments.json"
    newer = replace(DEV, escrow=OTHER, start_block=9)
    for deployment in (DEV, MAIN, newer, replace(DEV, start_block=4)):
        save_deployment(path, deployment)
    assert [entry.chain_id for entry in load_deployments(path)] == [10, 31337, 31337]
    assert load_deployment(path, chain_id=10) == MAIN
    assert load_deployment(path, chain_id=31337) == newer
    assert load_deployment(path, chain_id=31337, escrow=ESCROW.lower()).start_block == 4
    assert [entry.name for entry in path.parent.iterdir()] == ["deployments.json"]


def test_when_an_entry_is_of_an_older_version_then_it_has_no_registry(tmp_path: Path) -> None:
    path = tmp_path / "deployments.json"
    save_deployment(path, DEV)
    content = json.loads(path.read_text())
    del content["deployments"][0]["registry"]
    path.write_text(json.dumps(content))
    assert load_deployment(path) == replace(DEV, registry=None)


def test_when_several_or_no_entries_fit_then_the_error_says_so(tmp_path: Path) -> None:
    path = tmp_path / "deployments.json"
    save_deployment(path, DEV)
    assert load_deployment(path) == DEV
    save_deployment(path, MAIN)
    with pytest.raises(DeploymentError, match="several chains"):
        load_deployment(path)
    with pytest.raises(DeploymentError, match="no deployment for chain 5"):
        load_deployment(path, chain_id=5)


def test_when_a_token_is_named_then_symbol_and_address_find_it() -> None:
    assert DEV.token("tUSD") == DEV.token(OTHER.upper().replace("X", "x")) == DEV.tokens[0]
    with pytest.raises(DeploymentError, match="it takes tUSD"):
        DEV.token("DOGE")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"chain_id": 0}, "chain_id"),
        ({"chain_id": True}, "chain_id"),
        ({"chain_id": "31337"}, "chain_id"),
        ({"escrow": "0x12"}, "escrow"),
        ({"escrow": ESCROW[2:]}, "escrow"),
        ({"tokens": {}}, "tokens"),
        ({"tokens": [{"symbol": "t", "address": OTHER}]}, "decimals"),
        ({"tokens": [{"symbol": "<b>", "address": OTHER, "decimals": 6}]}, "symbol"),
        ({"tokens": [{"symbol": "t", "address": OTHER, "decimals": 99}]}, "decimals"),
        ({"beacon": {"kind": "dice", "delay_blocks": 2}}, "dice"),
        ({"beacon": {"kind": "dev", "delay_blocks": 0}}, "delay_blocks"),
        ({"beacon": []}, "beacon"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_when_an_entry_is_malformed_then_it_is_refused(
    change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "deployments.json"
    content = {"schema": "gridlease/deployments/1", "deployments": [DEV.to_json() | change]}
    path.write_text(json.dumps(content))
    with pytest.raises(DeploymentError, match=complaint):
        load_deployments(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "schema"),
        ('{"schema": "gridlease/deployments/1"}', "deployments"),
        ("[" * 200_000, "not JSON"),
        (" " * (MAX_FILE_BYTES + 1), "longer than"),
    ],
)
def test_when_the_file_is_no_deployments_file_then_it_is_refused(
    content: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "deployments.json"
    path.write_text(content)
    with pytest.raises(DeploymentError, match=complaint):
        load_deployments(path)


def test_when_the_file_is_missing_or_the_folder_shut_then_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeploymentError, match="cannot read"):
        load_deployments(tmp_path / "none")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        save_deployment(tmp_path / "deployments.json", DEV)
    assert list(tmp_path.iterdir()) == []
