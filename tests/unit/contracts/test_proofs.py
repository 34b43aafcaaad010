"""A proof counts only when halmos ran it to its end.

halmos is a fake here; `make proofs` runs the real one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contracts.mutation.faults import Fault
from contracts.mutation.project import FOLDER, locate, sources
from contracts.proofs import __main__ as proofs
from contracts.proofs.faults import FAULTS, SeededFault
from contracts.proofs.project import PROOFS, Project, ProofError

SEEDED = SeededFault(
    Fault("sums are right", "a + b", "a - b", "test/symbolic"), ("check_sum", "check_rest")
)

RANGES = "\nMAX_FEE_BPS = 1000;\nMAX_AUDIT_BPS = 2000;\nMAX_SEGMENTS = 3;"
# Answers with the report that lies beside it, if there is one, and keeps the source that it saw.
HALMOS = """#!/bin/sh
[ -d src ] && cat src/Sum.sol test/symbolic/SymbolicTest.sol > seen
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
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Sum.sol").write_text("return a + b;")
    (tmp_path / "test" / "symbolic" / "Sum.t.sol").write_text(
        "function check_sum(uint96 a) external {}\nfunction check_rest() external {}"
    )
    (tmp_path / "test" / "symbolic" / "SymbolicTest.sol").write_text(RANGES)
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


def test_when_a_fault_is_seeded_then_the_proof_sees_it_without_shares_and_all_comes_back(
    project: Project,
) -> None:
    answer(project, check_sum=(1, 0), check_rest=(1, 0))
    assert proofs.not_refuted(project, SEEDED) == set()
    narrow = "\nMAX_FEE_BPS = 0;\nMAX_AUDIT_BPS = 0;\nMAX_SEGMENTS = 3;"
    assert (project.folder / "seen").read_text() == "return a - b;" + narrow
    assert (project.folder / "src" / "Sum.sol").read_text() == "return a + b;"
    assert (project.folder / PROOFS / "SymbolicTest.sol").read_text() == RANGES


@pytest.mark.parametrize("code", [0, 2, 4])
def test_when_a_proof_holds_or_is_cut_short_then_the_fault_is_not_noticed(
    project: Project, code: int
) -> None:
    answer(project, check_sum=(code, 0), check_rest=(1, 0))
    assert proofs.not_refuted(project, SEEDED) == {"check_sum"}


@pytest.mark.parametrize(
    ("options", "exitcode", "last"),
    [
        ([], 1, "not proved: check_rest, check_sum"),
        ([], 0, "not proved: none"),
        (["--faults"], 0, "faults that left a proof whole: sums are right"),
        (["--faults"], 1, "faults that left a proof whole: none"),
    ],
)
def test_when_proofs_and_faults_are_tried_then_the_last_line_and_the_code_say_how_it_went(
    options: list[str],
    exitcode: int,
    last: str,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer(project, check_sum=(exitcode, 0), check_rest=(exitcode, 0))
    monkeypatch.setattr(proofs, "FAULTS", (SEEDED,))
    monkeypatch.setattr(proofs.Project, "copy", lambda *_: project)
    ended = proofs.main(options)
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert ended == (0 if last.endswith("none") else 1)


def test_when_no_fault_breaks_the_named_proof_then_that_is_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proofs.Project, "copy", lambda *_: project)
    assert proofs.main(["--faults", "--match", "check_nothing"]) == 1
    assert "no proof that a fault breaks" in capsys.readouterr().err


def test_when_a_fault_narrows_the_ranges_then_both_shares_are_zero() -> None:
    """Otherwise a counterexample takes minutes."""
    ranges = (FOLDER / PROOFS / "SymbolicTest.sol").read_text("utf-8")
    assert len(re.findall(r"MAX_(?:FEE|AUDIT)_BPS = \d+;", ranges)) == 2


def test_when_sources_and_proofs_change_then_the_list_of_faults_follows() -> None:
    """Of these files, every proof is broken by a fault."""
    texts = sources(FOLDER)
    for seeded in FAULTS:
        locate(seeded.fault, texts)
    stated = {
        name
        for file in ("Refund.t.sol", "Reserve.t.sol", "Split.t.sol")
        for name in re.findall(r"function (check_\w+)", (FOLDER / PROOFS / file).read_text("utf-8"))
    }
    assert {name for seeded in FAULTS for name in seeded.broken} == stated
