"""Looking at, and ending, a market that another process runs."""

from __future__ import annotations

from collections.abc import Callable

from client_sdk.embedded import procs, run_file
from client_sdk.embedded.layout import DataFolder
from client_sdk.errors import AlreadyUp, NotUp

STOP_TIMEOUT_S = 60.0


def end_leftovers(folder: DataFolder, report: Callable[[str], None]) -> int:
    """End what a killed supervisor left behind; returns how many processes that were."""
    run = run_file.load(folder)
    if run is None or run.alive():
        return 0
    ended = 0
    for name, child in reversed(list(run.children.items())):
        if procs.is_same(child.pid, child.started_at):
            procs.end_tree(child.pid, child.started_at, grace_s=5.0)
            report(f"ended {name}, left behind by an earlier run")
            ended += 1
    run_file.remove(folder.run_file)
    return ended


def stop_running(folder: DataFolder, report: Callable[[str], None]) -> None:
    """End the market that runs in a folder, as `gridlease down` does.

    Raises
    ------
    NotUp
        Nothing runs there.
    """
    run = run_file.load(folder)
    if run is None:
        raise NotUp(f"nothing runs in {folder.root}")
    if not run.alive():
        if end_leftovers(folder, report) == 0:
            raise NotUp(f"nothing runs in {folder.root}")
        return
    if not procs.end_tree(run.pid, run.started_at, grace_s=STOP_TIMEOUT_S):
        report("the supervisor did not stop by itself and was killed")
    end_leftovers(folder, report)


def already_up(folder: DataFolder) -> AlreadyUp:
    """The error for a folder that is in use."""
    run = run_file.load(folder)
    where = f" (API at {run.api_url}, process {run.pid})" if run is not None else ""
    return AlreadyUp(f"a market runs in {folder.root} already{where}")
