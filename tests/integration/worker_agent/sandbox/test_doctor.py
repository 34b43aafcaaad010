"""The abuse probes as tests: every attack on this machine's sandbox is contained."""

from __future__ import annotations

import json

import pytest

from worker_agent.sandbox.base import Isolation
from worker_agent.sandbox.bubblewrap import BubblewrapSandbox
from worker_agent.sandbox.doctor import (
    MEMORY_KINDS,
    QUIET_PROBES,
    Report,
    examine,
    promised,
)

NAMES = (
    *QUIET_PROBES,
    "fork_bomb",
    "thread_bomb",
    *(f"memory_{kind}" for kind in MEMORY_KINDS),
    "fill",
    "many_files",
    "output_flood",
    "ignore_signals",
    "odd_outputs",
)


@pytest.fixture(scope="module")
def report(sandbox: BubblewrapSandbox) -> Report:
    return examine(sandbox)


@pytest.mark.parametrize("name", NAMES)
def test_when_a_job_attacks_then_it_is_contained(
    report: Report, sandbox: BubblewrapSandbox, name: str
) -> None:
    finding = next(finding for finding in report.findings if finding.name == name)
    if sandbox.isolation is Isolation.STRONG:
        assert finding.required
    assert finding.required == promised(sandbox, name)
    if finding.required:
        assert finding.contained, finding.detail


def test_when_all_is_contained_then_the_machine_may_list(report: Report) -> None:
    assert {finding.name for finding in report.findings} == set(NAMES)
    assert report.failures == ()
    assert report.may_list
    assert json.loads(json.dumps(report.to_json()))["may_list"] is True
