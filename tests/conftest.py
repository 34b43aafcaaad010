"""For every kind of test: the root is importable, and a long run leaves its result in docs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Shared helpers are imported as `tests.support...`, whatever the folder pytest was started in.
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.results import RESULTS, gpu_facts, outcome_table, record

# A loaded machine is slow, which is no failure of the code under test.
settings.register_profile("gridlease", deadline=None)
settings.load_profile("gridlease")

# Markers of the runs that are recorded.
_RECORDED = ("soak", "gpu")


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
    reports = [report for name in ("passed", "failed", "error") for report in stats.get(name, ())]
    if marker not in _RECORDED or not reports:
        return
    # A soak takes hours, so each file of tests has a section, and can be run alone.
    parts: dict[str, list[pytest.TestReport]] = {}
    for report in reports:
        name = f"make soak: {report.nodeid.partition('::')[0]}" if marker == "soak" else "make gpu"
        parts.setdefault(name, []).append(report)
    facts = f"{gpu_facts()}\n\n" if marker == "gpu" else ""
    for name, those in parts.items():
        outcomes = [(report.nodeid, report.outcome, report.duration) for report in those]
        passed = sum(report.outcome == "passed" for report in those)
        took_s = sum(report.duration for report in those)
        record(
            name,
            f"{facts}{passed} passed, {len(those) - passed} failed, {took_s:.0f} s.\n\n"
            f"{outcome_table(outcomes)}",
            config.getoption("results"),
        )
