"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from client_sdk.cli.main import app
from client_sdk.errors import ExitCode
from client_sdk.protocol.jobspec import KEYS, JobSpec

DOCS = Path(__file__).parents[3] / "docs"


def test_when_an_exit_code_exists_then_the_manual_lists_it() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| ([0-9]+) \|", text, re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


def test_when_a_command_exists_then_the_manual_names_it() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    commands = getattr(typer.main.get_command(app), "commands")  # noqa: B009 - not on the base type
    assert [name for name in commands if not re.search(rf"\b{name}\b", text)] == []


def test_when_the_spec_of_the_manual_is_read_then_it_is_accepted() -> None:
    text = (DOCS / "job-spec.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    assert JobSpec.from_dict(yaml.safe_load(found.group(1))).name == "digits-cnn"


@pytest.mark.parametrize("key", KEYS)
def test_when_a_key_exists_then_the_manual_describes_it(key: str) -> None:
    text = (DOCS / "job-spec.md").read_text(encoding="utf-8")
    assert f"`{key}`" in text
