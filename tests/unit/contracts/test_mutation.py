"""The list of faults fits the sources, and the runner calls a fault noticed only when tests say so.

Forge is a fake here; `make contracts-mutation` runs the real one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.mutation import __main__ as mutation
from contracts.mutation.catalogue import FAULTS
from contracts.mutation.faults import Fault
from contracts.mutation.project import FOLDER, MutationError, Project, locate, sources

FAULT = Fault("sums are right", "a + b", "a - b", "test/Sum.t.sol")
# Fails to compile `broken`, fails the named tests on `a - b`, and writes down what it was asked.
FORGE = """#!/bin/sh
echo "$*" >> asked
[ "$1" = build ] && { ! grep -q broken src/Sum.sol; exit $?; }
case "$*" in
  *--match-path*) grep -q "a - b" src/Sum.sol && exit 1 ;;
  *) grep -q "a \\* b" src/Sum.sol && exit 1 ;;
esac
exit 0
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One source file, and a forge that reads it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Sum.sol").write_text("return a + b;")
    forge = tmp_path / "forge"
    forge.write_text(FORGE)
    forge.chmod(0o700)
    return Project(tmp_path, [str(forge)])


def asked(project: Project) -> list[str]:
    return (project.folder / "asked").read_text().splitlines()


def test_when_the_sources_change_then_the_list_of_faults_follows() -> None:
    texts = sources(FOLDER)
    for fault in FAULTS:
        locate(fault, texts)
        assert fault.replacement != fault.text
        assert (FOLDER / fault.tests).is_file(), fault.tests


def test_when_faults_are_counted_then_they_are_many_and_distinct() -> None:
    assert len(FAULTS) >= 60
    assert len({(fault.text, fault.replacement) for fault in FAULTS}) == len(FAULTS)
    assert len({fault.breaks for fault in FAULTS}) == len(FAULTS)


def test_when_a_text_occurs_nowhere_or_twice_then_the_fault_is_named() -> None:
    with pytest.raises(MutationError, match=r"'sums are right' occurs nowhere[\s\S]*faults.py"):
        locate(FAULT, {"A.sol": "a * b"})
    with pytest.raises(MutationError, match=r"occurs in A\.sol, B\.sol, not once"):
        locate(FAULT, {"A.sol": "a + b", "B.sol": "a + b"})
    with pytest.raises(MutationError, match=r"occurs in A\.sol, A\.sol, not once"):
        locate(FAULT, {"A.sol": "a + b, a + b"})


def test_when_seeds_are_equal_then_so_are_the_draws() -> None:
    first = mutation.draw(FAULTS, 10, "seed")
    assert first == mutation.draw(FAULTS, 10, "seed") != mutation.draw(FAULTS, 10, "other")
    assert len(set(first)) == 10
    assert len(mutation.draw(FAULTS, 10_000, "seed")) == len(FAULTS)


def test_when_the_named_tests_fail_then_the_fault_is_killed(project: Project) -> None:
    outcome = project.attempt(FAULT)
    assert (outcome.killed, outcome.by) == (True, "test/Sum.t.sol")
    assert asked(project) == ["build", "test --match-path test/Sum.t.sol --fail-fast"]
    assert (project.folder / "src" / "Sum.sol").read_text() == "return a + b;"


def test_when_only_other_tests_fail_then_the_fault_is_killed_too(project: Project) -> None:
    outcome = project.attempt(replace(FAULT, replacement="a * b"))
    assert (outcome.killed, outcome.by) == (True, "all tests")
    assert asked(project)[-1] == "test --no-match-path test/*Gas.t.sol --fail-fast"


def test_when_no_test_fails_then_the_fault_survives(project: Project) -> None:
    assert not project.attempt(replace(FAULT, replacement="b + a")).killed


def test_when_a_fault_does_not_compile_then_it_is_not_called_killed(project: Project) -> None:
    with pytest.raises(MutationError, match="does not compile"):
        project.attempt(replace(FAULT, replacement="broken"))
    assert (project.folder / "src" / "Sum.sol").read_text() == "return a + b;"


def test_when_the_tests_fail_without_a_fault_then_nothing_is_tried(project: Project) -> None:
    project.check_clean([FAULT])
    (project.folder / "src" / "Sum.sol").write_text("return a - b;")
    with pytest.raises(MutationError, match=r"test/Sum\.t\.sol fails without any fault"):
        project.check_clean([FAULT])


@pytest.mark.parametrize(("replacement", "code"), [("a - b", 0), ("b + a", 1)])
def test_when_a_fault_survives_then_the_run_fails_and_names_it(
    replacement: str,
    code: int,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault = replace(FAULT, replacement=replacement)
    monkeypatch.setattr(mutation, "FAULTS", (fault,))
    monkeypatch.setattr(mutation, "FOLDER", project.folder)
    monkeypatch.setattr(mutation.Project, "copy", lambda *_: project)
    assert mutation.main(["--all", "--jobs", "1"]) == code
    printed = capsys.readouterr().out
    assert f"{1 - code} of 1 faults were noticed" in printed
    assert ("not noticed: sums are right" in printed) is bool(code)


def test_when_the_list_is_stale_then_the_run_fails_and_says_why(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutation, "FAULTS", (replace(FAULT, text="gone"),))
    monkeypatch.setattr(mutation, "FOLDER", project.folder)
    assert mutation.main(["--count", "1"]) == 1
    assert "occurs nowhere, not once" in capsys.readouterr().err
