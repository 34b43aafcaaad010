"""For every kind of test: the root is importable, and a deep run leaves its result in docs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings

# Shared helpers are imported as `tests.support...`, whatever the folder pytest was started in.
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.results import record

# A loaded machine is slow, which is no failure of the code under test.
settings.register_profile("gridlease", deadline=None)
settings.load_profile("gridlease")

_started = time.monotonic()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write the outcome of `make soak`; other runs write nothing."""
    if config.getoption("markexpr") != "soak":
        return
    stats = terminalreporter.stats
    counts = {name: len(stats.get(name, [])) for name in ("passed", "failed", "error")}
    rows = [
        f"| {report.nodeid} | {report.outcome} | {report.duration:.0f} |"
        for name in ("passed", "failed", "error")
        for report in stats.get(name, [])
    ]
    took_s = time.monotonic() - _started
    record(
        "make soak",
        f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed, "
        f"{took_s:.0f} s.\n\n"
        "| Test | Outcome | Seconds |\n|---|---|---|\n" + "\n".join(rows),
    )
