"""A copy of the contracts' forge project, in which halmos proves."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from contracts.mutation.faults import Fault
from contracts.mutation.project import FOLDER, LIBRARY, copy_files, seeded

PROOFS: Final = Path("test") / "symbolic"
_COPIED: Final = (
    *("src", "test/symbolic", "test/utils/Interfaces.sol", "test/utils/Vm.sol"),
    "foundry.toml",
)
_CHECK: Final = re.compile(r"\bfunction\s+(check_\w+)\s*\(")
_LOOP_BOUND: Final = 100
"""Far above every loop of the proofs; reaching it fails the proof."""
_BRANCH_TIMEOUT: Final = "50ms"
_QUERY_TIMEOUT: Final = "600s"
_COUNTEREXAMPLE: Final = 1
"""Exit code of a proof that halmos refuted; others say that it did not come to its end."""
_SHARE: Final = re.compile(r"\b(MAX_(?:FEE|AUDIT)_BPS) = \d+;")
_OUTCOME: Final = re.compile(r"check_\w+\(.*paths:")


class ProofError(Exception):
    """Nothing can be proved here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What halmos says about one `check_` function."""

    name: str
    holds: bool
    refuted: bool
    """There is a counterexample; a proof that ran out of time neither holds nor is refuted."""

    seconds: float
    paths: int


class Project:
    """One copy; proofs run in it one after the other."""

    def __init__(self, folder: Path, tools: Path, say: Callable[[str], object]) -> None:
        self.folder = folder
        self._tools = tools
        self._say = say

    @classmethod
    def copy(cls, target: Path, tools: Path, say: Callable[[str], object]) -> Self:
        """Copy sources and proofs.

        Parameters
        ----------
        tools
            Folder of the executables of the tools' own environment.
        say
            Takes a line for each proof that halmos is done with.

        Raises
        ------
        ProofError
            The tools, forge or the library are not installed.
        """
        if not (tools / "halmos").exists():
            raise ProofError(f"halmos is not in {tools}; run `make proofs`, which installs it")
        if not (FOLDER / LIBRARY).is_dir():
            raise ProofError(f"the library is missing; run `npm ci` in {FOLDER.name}/ first")
        copy_files(FOLDER, target, _COPIED)
        return cls(target, tools, say)

    def checks(self) -> set[str]:
        """Names of all proofs that the sources state."""
        files = sorted((self.folder / PROOFS).glob("*.sol"))
        return {name for file in files for name in _CHECK.findall(file.read_text("utf-8"))}

    def prove(self, names: Iterable[str]) -> list[Proof]:
        """Run these proofs, with all that they need compiled first.

        Raises
        ------
        ProofError
            The contracts do not compile, or halmos did not run all of them.
        """
        wanted = set(names)
        report = self.folder / "proofs.json"
        report.unlink(missing_ok=True)
        pattern = "|".join(sorted(wanted))
        output = self._halmos("--match-test", f"^({pattern})\\(", "--json-output", str(report))
        if not report.exists():
            raise ProofError(f"halmos ended without a result:\n{output[-4000:]}")
        found = _read(json.loads(report.read_text("utf-8")))
        if missing := wanted - {proof.name for proof in found}:
            raise ProofError(f"halmos did not run {sorted(missing)}:\n{output[-4000:]}")
        return found

    @contextmanager
    def seeded(self, fault: Fault) -> Iterator[None]:
        """Put a fault into the copy's sources, and take it out again.

        Fees and audit shares are zero meanwhile: a counterexample of some amounts is one of all
        amounts, and without their products it is found in seconds.

        Raises
        ------
        MutationError
            Its text does not occur exactly once.
        """
        ranges = self.folder / PROOFS / "SymbolicTest.sol"
        text = ranges.read_text(encoding="utf-8")
        with seeded(fault, self.folder):
            ranges.write_text(_SHARE.sub(r"\1 = 0;", text), encoding="utf-8")
            try:
                yield
            finally:
                ranges.write_text(text, encoding="utf-8")

    def _halmos(self, *options: str) -> str:
        solver = [str(self._tools / "python"), str(Path(__file__).with_name("solver.py"))]
        arguments = [
            *(str(self._tools / "halmos"), "--root", str(self.folder)),
            *("--no-status", "--early-exit"),
            *("--loop", str(_LOOP_BOUND), "--solver-command", shlex.join(solver)),
            *("--solver-timeout-branching", _BRANCH_TIMEOUT),
            *("--solver-timeout-assertion", _QUERY_TIMEOUT),
            *options,
        ]
        environment = {
            **os.environ,
            "NO_COLOR": "1",
            "FOUNDRY_DENY": "never",  # a seeded fault leaves unused names behind
            "FOUNDRY_SOLC": str(FOLDER / "tools" / "solc"),
            "HOME": str(self.folder),  # halmos makes a folder there, and its queries below TMPDIR
            "TMPDIR": str(self.folder),
            "PATH": f"{FOLDER / 'tools'}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        lines = []
        with subprocess.Popen(
            arguments,
            env=environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as running:
            for line in running.stdout or ():
                lines.append(line)
                if _OUTCOME.search(line):
                    self._say(f"  {line.rstrip()}")
        return "".join(lines)


def _read(report: Mapping[str, Any]) -> list[Proof]:
    """Outcomes out of halmos's JSON report; a loop that was cut short proves nothing."""
    return [
        Proof(
            name=result["name"].partition("(")[0],
            holds=result["exitcode"] == 0 and not result["num_bounded_loops"],
            refuted=result["exitcode"] == _COUNTEREXAMPLE,
            seconds=float((result.get("time") or [0.0])[0]),
            paths=int((result.get("num_paths") or [0])[0]),
        )
        for results in report["test_results"].values()
        for result in results
    ]
