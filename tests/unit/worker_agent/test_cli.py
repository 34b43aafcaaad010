from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from tests.fakes import parties
from worker_agent.cli import app
from worker_agent.context import MarketLogin
from worker_agent.draining import set_draining
from worker_agent.errors import MarketUnreachable
from worker_agent.journal import Journal
from worker_agent.settings import load_settings

RUN = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "worker.json"
    done = RUN.invoke(app, ["init", "--config", str(path), "--allow-weak"])
    assert done.exit_code == 0, done.output
    return path


def test_when_a_worker_is_set_up_then_configuration_and_private_keys_are_written(
    config: Path,
) -> None:
    settings = load_settings(config)
    assert settings.allow_weak_isolation
    for path in (settings.operator_key_file, settings.owner_key_file):
        assert path is not None
        assert path.stat().st_mode & 0o777 == 0o600
    again = RUN.invoke(app, ["init", "--config", str(config)])
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_when_a_price_is_none_then_nothing_is_set_up(tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    done = RUN.invoke(app, ["init", "--config", str(folder / "worker.json"), "--price", "abc"])
    assert done.exit_code == 2
    assert "price_per_hour: 'abc' is not a decimal amount" in done.output
    assert not folder.exists()


def test_when_an_auditor_is_set_up_then_it_needs_no_owner(tmp_path: Path) -> None:
    path = tmp_path / "auditor.json"
    assert RUN.invoke(app, ["init", "--config", str(path), "--role", "auditor"]).exit_code == 0
    assert load_settings(path, "auditor").owner_key_file is None


def test_when_the_configuration_is_broken_then_every_command_says_so(tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    path.write_text('{"colour": 1}')
    for command in ("check", "start", "status", "drain", "earnings", "delist", "withdraw"):
        done = RUN.invoke(app, [command, "--config", str(path)])
        assert done.exit_code == 2, command
        assert "unknown settings: colour" in done.output


def test_when_the_deployment_is_missing_then_the_check_fails_with_the_reason(
    config: Path,
) -> None:
    done = RUN.invoke(app, ["check", "--config", str(config), "--json"])
    assert done.exit_code == 1
    (finding,) = json.loads(done.output)
    assert not finding["ok"]
    assert "deployments.json" in finding["text"]


def test_when_nothing_was_started_then_status_says_what_to_do(config: Path) -> None:
    done = RUN.invoke(app, ["status", "--config", str(config)])
    assert done.exit_code == 2
    assert "start the worker first" in done.output


def test_when_a_worker_is_drained_then_status_shows_it(config: Path) -> None:
    assert RUN.invoke(app, ["drain", "--config", str(config)]).exit_code == 0
    shown = json.loads(RUN.invoke(app, ["status", "--config", str(config), "--json"]).output)
    assert (shown["draining"], shown["running"], shown["leases"]) == (True, False, [])
    undone = RUN.invoke(app, ["drain", "--undo", "--config", str(config), "--json"])
    assert json.loads(undone.output) == {"draining": False}
    with FileLock(load_settings(config).data_dir / "worker.lock"):
        shown = json.loads(RUN.invoke(app, ["status", "--config", str(config), "--json"]).output)
    assert (shown["draining"], shown["running"]) == (False, True)


def test_when_leases_are_journaled_then_status_lists_them(config: Path) -> None:
    settings = load_settings(config)
    journal = Journal(settings.data_dir / "journal.db")
    set_draining(journal, False)
    journal.close()
    text = RUN.invoke(app, ["status", "--config", str(config)]).output
    assert "offer     none" in text


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"chain_id": 1}, "for chain 1"),
        ({"chain_id": 31337, "login": {"domain": "evil.test", "uri": "x"}}, "evil.test"),
        ({"chain_id": 31337, "login": 7}, "None"),
        ({"chain_id": 31337, "login": {"domain": "market.test", "uri": "no uri"}}, "impossible"),
    ],
)
def test_when_a_market_wants_a_login_for_another_place_then_nothing_is_signed(
    facts: dict[str, object], message: str
) -> None:
    login = MarketLogin(parties.OPERATOR, 31337, "http://market.test")
    with pytest.raises(MarketUnreachable, match=message):
        login(facts, "n0nce1234")


def test_when_a_market_asks_properly_then_the_login_names_it() -> None:
    login = MarketLogin(parties.OPERATOR, 31337, "http://market.test")
    facts = {"chain_id": 31337, "login": {"domain": "market.test", "uri": "http://market.test"}}
    text, signature = login(facts, "n0nce1234")
    assert text.startswith("market.test wants you to sign in")
    assert len(signature) == 132
