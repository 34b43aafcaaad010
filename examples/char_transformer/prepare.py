"""Writes data/stdlib.txt: sources of this interpreter's own standard library.

Run it once before `gridlease run job.yaml`; the text is not part of the example, since it depends
on the interpreter. ::

    python prepare.py
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

DESTINATION = Path(__file__).parent / "data" / "stdlib.txt"
MAX_CHARS = 4_000_000


def standard_library_text(max_chars: int = MAX_CHARS) -> str:
    """Top-level modules of the standard library in order of their names, as ASCII text."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts = []
    left = max_chars
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        part = f"# {path.name}\n" + text.encode("ascii", errors="replace").decode()
        parts.append(part[:left])
        left -= len(parts[-1])
        if left == 0:
            break
    return "".join(parts)


if __name__ == "__main__":
    DESTINATION.parent.mkdir(exist_ok=True)
    content = standard_library_text()
    DESTINATION.write_text(content, encoding="ascii")
    print(f"wrote {len(content):,} characters to {DESTINATION}")
