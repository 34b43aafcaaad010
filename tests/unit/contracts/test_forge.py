"""The tools of the contracts fail when what they run fails."""

from __future__ import annotations

import json
import subprocess

import contracts.build as build

FORGE = build.FOLDER / "tools" / "forge"


def test_when_forge_fails_then_its_caller_hears_of_it() -> None:
    # The launcher that npm installs ends with 0, and so let every failing test pass.
    done = subprocess.run([FORGE, "no-such-command"], capture_output=True, check=False)
    assert done.returncode not in (0, 127)


def test_when_a_script_runs_forge_then_it_is_not_through_the_launcher() -> None:
    scripts = json.loads((build.FOLDER / "package.json").read_text(encoding="utf-8"))["scripts"]
    running = {name: text for name, text in scripts.items() if "forge" in text}
    assert {"test", "lint", "format"} <= set(running)
    for name, text in running.items():
        assert text.count("forge ") == text.count("tools/forge "), name
