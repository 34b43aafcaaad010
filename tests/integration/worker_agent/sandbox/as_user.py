"""Runs a command under an ordinary uid, with this interpreter and these sources readable.

``python as_user.py UID FOLDER GROUPS COMMAND...``; GROUPS are cgroup.procs files to enter.
Root's home is often closed to other users, and the interpreter may lie below it; a private mount
namespace opens just those paths.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from worker_agent.sandbox import launch


def closed_ancestor(path: Path) -> Path | None:
    """The outermost folder above ``path`` that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def open_up(paths: list[Path]) -> None:
    assert launch._libc().unshare(launch.CLONE_NEWNS) == 0
    launch.mount("none", "/", None, launch.MS_REC | launch.MS_PRIVATE)
    below: dict[Path, list[tuple[int, Path]]] = {}
    for path in paths:
        ancestor = closed_ancestor(path)
        if ancestor is not None:
            below.setdefault(ancestor, []).append((os.open(path, os.O_PATH), path))
    for ancestor, inner in below.items():
        launch.mount("open", str(ancestor), "tmpfs", 0, "mode=0755")
        for handle, path in inner:
            if not path.exists():
                launch._bind(handle, str(path))


def main() -> None:
    uid, folder, groups, *command = sys.argv[1:]
    for path in groups.split():
        Path(path).write_text("0")
    cwd = Path.cwd()
    open_up([Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), cwd])
    os.chown(folder, int(uid), int(uid))
    launch._drop(int(uid), int(uid))
    os.chdir(cwd)
    env = {"PATH": "/usr/bin:/bin", "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(command[0], command, env)


if __name__ == "__main__":
    main()
