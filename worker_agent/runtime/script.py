"""Runs the renter's script in this process, as ``python script`` would."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

_MAX_TRACEBACK_CHARS = 16_000


def run_script(
    code_dir: Path, entry: str, args: Sequence[str], image_dir: Path | None = None
) -> None:
    """Run ``code_dir/entry`` as ``__main__``; whatever it raises comes out.

    Packages are found in the script's folder, then in ``image_dir`` (the job's own wheels), then
    in the machine's.

    The working folder is `code_dir`, which is read-only under a lease: files to keep go through
    ``run.save_output``.
    """
    script = code_dir / entry
    sys.argv = [str(script), *args]
    # What `python -m` put first is the job's folder, which the script can write to.
    sys.path[0] = str(script.parent)
    if image_dir is not None:
        sys.path.insert(1, str(image_dir))
    sys.dont_write_bytecode = True
    os.chdir(code_dir)
    runpy.run_path(str(script), run_name="__main__")


def describe(error: BaseException, code_dir: Path) -> str:
    """Traceback of a failed script, from its own first frame on."""
    trace = error.__traceback__
    first = trace
    while first is not None and not first.tb_frame.f_code.co_filename.startswith(str(code_dir)):
        first = first.tb_next
    lines = traceback.format_exception(type(error), error, first or trace)
    return "".join(lines)[-_MAX_TRACEBACK_CHARS:]
