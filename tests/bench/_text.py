"""The char_transformer's text, as its own `prepare.py` makes it."""

from __future__ import annotations

import runpy
from pathlib import Path

PREPARE = Path(__file__).parents[2] / "examples" / "char_transformer" / "prepare.py"


def text_file(folder: Path) -> Path:
    """Write the text into `folder`; returns the file."""
    path = folder / "stdlib.txt"
    text: str = runpy.run_path(str(PREPARE))["standard_library_text"]()
    path.write_text(text, encoding="ascii")
    return path
