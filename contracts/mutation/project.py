"""A copy of the contracts' forge project into which faults are seeded."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from contracts.mutation.faults import Fault

FOLDER: Final = Path(__file__).parents[1]
_COPIED: Final = ("src", "test", "out", "cache", "snapshots", "foundry.toml")
LIBRARY: Final = Path("node_modules") / "@openzeppelin"
_ENVIRONMENT: Final = {
    "FOUNDRY_PROFILE": "lite",
    "FOUNDRY_DENY": "never",  # a dropped check leaves unused names behind
    "FORGE_SNAPSHOT_CHECK": "false",  # other gas is no failed test
}
_NO_GAS: Final = ("--no-match-path", "test/*Gas.t.sol")
_TIMEOUT_S: Final = 1800


class MutationError(Exception):
    """The faults cannot be tried; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests said about one fault."""

    fault: Fault
    killed: bool
    by: str
    """Test files that ran last."""

    seconds: float

    def __str__(self) -> str:
        return f"{self.fault.breaks}  [{self.by}, {self.seconds:.0f} s]"


def sources(folder: Path) -> dict[str, str]:
    """Read the Solidity sources of a project, by their path below `src`."""
    root = folder / "src"
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.sol"))
    }


def locate(fault: Fault, texts: Mapping[str, str]) -> str:
    """Find the one file that a fault changes.

    Raises
    ------
    MutationError
        Its text occurs nowhere, or more than once: the list has to follow the sources.
    """
    found = [name for name, text in texts.items() for _ in range(text.count(fault.text))]
    if len(found) != 1:
        where = f"in {', '.join(found)}" if found else "nowhere"
        raise MutationError(
            f"the text of the fault {fault.breaks!r} occurs {where}, not once:\n  {fault.text}\n"
            "Bring contracts/mutation/*faults.py up to date with the sources."
        )
    return found[0]


def copy_files(origin: Path, target: Path, names: Iterable[str]) -> None:
    """Copy files and folders of a project by their paths, and the library that they need."""
    for name in (*names, str(LIBRARY)):
        source, copy = origin / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)


@contextmanager
def seeded(fault: Fault, folder: Path) -> Iterator[None]:
    """Put a fault into the sources of a copy, and take it out again.

    Raises
    ------
    MutationError
        Its text does not occur exactly once.
    """
    path = folder / "src" / locate(fault, sources(folder))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(fault.text, fault.replacement), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


class Project:
    """One copy; faults are tried in it one after the other."""

    def __init__(self, folder: Path, forge: Sequence[str]) -> None:
        self.folder = folder
        self._forge_command = tuple(forge)

    @classmethod
    def copy(cls, origin: Path, target: Path) -> Self:
        """Copy a project with what forge has compiled already.

        Raises
        ------
        MutationError
            Forge is not installed.
        """
        found = sorted(FOLDER.glob("node_modules/@foundry-rs/forge-*/bin/forge*"))
        if not found:
            raise MutationError(f"forge is missing; run `npm ci` in {FOLDER.name}/ first")
        target.mkdir(parents=True)
        # What forge makes is missing before its first run.
        copy_files(origin, target, [name for name in _COPIED if (origin / name).exists()])
        return cls(target, [str(found[0])])

    def check_clean(self, faults: Iterable[Fault]) -> None:
        """Make sure that the tests pass while there is no fault.

        Raises
        ------
        MutationError
            They do not, so that a failure would show nothing.
        """
        files = sorted({fault.tests.removeprefix("test/") for fault in faults})
        # Forge reads several names as one pattern, but not a single one in braces.
        pattern = f"test/{{{','.join(files)}}}" if len(files) > 1 else f"test/{files[0]}"
        if not self._passes("build"):
            raise MutationError("the contracts do not compile; see `npm test`")
        if not self._passes("test", "--match-path", pattern):
            raise MutationError(f"{pattern} fails without any fault; see `npm test`")

    def attempt(self, fault: Fault) -> Outcome:
        """Seed a fault, run the tests that should notice it, then all others; take it out again.

        Raises
        ------
        MutationError
            With the fault, the contracts do not compile.
        """
        started = time.monotonic()
        with seeded(fault, self.folder):
            if not self._passes("build"):
                raise MutationError(f"the fault {fault.breaks!r} does not compile")
            by, killed = fault.tests, not self._passes("test", "--match-path", fault.tests)
            if not killed:
                by, killed = "all tests", not self._passes("test", *_NO_GAS)
        return Outcome(fault, killed, by, time.monotonic() - started)

    def _passes(self, command: str, *options: str) -> bool:
        arguments = [*self._forge_command, command, *options]
        if command == "test":
            arguments.append("--fail-fast")
        environment = {**os.environ, **_ENVIRONMENT, "FOUNDRY_SOLC": str(FOLDER / "tools" / "solc")}
        try:
            done = subprocess.run(
                arguments,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MutationError(f"forge {command} took more than {_TIMEOUT_S} s") from error
        return done.returncode == 0
