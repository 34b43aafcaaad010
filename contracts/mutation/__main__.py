"""Seed single faults into a copy of the contracts and demand that their tests fail.

Each fault is tried alone. A fault that no test notices, one that does not compile, and one whose
text the sources no longer hold, all fail the run. Needs the extra `dev` and `npm ci`, as the build.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from contracts.mutation.catalogue import FAULTS
from contracts.mutation.faults import Fault
from contracts.mutation.project import FOLDER, MutationError, Outcome, Project, locate, sources

_MAX_JOBS: Final = 2


def draw(faults: Sequence[Fault], count: int, seed: str) -> list[Fault]:
    """Pick `count` faults; equal seeds pick the same."""
    return random.Random(seed).sample(list(faults), min(count, len(faults)))  # noqa: S311


def source_seed() -> str:
    """Seed that changes with the sources, and with nothing else."""
    digest = hashlib.sha256()
    for name, text in sources(FOLDER).items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def run(faults: Sequence[Fault], jobs: int) -> int:
    """Try each fault; 0 when the tests noticed all of them."""
    texts = sources(FOLDER)
    for fault in FAULTS:
        locate(fault, texts)
    with tempfile.TemporaryDirectory(prefix="gridlease-mutation-") as folder:
        projects: SimpleQueue[Project] = SimpleQueue()
        first = Project.copy(FOLDER, Path(folder) / "0")
        first.check_clean(faults)
        projects.put(first)
        for number in range(1, min(jobs, len(faults))):
            projects.put(Project.copy(first.folder, Path(folder) / str(number)))

        def attempt(fault: Fault) -> Outcome:
            project = projects.get()
            try:
                outcome = project.attempt(fault)
            finally:
                projects.put(project)
            _say(f"{'killed' if outcome.killed else 'SURVIVED'}  {outcome}")
            return outcome

        with ThreadPool(jobs) as pool:
            outcomes = pool.map(attempt, faults, chunksize=1)
    survivors = [outcome for outcome in outcomes if not outcome.killed]
    _say(f"{len(outcomes) - len(survivors)} of {len(outcomes)} faults were noticed")
    for outcome in survivors:
        _say(f"not noticed: {outcome.fault.breaks}\n  - {outcome.fault.text}")
        _say(f"  + {outcome.fault.replacement}")
    return 1 if survivors else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="faults to draw")
    parser.add_argument("--all", action="store_true", help="every fault")
    parser.add_argument("--seed", help="of the draw; default: the sources' own digest")
    parser.add_argument("--match", default="", help="only faults whose rule holds this text")
    parser.add_argument("--jobs", type=int, default=min(_MAX_JOBS, os.cpu_count() or 1))
    options = parser.parse_args(arguments)
    fitting = [fault for fault in FAULTS if options.match in fault.breaks]
    seed = options.seed or source_seed()
    chosen = fitting if options.all else draw(fitting, options.count, seed)
    _say(f"{len(chosen)} of {len(FAULTS)} faults, seed {seed}")
    try:
        return run(chosen, options.jobs)
    except MutationError as error:
        sys.stderr.write(f"contracts.mutation: {error}\n")
        return 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
