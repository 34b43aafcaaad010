"""For every kind of test: the root is importable, and a long run leaves its result in docs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings

# Shared helpers are imported as `tests.support...`, whatever the folder pytest was started in.
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.results import RESULTS, gpu_facts, outcome_table, record

# A loaded machine is slow, which is no failure of the code under test.
settings.register_profile("gridlease", deadline=None)
settings.load_profile("gridlease")

_started = time.monotonic()

# Runs that are recorded, by their marker.
_RECORDED = {"soak": "make soak", "gpu": "make gpu"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--results",
        type=Path,
        default=RESULTS,
        help="file that takes the outcome of `make soak` and `make gpu`",
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write the outcome of `make soak` and `make gpu`; other runs write nothing."""
    marker = config.getoption("markexpr")
    stats = terminalreporter.stats
    if marker not in _RECORDED or not any(
        stats.get(name) for name in ("passed", "failed", "error")
    ):
        return
    counts = {name: len(stats.get(name, [])) for name in ("passed", "failed", "error")}
    outcomes = [
        (report.nodeid, report.outcome, report.duration)
        for name in ("passed", "failed", "error")
        for report in stats.get(name, [])
    ]
    took_s = time.monotonic() - _started
    facts = f"{gpu_facts()}\n\n" if marker == "gpu" else ""
    record(
        _RECORDED[marker],
        f"{facts}{counts['passed']} passed, {counts['failed'] + counts['error']} failed, "
        f"{took_s:.0f} s.\n\n{outcome_table(outcomes)}",
        config.getoption("results"),
    )
