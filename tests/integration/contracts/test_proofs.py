"""The escrow's money, proved for all amounts; and what an analyser thinks of the sources."""

from __future__ import annotations

import sys

import pytest

from contracts.proofs.__main__ import TOOLS, not_proved
from contracts.proofs.analysis import findings
from contracts.proofs.project import Project

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_when_nothing_is_known_of_the_amounts_then_every_proof_holds(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project = Project.copy(tmp_path_factory.mktemp("proofs"), TOOLS, sys.stdout.write)
    assert not_proved(project) == set()


def test_when_slither_reads_the_contracts_then_nothing_is_left_to_explain() -> None:
    assert findings(TOOLS) == []
