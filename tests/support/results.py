"""The last results of long runs, with commit and machine, kept in docs/results.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results.md"
HEADER = (
    "# Results of long runs\n\n"
    "Written by `make bench` and `make soak`. Each section is the last run of its name.\n"
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


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def _cpu() -> str:
    """Model name of the processor; `platform.processor` is empty on most Linux systems."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    found = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    return found.group(1).strip() if found else "unknown processor"
