"""A finding counts unless the source explains it. slither is a fake here; `make slither` is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.proofs import analysis
from contracts.proofs.project import ProofError

# Answers with the report that lies beside it, if there is one.
SLITHER = """#!/bin/sh
[ -f "{folder}/report" ] && sed "s#HERE#$PWD#g" "{folder}/report" > found.json
echo broken >&2
"""
FINDING = {"impact": "High", "check": "reentrancy-eth", "description": "pays, then writes\n"}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    slither = tmp_path / "slither"
    slither.write_text(SLITHER.format(folder=tmp_path))
    slither.chmod(0o700)
    return tmp_path


def answer(tools: Path, *detectors: dict[str, Any], error: str | None = None) -> None:
    report = {"success": error is None, "error": error, "results": {"detectors": detectors}}
    (tools / "report").write_text(json.dumps(report))


def unused(path: str) -> dict[str, Any]:
    places = [{"file": f"HERE/{path}", "line": 3, "detectors": ["timestamp"]}]
    return {"check": "unused-ignore-directive", "unused_ignores": places}


def test_when_nothing_is_found_then_the_command_ends_well(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(tools)
    assert analysis.main(["--tools", str(tools)]) == 0
    assert capsys.readouterr().out == "slither: 0 findings without an explanation\n"


def test_when_something_is_found_then_it_is_told_and_fails(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(tools, FINDING)
    assert analysis.main(["--tools", str(tools)]) == 1
    assert "High reentrancy-eth: pays, then writes\n" in capsys.readouterr().out


def test_when_a_comment_explains_nothing_then_that_is_a_finding_unless_it_is_the_librarys(
    tools: Path,
) -> None:
    answer(tools, unused("src/A.sol"), unused("node_modules/B.sol"))
    assert analysis.findings(tools) == ["src/A.sol:3: nothing to disable: timestamp"]


def test_when_slither_gives_no_report_or_fails_then_that_is_an_error(tools: Path) -> None:
    with pytest.raises(ProofError, match=r"without a result:\nbroken"):
        analysis.findings(tools)
    answer(tools, error="cannot compile")
    with pytest.raises(ProofError, match="cannot compile"):
        analysis.findings(tools)


def test_when_slither_is_missing_then_the_command_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analysis.main(["--tools", str(tmp_path)]) == 1
    assert "run `make slither`" in capsys.readouterr().err


def test_when_a_detector_is_left_out_then_it_is_not_of_medium_impact_or_above() -> None:
    # The reason starts with the impact; no detector of medium or high impact is left out whole.
    assert all(
        reason.startswith(("low: ", "informational: "))
        for reason in analysis.DETECTORS_LEFT_OUT.values()
    )
