from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worker_agent.errors import SettingsError
from worker_agent.settings import Cheat, Role, load_settings, parse_settings

BASE: dict[str, Any] = {
    "role": "provider",
    "data_dir": "data",
    "rpc_url": "http://127.0.0.1:8545",
    "deployments_file": "deployments.json",
    "chain_id": 31337,
    "markets": ["http://127.0.0.1:8000/"],
    "operator_key_file": "operator.key",
    "owner_key_file": "owner.key",
}


def test_when_the_file_is_complete_then_paths_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    path.write_text(json.dumps({"schema": "gridlease/worker-config/1", **BASE}))
    settings = load_settings(path, "provider")
    assert settings.role is Role.PROVIDER
    assert settings.data_dir == tmp_path / "data"
    assert settings.markets == ("http://127.0.0.1:8000",)
    assert settings.encryption_key_path == tmp_path / "data" / "encryption.key"


def test_when_the_file_is_named_from_its_folder_then_its_paths_are_absolute_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.json").write_text(json.dumps(BASE))
    monkeypatch.chdir(tmp_path)
    found = load_settings(Path("worker.json"))
    assert found.data_dir == tmp_path / BASE["data_dir"]
    assert found.deployments_file.is_absolute()


def test_when_the_file_is_missing_then_the_mend_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gridlease worker init"):
        load_settings(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "one JSON object"),
        ("{", "not valid JSON"),
        ('{"schema": "gridlease/worker-config/9"}', "this worker reads"),
    ],
)
def test_when_the_file_is_no_configuration_then_it_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "worker.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(path)


def test_when_the_command_names_another_role_then_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    path.write_text(json.dumps(BASE))
    with pytest.raises(SettingsError, match="is for role 'provider', not 'auditor'"):
        load_settings(path, "auditor")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "unknown settings: colour"),
        ({"chain_id": "31337"}, "chain_id: expected int"),
        ({"chain_id": True}, "chain_id: expected int"),
        ({"role": "boss"}, "role: 'boss' is not one of arbiter, auditor, provider"),
        ({"markets": []}, "name at least one"),
        ({"markets": ["ftp://x"]}, "not an http URL"),
        ({"markets": [1]}, "markets: expected"),
        ({"owner_key_file": None}, "a provider needs owner_key_file"),
        ({"price_per_hour": "1e3"}, "price_per_hour: '1e3' is not a decimal amount"),
        ({"window_s": 0}, "window_s: must be at least 1, not 0"),
        ({"max_segments": 70_000}, "at most 65535"),
        ({"cheat": "skip_steps", "chain_id": 1}, "cheat is refused unless chain_id is 31337"),
        ({"cheat": "skip_steps", "role": "auditor"}, "cheat is for role provider"),
    ],
)
def test_when_a_value_is_impossible_then_it_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings({**BASE, **change}, Path())


def test_when_settings_are_missing_then_all_are_named() -> None:
    values = {k: v for k, v in BASE.items() if k not in {"rpc_url", "data_dir"}}
    with pytest.raises(SettingsError, match="missing settings: data_dir, rpc_url"):
        parse_settings(values, Path())


def test_when_cheating_on_the_development_chain_then_it_is_allowed() -> None:
    assert parse_settings({**BASE, "cheat": "skip_steps"}, Path()).cheat is Cheat.SKIP_STEPS
