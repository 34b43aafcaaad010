"""A proof counts only when halmos ran it to its end.

halmos is a fake here; `make proofs` runs the real one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.proofs import __main__ as proofs
from contracts.proofs.project import FOLDER, Project, ProofError

# Answers with the report that lies beside it, if there is one.
HALMOS = """#!/bin/sh
while [ "$1" != --json-output ]; do shift; done
[ -f report ] && cp report "$2"
echo "[PASS] check_sum(uint96) (paths: 3, time: 1.00s, bounds: [])"
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def project(tmp_path: Path, said: list[str]) -> Project:
    """Two proofs, and a halmos that says of them what `report` holds."""
    (tmp_path / "test" / "symbolic").mkdir(parents=True)
    (tmp_path / "test" / "symbolic" / "Sum.t.sol").write_text(
        "function check_sum(uint96 a) external {}\nfunction check_rest() external {}"
    )
    halmos = tmp_path / "halmos"
    halmos.write_text(HALMOS)
    halmos.chmod(0o700)
    return Project(tmp_path, tmp_path, said.append)


def answer(project: Project, **bounded: tuple[int, int]) -> None:
    """Exit code and number of loops that were cut short, by proof."""
    results = [
        {"name": f"{name}(uint96)", "exitcode": code, "num_bounded_loops": loops}
        for name, (code, loops) in bounded.items()
    ]
    (project.folder / "report").write_text(json.dumps({"test_results": {"Sum": results}}))


def test_when_all_hold_then_none_is_left_and_each_is_told(
    project: Project, said: list[str]
) -> None:
    answer(project, check_sum=(0, 0), check_rest=(0, 0))
    assert proofs.not_proved(project) == set()
    assert said == ["  [PASS] check_sum(uint96) (paths: 3, time: 1.00s, bounds: [])"]


def test_when_a_proof_fails_or_a_loop_is_cut_short_then_it_is_not_proved(project: Project) -> None:
    answer(project, check_sum=(1, 0), check_rest=(0, 1))
    assert proofs.not_proved(project) == {"check_sum", "check_rest"}


def test_when_halmos_leaves_one_out_then_that_is_an_error(project: Project) -> None:
    answer(project, check_sum=(0, 0))
    with pytest.raises(ProofError, match="check_rest"):
        proofs.not_proved(project)


def test_when_halmos_gives_no_report_then_that_is_an_error(project: Project) -> None:
    with pytest.raises(ProofError, match="without a result"):
        proofs.not_proved(project)


def test_when_the_tools_are_missing_then_the_command_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proofs.main(["--tools", str(tmp_path)]) == 1
    assert "run `make proofs`" in capsys.readouterr().err


def test_when_a_project_is_copied_then_it_has_all_that_a_proof_reads(
    project: Project, tmp_path: Path
) -> None:
    copy = Project.copy(tmp_path / "copy", project.folder, print)
    assert "check_close_refundsWhatIsUnpaid" in copy.checks()
    for name in ("foundry.toml", "src/LeaseEscrow.sol", "test/utils/Vm.sol"):
        assert (copy.folder / name).read_bytes() == (FOLDER / name).read_bytes()
    assert (copy.folder / "node_modules" / "@openzeppelin").is_dir()


def test_when_the_library_is_missing_then_the_command_says_what_to_do(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("contracts.proofs.project.FOLDER", tmp_path)
    with pytest.raises(ProofError, match="run `npm ci`"):
        Project.copy(tmp_path / "copy", project.folder, print)


def test_when_no_proof_has_the_name_then_that_is_an_error(project: Project) -> None:
    answer(project)
    with pytest.raises(ProofError, match="no proof"):
        proofs.not_proved(project, "check_nothing")
