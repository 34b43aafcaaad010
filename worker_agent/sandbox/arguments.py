"""The command line of bwrap: what a job sees and may do.

*Covered*: own user, process, network, IPC, host name and cgroup namespaces, no nested user
namespaces, no capabilities, a read-only root made of named parts, sized tmpfs, an own /proc with
telling files masked, an empty /sys (shown read-only to GPU jobs, which CUDA needs), only granted
devices, the system call filter, the end of everything when the worker ends.
*Not covered*: memory, processor and process limits (cgroups), and what /proc tells about the
machine: memory size, load, processor model, and the host path of each mount.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker_agent.sandbox.base import WORK_DIR, Mount, SandboxSpec
from worker_agent.sandbox.errors import BadSpec
from worker_agent.sandbox.mounts import system_links

JOB_UID = 1000
"""Uid and gid that the job sees."""

CONTROL_OUT_FD = 3
CONTROL_IN_FD = 4
SECCOMP_FD = 10
STATUS_FD = 11
BLOCK_FD = 12
ARGUMENTS_FD = 13
FIRST_DATA_FD = 20

READY_MARK = "/run/ready"
"""Made last: when it shows in the sandbox's root, every mount is in place."""

_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/cmdline",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
)
_ETC = {
    "/etc/passwd": f"job:x:{JOB_UID}:{JOB_UID}:job:/tmp:/bin/sh\n",
    "/etc/group": f"job:x:{JOB_UID}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/resolv.conf": "",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_TAKEN_TARGETS = ("/proc", "/sys", "/dev", "/usr", "/etc", "/run", "/tmp")  # noqa: S108 -- inside
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GPU_NODE = re.compile(r"/dev/nvidia[0-9]+")
_GPU_SHARED_NODES = (
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
)


def gpu_nodes(spec: SandboxSpec) -> list[str]:
    """Return the device nodes a job gets: its GPUs and the driver's shared ones."""
    if not spec.gpus:
        return []
    return [*spec.gpus, *(node for node in _GPU_SHARED_NODES if Path(node).exists())]


def check_spec(spec: SandboxSpec) -> None:
    """Refuse what no tier gives; `BadSpec` says which part."""
    texts = [*spec.argv, spec.cwd, *spec.env.values(), *spec.gpus]
    texts += [text for mount in spec.mounts for text in (mount.target, str(mount.source))]
    if any("\0" in text for text in texts):
        # NUL ends an argument of bwrap: the rest would be read as further options.
        raise BadSpec("an argument, path or variable contains a NUL byte")
    if not spec.argv or not spec.argv[0].startswith("/"):
        raise BadSpec("argv must start with an absolute path inside the sandbox")
    if not _HOSTNAME.fullmatch(spec.hostname):
        raise BadSpec(f"{spec.hostname!r} is not a host name")
    for name in spec.env:
        if not _VARIABLE.fullmatch(name):
            raise BadSpec(f"{name!r} is not an environment variable")
    for mount in spec.mounts:
        target = Path(mount.target)
        if not target.is_absolute() or ".." in target.parts or len(target.parts) < 2:
            raise BadSpec(f"mount target {mount.target!r} is not a plain absolute path")
        if any(target == Path(p) for p in (*_TAKEN_TARGETS, WORK_DIR)) or any(
            target.is_relative_to(p) for p in ("/proc", "/sys", "/dev", "/run")
        ):
            raise BadSpec(f"mount target {mount.target!r} would hide a part of the sandbox")
        if not mount.source.exists():
            raise BadSpec(f"mount source {mount.source} does not exist")
    for gpu in spec.gpus:
        if not _GPU_NODE.fullmatch(gpu):
            raise BadSpec(f"{gpu!r} is not a GPU's device node")


def _namespaces(spec: SandboxSpec) -> Iterator[str]:
    yield from ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--unshare-net", "--disable-userns")
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    yield from ("--uid", str(JOB_UID), "--gid", str(JOB_UID), "--hostname", spec.hostname)


def _root(spec: SandboxSpec, system: Sequence[Mount]) -> Iterator[str]:
    for mount in system:
        yield from ("--ro-bind", str(mount.source), mount.target)
    for link, to in system_links().items():
        yield from ("--symlink", to, link)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for node in gpu_nodes(spec):
        yield from ("--dev-bind", node, node)
    yield from ("--size", str(spec.limits.temporary_bytes), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108 -- inside the sandbox
    yield from ("--size", str(spec.limits.shared_memory_bytes), "--perms", "1777")
    yield from ("--tmpfs", "/dev/shm")  # noqa: S108 -- inside the sandbox
    if spec.gpus:
        yield from ("--ro-bind", "/sys", "/sys")
    else:
        yield from ("--size", "4096", "--tmpfs", "/sys", "--remount-ro", "/sys")
    for path in _MASKED:
        if Path(path).is_dir():
            yield from ("--size", "4096", "--tmpfs", path, "--remount-ro", path)
        elif Path(path).exists():
            yield from ("--ro-bind", "/dev/null", path)


def _files(data_fds: Sequence[int]) -> Iterator[str]:
    for path, number in zip(_ETC, data_fds, strict=True):
        yield from ("--perms", "0444", "--file", str(number), path)


def etc_contents() -> list[bytes]:
    """Return what is written to the sandbox's /etc, in the order of its descriptors."""
    return [text.encode() for text in _ETC.values()]


def bwrap_arguments(
    spec: SandboxSpec, system: Sequence[Mount], mounts: Sequence[Mount], work_disk: str | None
) -> bytes:
    """Return bwrap's arguments, each ended by NUL, for ``--args``.

    They go through a pipe so that neither the host's process list nor the job's ``/proc/1``
    shows environment values or host paths.

    Parameters
    ----------
    spec
        The job, checked.
    system, mounts
        What to show, with sources as bwrap finds them.
    work_disk
        Where the work disk is mounted; None for a sized tmpfs inside the sandbox.
    """
    data_fds = range(FIRST_DATA_FD, FIRST_DATA_FD + len(_ETC))
    words = [*_namespaces(spec), *_root(spec, system), *_files(data_fds)]
    if work_disk is None:
        words += ["--size", str(spec.limits.disk_bytes), "--perms", "0700", "--tmpfs", WORK_DIR]
    else:
        words += ["--bind", work_disk, WORK_DIR]
    for mount in mounts:
        words += ["--ro-bind", str(mount.source), mount.target]
    words += ["--clearenv"]
    for name, value in spec.env.items():
        words += ["--setenv", name, value]
    words += ["--seccomp", str(SECCOMP_FD), "--json-status-fd", str(STATUS_FD)]
    words += ["--block-fd", str(BLOCK_FD), "--chdir", spec.cwd]
    words += ["--dir", READY_MARK, "--remount-ro", "/dev", "--remount-ro", "/"]
    return b"".join(word.encode() + b"\0" for word in words)
