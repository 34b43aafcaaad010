"""The work disk of a job: a size- and inode-limited file system.

*Covered*: bytes and inodes; the image is reserved in full, so that a job never finds the host
full, and vanishes with the job.
*Not covered*: bandwidth. Without loop devices the disk is a tmpfs and its bytes count as memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_agent.sandbox.base import MIB, Limits
from worker_agent.sandbox.errors import StartFailed

_INODE_BYTES = 256
_SMALLEST = 4 * MIB
_RESERVED_INODES = 16
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class LoopTools:
    """Programs that make and mount an image."""

    mkfs: str
    mount: str

    @classmethod
    def find(cls) -> LoopTools | None:
        """Return the programs, None when this machine cannot mount images."""
        mkfs = shutil.which("mkfs.ext4", path=_SYSTEM_PATH)
        mount = shutil.which("mount", path=_SYSTEM_PATH)
        if mkfs is None or mount is None or not Path("/dev/loop-control").exists():
            return None
        return cls(mkfs, mount)


def make_image(tools: LoopTools, path: Path, limits: Limits, uid: int) -> None:
    """Make an ext4 image that holds ``limits.disk_bytes`` in ``limits.num_files`` inodes.

    Parameters
    ----------
    tools
        From `LoopTools.find`.
    path
        Image to make.
    limits
        Size and inode count; the file system's own tables come on top.
    uid
        Owner of the disk's root.
    """
    inodes = limits.num_files + _RESERVED_INODES
    size = max(limits.disk_bytes, _SMALLEST) + inodes * _INODE_BYTES
    size += size // 64 + MIB
    free = os.statvfs(path.parent)
    if free.f_bavail * free.f_frsize < size:
        raise StartFailed(f"the host has less than {size} bytes free in {path.parent}")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)
    features = "^has_journal,^resize_inode,^metadata_csum_seed"
    extended = f"root_owner={uid}:{uid},lazy_itable_init=1,nodiscard"
    argv = [tools.mkfs, "-q", "-F", "-m", "0", "-b", "4096", "-N", str(inodes)]
    argv += ["-O", features, "-E", extended, str(path)]
    result = subprocess.run(argv, env={}, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        path.unlink(missing_ok=True)
        raise StartFailed(f"cannot make the work disk: {result.stderr.strip()}")


def disk_plan(
    tools: LoopTools | None, folder: Path, image: Path | None, limits: Limits, uid: int
) -> dict[str, Any]:
    """Return what `launch` needs to mount the work disk on ``folder``."""
    return {
        "image": None if image is None else str(image),
        "command": None if tools is None else tools.mount,
        "folder": str(folder),
        "size": limits.disk_bytes,
        "inodes": limits.num_files + _RESERVED_INODES,
        "uid": uid,
    }
