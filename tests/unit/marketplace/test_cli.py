"""The command line: what cannot start says why, and how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from typer.testing import CliRunner

from marketplace.cli import app
from tests.support.market import make_settings


def _config(tmp_path: Path, **values: Any) -> Path:
    path = tmp_path / "config.json"
    body = make_settings(tmp_path).model_dump(mode="json") | values
    path.write_text(json.dumps(body))
    return path


def test_when_a_database_is_migrated_then_stats_can_be_read(tmp_path: Path) -> None:
    config = str(_config(tmp_path))
    unmigrated = CliRunner().invoke(app, ["stats", "--config", config])
    assert (unmigrated.exit_code, "market migrate" in unmigrated.output) == (2, True)
    assert CliRunner().invoke(app, ["migrate", "--config", config]).exit_code == 0
    result = CliRunner().invoke(app, ["stats", "--json", "--config", config])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["outbox_due"] == 0
    assert "indexed_block" in CliRunner().invoke(app, ["stats", "--config", config]).output


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"port": 99_999}, "port"),
        ({"database_url": "mysql://secret-password@x"}, "sqlite+aiosqlite"),
        ({"no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_when_a_setting_is_wrong_then_the_message_names_it_without_its_value(
    tmp_path: Path, values: dict[str, Any], part: str
) -> None:
    result = CliRunner().invoke(app, ["serve", "--config", str(_config(tmp_path, **values))])
    assert result.exit_code == 2
    assert part in result.output
    assert "secret-password" not in result.output


@pytest.mark.parametrize(
    ("options", "queues"),
    [
        ([], "--queues=gridlease,gridlease-relay"),
        (["--no-relay"], "--queues=gridlease"),
        (["--no-others"], "--queues=gridlease-relay"),
    ],
)
def test_when_a_process_delivers_a_part_then_it_takes_no_other_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], queues: str
) -> None:
    config, given = str(_config(tmp_path)), []
    monkeypatch.setattr(Celery, "worker_main", lambda _app, arguments: given.extend(arguments))
    assert CliRunner().invoke(app, ["migrate", "--config", config]).exit_code == 0
    result = CliRunner().invoke(app, ["celery", "--config", config, *options])
    assert result.exit_code == 0, result.output
    assert queues in given


def test_when_a_process_is_to_deliver_nothing_then_it_does_not_start(tmp_path: Path) -> None:
    config = str(_config(tmp_path))
    assert CliRunner().invoke(app, ["migrate", "--config", config]).exit_code == 0
    result = CliRunner().invoke(app, ["celery", "--config", config, "--no-relay", "--no-others"])
    assert (result.exit_code, "nothing is left to do" in result.output) == (2, True)


def test_when_the_config_is_missing_then_the_message_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--config", str(tmp_path / "none.json")])
    assert (result.exit_code, "cannot be read" in result.output) == (2, True)
