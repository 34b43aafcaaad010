"""``python -m worker_agent.runtime``: run the task in ``task.json`` of the working folder.

Events go to descriptor 3 and commands come from descriptor 4, see `control`; exit codes are in
`exits`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from worker_agent.runtime.control import Control
from worker_agent.runtime.exits import KIND_OF, ExitCode
from worker_agent.runtime.task import Mode, Task, TaskError, read_task

TASK_NAME = "task.json"


def main() -> int:
    """Run the task; returns the exit code."""
    _fix_hash_seed()
    control = Control()
    path = Path(TASK_NAME)
    try:
        task = read_task(path)
    except TaskError as error:
        return _fail(control, ExitCode.BAD_TASK, str(error))
    # Gone before the renter's code starts, which has no business with what its run is for.
    path.unlink(missing_ok=True)
    os.environ.update(job_environment(task))
    try:
        return int(_run(task, control))
    except Exception:  # the process's edge
        return _fail(control, ExitCode.OWN_FAULT, traceback.format_exc())


def job_environment(task: Task) -> Mapping[str, str]:
    """Variables that have to be set before torch is imported; the job's own cannot change ours."""
    threads = str(task.threads)
    return {
        **task.env,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "MKL_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        # Waiting threads that spin make a step many times slower beside a busy neighbour.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONHASHSEED": "0",
    }


def _run(task: Task, control: Control) -> ExitCode:
    # Imported late: torch reads the environment when it is imported, and metered runs do without.
    if task.mode is Mode.METERED:
        from worker_agent.runtime.metered import run_metered

        return run_metered(task, control)
    from worker_agent.runtime.train import run_training

    return run_training(task, control)


def _fix_hash_seed() -> None:
    """Start again with a fixed hash seed, or the order of sets would differ between runs."""
    # With the variable set and still random, the interpreter was told to ignore variables.
    if sys.flags.hash_randomization and os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  # itself, with its own arguments


def _fail(control: Control, code: ExitCode, text: str) -> int:
    control.send("error", kind=KIND_OF[code], code=int(code), text=text)
    sys.stderr.write(text + "\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
