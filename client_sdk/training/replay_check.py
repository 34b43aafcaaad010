"""Tells a renter, before anything is rented, whether a script can be replayed.

Runs two segments in one process, and the second one again in a new process from the first one's
checkpoint. What differs would differ in an audit. ``python -m client_sdk.training.replay_check
train.py [arguments]`` prints the result and exits with 1 when something differs.

*Covered:* state kept where no checkpoint finds it, randomness outside of the seeds, operations
that are not deterministic, as far as they show within the two segments. *Not covered:* what shows
later; another machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client_sdk.protocol.checkpoint import RECORD_NAME
from client_sdk.protocol.records import SegmentRecord
from client_sdk.training.errors import TrainingError
from client_sdk.training.options import LocalOptions

_MAX_OUTPUT_CHARS = 4_000
_CLOCK_S = 1_700_000_000  # any time: under a lease it comes from the terms


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayReport:
    """Result of `check_replay`.

    Attributes
    ----------
    same
        Whether the second execution did the same and ended in the same state, bit for bit.
    differences
        Names of tensors and parts of the state that differ, and ``step n`` for steps whose data
        or metrics differ.
    """

    same: bool
    differences: tuple[str, ...]


class ScriptFailedError(TrainingError):
    """The script failed, so that nothing can be said about its replay."""


def check_replay(
    script: Path, args: Sequence[str] = (), *, options: LocalOptions | None = None
) -> ReplayReport:
    """Run two segments of a script, and the second one again from the first one's checkpoint.

    Parameters
    ----------
    script
        The training script; runs twice, in processes of its own, in the present folder.
    args
        Its arguments.
    options
        Seed, steps per segment, data folder; `output_dir` and `resume` are not looked at.

    Raises
    ------
    ScriptFailedError
        When the script failed or ended before its second segment did.
    """
    options = options or LocalOptions()
    with tempfile.TemporaryDirectory() as folder:
        whole, again = Path(folder) / "whole", Path(folder) / "again"
        _execute(script, args, options, whole, start_segment=0)
        _execute(script, args, options, again, start_segment=1, resume=whole / "segments" / "0")
        differences = _differences(whole / "segments" / "1", again / "segments" / "1")
    return ReplayReport(not differences, tuple(differences))


def _execute(
    script: Path,
    args: Sequence[str],
    options: LocalOptions,
    out_dir: Path,
    *,
    start_segment: int,
    resume: Path | None = None,
) -> None:
    settings = {
        "seed": options.seed,
        "num_threads": options.num_threads,
        "segment_steps": options.segment_steps,
        "max_segments": max(2, options.max_segments),
        "out_dir": str(out_dir),
        "data_dir": str(options.data_dir.absolute()),
        "start_segment": start_segment,
        "resume_dir": None if resume is None else str(resume),
    }
    command = [sys.executable, "-m", __spec__.name, "--execute", json.dumps(settings)]
    ended = subprocess.run(
        [*command, str(script), "--", *args],
        env={**os.environ, "PYTHONHASHSEED": "0", "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode != 0 or not (out_dir / "segments" / "1").exists():
        raise ScriptFailedError(f"the script failed:\n{ended.stdout[-_MAX_OUTPUT_CHARS:]}")


def _run_child(settings: dict[str, Any], script: Path, args: list[str]) -> None:
    """Run the script in this process, under a session that ends after segment 1."""
    from client_sdk.training import clock as clocks
    from client_sdk.training import determinism, session

    out_dir = Path(settings["out_dir"])
    out_dir.mkdir(parents=True)
    resume_dir = settings["resume_dir"]
    clock = clocks.JobClock(_CLOCK_S)
    session.install(
        session.Session(
            lease_id=bytes(32),
            seed=settings["seed"],
            segment_steps=settings["segment_steps"],
            max_segments=settings["max_segments"],
            out_dir=out_dir,
            data_dir=Path(settings["data_dir"]),
            observer=session.LocalObserver(out_dir / "metrics.jsonl"),
            start_segment=settings["start_segment"],
            resume_dir=None if resume_dir is None else Path(resume_dir),
            stop_after_segment=1,
            clock=clock,
        ),
        num_threads=settings["num_threads"],
    )
    sys.argv = [str(script), *args]
    sys.path.insert(0, str(script.parent.absolute()))
    try:
        with clocks.installed(clock):
            runpy.run_path(str(script), run_name="__main__")
    except RuntimeError as error:
        if advice := determinism.explain(error):
            error.add_note(advice)
        raise


def _differences(whole: Path, again: Path) -> list[str]:
    from client_sdk.training.checkpoint import read_folder
    from client_sdk.training.state import differences

    first, second = (
        SegmentRecord.from_json(json.loads((folder / RECORD_NAME).read_bytes()))
        for folder in (whole, again)
    )
    if first.same_work(second):
        return []
    steps = zip(first.steps, second.steps, strict=False)
    found = [f"step {first.first_step + i}" for i, (a, b) in enumerate(steps) if a != b]
    if len(first.steps) != len(second.steps):
        found.append("the number of steps")
    return found + differences(read_folder(whole)[0], read_folder(again)[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Check a script and print the result; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m client_sdk.training.replay_check")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--segment-steps", type=int, default=10, help="steps of each segment")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="the job's data")
    parser.add_argument("--execute", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("script", type=Path)
    parser.add_argument("args", nargs="*", help="arguments of the script, after --")
    arguments = parser.parse_args(argv)
    if arguments.execute is not None:
        _run_child(arguments.execute, arguments.script, arguments.args)
        return 0
    options = LocalOptions(
        seed=arguments.seed, segment_steps=arguments.segment_steps, data_dir=arguments.data_dir
    )
    try:
        report = check_replay(arguments.script, arguments.args, options=options)
    except ScriptFailedError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if report.same:
        sys.stdout.write("replay: ok, a segment run again gave the same bits\n")
        return 0
    shown = "\n".join(f"  {name}" for name in report.differences[:20])
    sys.stdout.write(
        f"replay: differs in {len(report.differences)} places, an audit would too\n{shown}\n"
        "Register what the script keeps between steps with state=, and draw random numbers from\n"
        "run.generator or torch's, numpy's and Python's global generators.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
