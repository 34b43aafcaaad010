"""Prove with halmos that no money of a lease is lost, made or stuck, for all amounts in range.

Every `check_` function of `contracts/test/symbolic` is proved on the bytecode that is shipped. With
`--faults`, single faults are seeded instead, and halmos must refute the proofs that each breaks.
Needs `npm ci`, and the tools' environment, which `make proofs` makes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from contracts.mutation.project import FOLDER, MutationError
from contracts.proofs.faults import FAULTS, SeededFault
from contracts.proofs.project import Project, ProofError

TOOLS: Final = FOLDER.parent / ".venv-proofs" / "bin"


def not_proved(project: Project, match: str = "") -> set[str]:
    """Names of the proofs that do not hold, among those whose name holds `match`.

    Raises
    ------
    ProofError
        No proof has such a name, or halmos did not run all of them.
    """
    names = [name for name in project.checks() if match in name]
    if not names:
        raise ProofError(f"no proof has {match!r} in its name")
    return {proof.name for proof in project.prove(names) if not proof.holds}


def not_refuted(project: Project, seeded: SeededFault) -> set[str]:
    """Names of the proofs that a fault should break, and of which halmos found no counterexample.

    Raises
    ------
    MutationError
        The fault does not fit the sources.
    ProofError
        With the fault, halmos did not run all of them.
    """
    with project.seeded(seeded.fault):
        return {proof.name for proof in project.prove(seeded.broken) if not proof.refuted}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.proofs", description=__doc__)
    parser.add_argument("--tools", type=Path, default=TOOLS, help="folder of halmos and solvers")
    parser.add_argument("--match", default="", help="only proofs whose name holds this text")
    parser.add_argument("--faults", action="store_true", help="seed faults that break the proofs")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="gridlease-proofs-") as folder:
            project = Project.copy(Path(folder), options.tools.absolute(), _say)
            run = _refute_all if options.faults else _prove_all
            failed = run(project, options.match)
    except (MutationError, ProofError) as error:
        sys.stderr.write(f"contracts.proofs: {error}\n")
        return 1
    return 1 if failed else 0


def _prove_all(project: Project, match: str) -> set[str]:
    failed = not_proved(project, match)
    _say(f"not proved: {', '.join(sorted(failed)) or 'none'}")
    return failed


def _refute_all(project: Project, match: str) -> set[str]:
    faults = [seeded for seeded in FAULTS if any(match in name for name in seeded.broken)]
    if not faults:
        raise ProofError(f"no proof that a fault breaks has {match!r} in its name")
    unnoticed = set()
    for seeded in faults:
        _say(f"{seeded.fault.breaks}:")
        if not_refuted(project, seeded):
            unnoticed.add(seeded.fault.breaks)
    _say(f"faults that left a proof whole: {', '.join(sorted(unnoticed)) or 'none'}")
    return unnoticed


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
