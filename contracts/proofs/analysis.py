"""Run slither over the shipped contracts: `python -m contracts.proofs.analysis`.

Every finding fails, whatever its impact, unless a comment `slither-disable-...` in the source says
why it does not hold there, or its detector is left out below with a reason. A comment that no
finding needs fails as well. The sources are compiled as for shipping. Needs `npm ci`, and the
tools' environment, which `make slither` makes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from contracts import build
from contracts.proofs.__main__ import TOOLS
from contracts.proofs.project import ProofError

DETECTORS_LEFT_OUT: Final[dict[str, str]] = {
    "assembly": "informational: two blocks, each with its reason; solhint asks for it",
    "shadowing-local": "low: parameters of setters and constructors bear the name of what they set",
    "timestamp": "low: an escrow of time; docs/escrow/trust.md says what block producers can shift",
    "unindexed-event-address": "informational: settings, which nobody searches by their value",
    "unused-state": "informational: escrow and extension share storage, and use different parts",
}
"""Detectors that say nothing about these contracts, with the reason; none of medium or above."""


def findings(tools: Path) -> list[str]:
    """What slither finds and nothing explains, and comments that explain nothing.

    Raises
    ------
    ProofError
        Slither is not installed, or could not read the contracts.
    BuildError
        A source is missing.
    """
    if not (tools / "slither").exists():
        raise ProofError(f"slither is not in {tools}; run `make slither`, which installs it")
    with tempfile.TemporaryDirectory(prefix="gridlease-slither-") as name:
        folder = Path(name).resolve()
        (folder / "input.json").write_text(json.dumps(_standard_input()), encoding="utf-8")
        # It reads the comments from files.
        shutil.copytree(build.FOLDER / "src", folder / "src")
        (folder / "node_modules").symlink_to(build.FOLDER / "node_modules")
        done = subprocess.run(
            [
                *(str(tools / "slither"), "input.json", "--compile-force-framework", "Solc-json"),
                *("--solc", str(build.COMPILER), "--filter-paths", "node_modules"),
                *("--exclude", ",".join(DETECTORS_LEFT_OUT), "--exclude-optimization"),
                *("--warn-unused-ignores", "--json", "found.json"),
            ],
            cwd=folder,
            env={**os.environ, "HOME": name},
            capture_output=True,
            text=True,
            check=False,
        )
        report = folder / "found.json"
        if not report.exists():
            raise ProofError(f"slither ended without a result:\n{done.stderr[-4000:]}")
        content = json.loads(report.read_text(encoding="utf-8"))
    if not content["success"]:
        raise ProofError(f"slither failed: {content['error']}")
    return [
        text for item in content["results"].get("detectors", ()) for text in _tell(item, folder)
    ]


def _tell(item: dict[str, Any], folder: Path) -> list[str]:
    if "unused_ignores" not in item:
        return [f"{item['impact']} {item['check']}: {item['description'].strip()}"]
    places = {
        (str(Path(unused["file"]).relative_to(folder)), unused["line"], *unused["detectors"])
        for unused in item["unused_ignores"]
    }
    # The library's comments are its own affair.
    ours = sorted(place for place in places if not place[0].startswith("node_modules"))
    return [f"{file}:{line}: nothing to disable: {', '.join(d)}" for file, line, *d in ours]


def _standard_input() -> dict[str, Any]:
    settings = build.compiler_settings()
    entries = [*build.CONTRACTS.values(), build.EXTENSION[1], build.FACTORY[1], build.INTERFACE[1]]
    sources = build.collect_sources(entries, settings["remappings"])
    wanted = ["abi", "devdoc", "userdoc", "evm.methodIdentifiers"]
    wanted += ["evm.bytecode", "evm.deployedBytecode"]
    settings["outputSelection"] = {"*": {"*": wanted, "": ["ast"]}}
    return {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": settings,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m contracts.proofs.analysis", description=__doc__
    )
    parser.add_argument("--tools", type=Path, default=TOOLS, help="folder of slither")
    options = parser.parse_args(arguments)
    try:
        found = findings(options.tools.absolute())
    except (ProofError, build.BuildError) as error:
        sys.stderr.write(f"contracts.proofs: {error}\n")
        return 1
    for finding in found:
        sys.stdout.write(finding + "\n")
    sys.stdout.write(f"slither: {len(found)} findings without an explanation\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
