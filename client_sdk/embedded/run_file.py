"""run.json: who runs in a data folder now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from client_sdk.embedded import procs
from client_sdk.embedded.layout import DataFolder, read_json
from client_sdk.errors import FolderBroken
from client_sdk.home import write_private

SCHEMA = "gridlease/run/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningChild:
    """One child process."""

    pid: int
    started_at: int
    """Start time in clock ticks after boot; names the process together with `pid`."""
    log: str
    restarts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A running embedded market."""

    pid: int
    started_at: int
    api_url: str
    rpc_url: str
    ready: bool
    """Whether every part has started once."""
    children: Mapping[str, RunningChild] = field(default_factory=dict)

    def alive(self) -> bool:
        """Whether its supervisor runs."""
        return procs.is_same(self.pid, self.started_at)


def save(folder: DataFolder, run: Run) -> None:
    """Write run.json at once and whole."""
    write_private(folder.run_file, json.dumps({"schema": SCHEMA, **asdict(run)}, indent=1).encode())


def load(folder: DataFolder) -> Run | None:
    """Read run.json; None when it is not there, or is not ours.

    Raises
    ------
    FolderBroken
        It is damaged.
    """
    try:
        content = read_json(folder.run_file)
        if content is None or content.pop("schema", None) != SCHEMA:
            return None
        children = content.pop("children")
        return Run(
            **content,
            children={name: RunningChild(**child) for name, child in children.items()},
        )
    except (FolderBroken, KeyError, TypeError, AttributeError) as error:
        raise FolderBroken(
            f"{folder.run_file} is damaged: it does not say what runs here",
            what_to_do="Delete that file; if a market runs here, end its processes first.",
        ) from error


def remove(path: Path) -> None:
    """Forget the run."""
    path.unlink(missing_ok=True)
