"""The escrow's money, proved for all amounts."""

from __future__ import annotations

import sys

import pytest

from contracts.proofs.__main__ import TOOLS, not_proved
from contracts.proofs.project import Project

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_when_nothing_is_known_of_the_amounts_then_every_proof_holds(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project = Project.copy(tmp_path_factory.mktemp("proofs"), TOOLS, sys.stdout.write)
    assert not_proved(project) == set()
