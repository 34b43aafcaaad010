"""Becomes a job's bwrap: the last program of ours that runs before the renter's.

Run by path, ``python -I -S launch.py PLAN_FD``, in its own process, because what it does (a
private mount namespace, another uid) must not happen in the worker and must not happen between
fork and exec of a threaded process. Standard library only.

*Covered*: runtime folders below a 0700 home and the loop-mounted work disk become visible to the
job's uid through a private mount namespace, which vanishes with the job; limits and cgroups are
entered before any of the job's code exists; bwrap never starts as uid 0 (seen otherwise: the
job maps to the host's root and can write /proc/sys), and never with the worker's environment.
*Not covered*: everything inside the sandbox, which is bwrap's part.
"""

from __future__ import annotations

# Importing pathlib would take a third of a job's start.
# ruff: noqa: PTH103, PTH108, PTH120
import ctypes
import fcntl
import marshal
import os
import resource
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x00020000
MS_BIND = 0x1000
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_REC = 0x4000
MS_PRIVATE = 0x40000

STAGING = "/tmp"  # noqa: S108 -- only a mount point, covered by an own tmpfs in an own namespace
FIRST_SPARE_FD = 100
"""File descriptors are moved above this before they get their final numbers."""


class LaunchError(Exception):
    """The job could not be launched."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise LaunchError(f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Call mount(2)."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    result = _libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _check(result, f"mount {source} on {target}")


def _run(argv: list[str]) -> None:
    child = os.posix_spawn(argv[0], argv, {})
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise LaunchError(f"{argv[0]} failed with {os.waitstatus_to_exitcode(status)}")


def _bind(handle: int, target: str) -> None:
    """Bind what ``handle`` stands for on ``target``, creating what it is mounted on."""
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.makedirs(target)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
    mount(f"/proc/self/fd/{handle}", target, None, MS_BIND | MS_REC)


def _mount_disk(disk: dict[str, Any]) -> None:
    """Mount the work disk where only this namespace sees it, and forget the image's name.

    The loop device lets go of the image when the last mount goes, that is with the job: a killed
    worker leaves neither mount nor file.
    """
    if disk["image"] is None:
        options = "size={size},nr_inodes={inodes},uid={uid},gid={uid},mode=0700".format(**disk)
        mount("gridlease", disk["folder"], "tmpfs", MS_NOSUID | MS_NODEV, options)
        return
    options = "loop,nosuid,nodev,noatime"
    _run([disk["command"], "-t", "ext4", "-o", options, disk["image"], disk["folder"]])
    os.unlink(disk["image"])


def _stage(plan: dict[str, Any]) -> None:
    """Make the plan's sources visible below the staging folder, in an own mount namespace."""
    _check(_libc().unshare(CLONE_NEWNS), "unshare the mount namespace")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    if plan["disk"]:
        _mount_disk(plan["disk"])
    # The sources may lie below the staging folder itself, so they are pinned first.
    pinned = [(os.open(source, os.O_PATH), target) for source, target in plan["binds"]]
    mount("gridlease", STAGING, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    for handle, target in pinned:
        _bind(handle, target)
        os.close(handle)


def _arrange_fds(wanted: dict[int, int]) -> None:
    """Give inherited descriptors the numbers that bwrap and the job expect."""
    moved = {
        target: fcntl.fcntl(source, fcntl.F_DUPFD, FIRST_SPARE_FD)
        for target, source in wanted.items()
    }
    os.closerange(3, FIRST_SPARE_FD)
    for target, handle in moved.items():
        os.dup2(handle, target, inheritable=True)
        os.close(handle)


def _hold_open(block_fd: int) -> None:
    """Make the start signal's pipe never end.

    bwrap goes on when the pipe ends; a worker that dies right then would leave a job nobody
    watches. With a writer in the same process there is no end.
    """
    both = os.open(f"/proc/self/fd/{block_fd}", os.O_RDWR)
    os.dup2(both, block_fd, inheritable=True)
    os.close(both)


def _die_with(parent: int) -> None:
    """End when the worker ends.

    bwrap asks for the same later; until then, and while it sets up, this one holds. Dropping the
    uid clears it, so it is asked for twice.
    """
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise LaunchError("the worker has ended")


def _drop(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def launch(plan: dict[str, Any]) -> None:
    """Carry out the plan; does not return."""
    _die_with(plan["parent"])
    os.setsid()
    os.umask(0o022)
    if plan["staging"]:
        _stage(plan)
    # After the mounts: a job's group may not open loop devices.
    for path in plan["cgroup_procs"]:
        handle = os.open(path, os.O_WRONLY)
        os.write(handle, b"0")
        os.close(handle)
    _arrange_fds({int(target): source for target, source in plan["fds"].items()})
    _hold_open(plan["block_fd"])
    os.chdir("/")
    os.umask(0o077)
    for name, value in plan["rlimits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (limit, limit))
    if plan["uid"] is not None:
        _drop(plan["uid"], plan["gid"])
        _die_with(plan["parent"])
    if os.getuid() == 0 or os.geteuid() == 0:
        raise LaunchError("refused to start bwrap as uid 0")
    os.execve(plan["argv"][0], plan["argv"], {})  # noqa: S606 -- no shell is the point


def main() -> None:
    """Read the plan from the given file descriptor and launch it."""
    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        plan = marshal.load(pipe)  # noqa: S302 -- written by the worker itself, read in 0.1 ms
    try:
        launch(plan)
    except (LaunchError, OSError, ValueError) as error:
        sys.stderr.write(f"launch: {error}\n")
        sys.stderr.flush()
        os._exit(125)


if __name__ == "__main__":
    main()
