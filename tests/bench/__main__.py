"""``python -m tests.bench [name ...]``: run the benchmarks of this folder, or those named.

Each leaves its figures in docs/results.md.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.results import RESULTS

FOLDER = Path(__file__).parent


def main(names: list[str]) -> int:
    """Run each benchmark in a process of its own; returns 1 when one missed its bound."""
    found = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))
    worst = 0
    for name in names or found:
        print(f"== {name}", flush=True)
        # A process each, so that torch's settings and memory of one do not touch the next.
        command = [sys.executable, "-m", f"tests.bench.{name}", "--results", str(RESULTS)]
        worst |= subprocess.call(command)
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
