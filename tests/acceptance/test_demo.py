"""The demo, as a stranger runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.stack import gridlease

pytestmark = pytest.mark.timeout(1200)
TIMEOUT_S = 1100
AMOUNT = r"[0-9]+\.[0-9]+"
OK = re.compile(
    rf"demo: ok lease=0x[0-9a-f]{{64}} accuracy=(?P<accuracy>[0-9.]+) "
    rf"segments=(?P<verified>[0-9]+)/(?P<total>[0-9]+) paid=(?P<paid>{AMOUNT}) "
    rf"refunded=(?P<refunded>{AMOUNT})"
)
CAUGHT = re.compile(
    rf"demo: cheat caught lease=0x[0-9a-f]{{64}} slashed=(?P<slashed>{AMOUNT}) "
    rf"refunded=(?P<refunded>{AMOUNT})"
)


def test_when_the_demo_runs_then_its_last_line_says_so(tmp_path: Path) -> None:
    done = gridlease("demo", "--home", str(tmp_path), timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = OK.fullmatch(done.stdout.splitlines()[-1])
    assert found, done.stdout
    assert float(found["accuracy"]) >= 0.97
    assert found["verified"] == found["total"]
    assert int(found["total"]) >= 20
    assert float(found["paid"]) > 0
    for part in ("OpenAPI page", "isolation", "paid to the provider", "receipt:", "artifacts:"):
        assert part in done.stdout
    assert no_process_in(tmp_path)


def test_when_the_worker_cheats_then_it_is_caught(tmp_path: Path) -> None:
    done = gridlease("demo", "--cheat", "--home", str(tmp_path), timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = CAUGHT.fullmatch(done.stdout.splitlines()[-1])
    assert found, done.stdout
    assert float(found["slashed"]) > 0
    assert float(found["refunded"]) > 0
    assert no_process_in(tmp_path)


def test_when_a_part_of_the_demo_fails_then_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("in the way")
    done = gridlease("demo", "--home", str(tmp_path))
    assert done.returncode == 10
    assert "demo failed in up" in done.stderr


def no_process_in(folder: Path) -> bool:
    """No process has the folder in its command line."""
    name = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if name in (entry / "cmdline").read_bytes():
                    return False
            except OSError:
                continue  # it ended meanwhile
    return True
