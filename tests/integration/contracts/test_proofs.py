"""The escrow's money, proved for all amounts; and what an analyser thinks of the sources."""

from __future__ import annotations

import sys

import pytest

from contracts.proofs.__main__ import TOOLS, not_proved, not_refuted
from contracts.proofs.analysis import findings
from contracts.proofs.faults import FAULTS, SeededFault
from contracts.proofs.project import Project

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.copy(tmp_path_factory.mktemp("proofs"), TOOLS, sys.stdout.write)


def test_when_nothing_is_known_of_the_amounts_then_every_proof_holds(project: Project) -> None:
    assert not_proved(project) == set()


@pytest.mark.parametrize("seeded", FAULTS, ids=lambda seeded: seeded.fault.breaks)
def test_when_a_fault_is_seeded_then_the_proofs_that_it_breaks_are_refuted(
    project: Project, seeded: SeededFault
) -> None:
    assert not_refuted(project, seeded) == set()


def test_when_slither_reads_the_contracts_then_nothing_is_left_to_explain() -> None:
    assert findings(TOOLS) == []
