"""The last results of long runs, with commit and machine, kept in docs/results.md.

Where the tree was copied without its history, the variable RESULTS_COMMIT names the commit.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results.md"
HEADER = (
    "# Results of long runs\n\n"
    "Written by `make bench`, `make soak` and `make gpu`. "
    "Each section is the last run of its name. "
    "Where the code was copied to the machine without its history, "
    "whoever ran it named the commit.\n"
)


def record(name: str, body: str, path: Path = RESULTS) -> None:
    """Put `body` (Markdown) as the section `name`, replacing its earlier one; keep the others.

    Side effects: writes `path` by rename, so that a killed run leaves the earlier results whole.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    section = f"\n## {name}\n\n{_where()}\n\n{body.strip()}\n"
    pattern = re.compile(rf"\n## {re.escape(name)}\n.*?(?=\n## |\Z)", re.DOTALL)
    text = pattern.sub("", text).rstrip("\n") + "\n" + section
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _where() -> str:
    """Commit, day and machine of this run, as one line."""
    return (
        f"Commit {_commit()}, {datetime.now(UTC):%Y-%m-%d}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores ({_cpu()}), "
        f"Python {platform.python_version()}."
    )


def outcome_table(outcomes: Iterable[tuple[str, str, float]]) -> str:
    """One row for each test function and outcome: how many cases, and their seconds together.

    Parameters
    ----------
    outcomes
        Node id, outcome and seconds of each case.
    """
    cases: dict[tuple[str, str], list[float]] = {}
    for nodeid, outcome, seconds in outcomes:
        cases.setdefault((nodeid.partition("[")[0], outcome), []).append(seconds)
    rows = [f"| {t} | {len(s)} | {o} | {sum(s):.0f} |" for (t, o), s in cases.items()]
    return "| Test | Cases | Outcome | Seconds |\n|---|---|---|---|\n" + "\n".join(rows)


def gpu_facts() -> str:
    """Model, memory, driver and torch build of this machine's first GPU, as one sentence."""
    import torch

    from worker_agent.hardware.nvml import read_gpus

    inventory = read_gpus()
    gpu = inventory.gpus[0]
    return (
        f"GPU {gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB), driver {inventory.driver}, "
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN "
        f"{torch.backends.cudnn.version()}."
    )


def _commit() -> str:
    if named := os.environ.get("RESULTS_COMMIT"):
        return named
    head = _git("rev-parse", "--short=12", "HEAD")
    # This file is not code: the run before may just have written it.
    changed = _git("status", "--porcelain", "--untracked-files=no", ":!docs/results.md")
    return (head or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    """What git prints; nothing where there is no repository."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _cpu() -> str:
    """Model name of the processor; `platform.processor` is empty on most Linux systems."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    found = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    return found.group(1).strip() if found else "unknown processor"
