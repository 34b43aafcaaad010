"""Branch coverage of the unit tests, held against the least of each group of packages.

`python -m tests.support.coverage_gate` reads the coverage data of the last run and the table
`[tool.gridlease.coverage]` of pyproject.toml: path -> least share of branches in percent. A file
belongs to the longest path that it lies under; a file that lies under none fails the gate.
"""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[2]
Count = tuple[int, int]
"""Branches that were taken, and branches that there are."""


def group_of(path: str, groups: Mapping[str, float]) -> str | None:
    """The longest group that a file lies under."""
    fitting = [group for group in groups if path == group or path.startswith(f"{group}/")]
    return max(fitting, key=len, default=None)


def failures(files: Mapping[str, Count], least: Mapping[str, float]) -> list[str]:
    """What falls short, one line each; empty when the gate is passed."""
    taken, total = dict.fromkeys(least, 0), dict.fromkeys(least, 0)
    found = []
    for path, (num_taken, num_branches) in sorted(files.items()):
        group = group_of(path, least)
        if group is None:
            found.append(f"{path} belongs to no group of [tool.gridlease.coverage]")
            continue
        taken[group] += num_taken
        total[group] += num_branches
    for group, wanted in least.items():
        if total[group] == 0:
            found.append(f"{group} has no branches: nothing was measured")
        elif 100 * taken[group] < wanted * total[group]:
            share = 100 * taken[group] / total[group]
            found.append(f"{group}: {share:.2f} % of branches, at least {wanted} % are wanted")
    return found


def measured() -> dict[str, Count]:
    """Branches of every measured file, from the data of the last run."""
    coverage = Coverage()
    coverage.load()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        coverage.json_report(outfile=report.name)
        content = json.loads(Path(report.name).read_bytes())
    return {
        path.replace("\\", "/"): (
            file["summary"]["covered_branches"],
            file["summary"]["num_branches"],
        )
        for path, file in content["files"].items()
    }


def main() -> int:
    """Print every group's share; returns the exit code."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    least = settings["tool"]["gridlease"]["coverage"]
    files = measured()
    for group, wanted in least.items():
        counts = [count for path, count in files.items() if group_of(path, least) == group]
        taken, total = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
        share = 100 * taken / total if total else 0.0
        print(f"{group:24} {share:6.2f} % of {total} branches, at least {wanted} %")
    found = failures(files, least)
    for line in found:
        print(f"coverage: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
