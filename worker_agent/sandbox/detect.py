"""Choosing the tier that this machine really gives, by starting a job in it.

*Covered*: nothing is believed from settings or version numbers alone; each way is tried with a
real start, and a refusal says what to change.
*Not covered*: whether the abuse probes fail safely: that is `worker_agent.sandbox.doctor`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from worker_agent.sandbox.base import MIB, Isolation, Limits, SandboxSpec
from worker_agent.sandbox.bubblewrap import BubblewrapSandbox
from worker_agent.sandbox.cgroups import CgroupManager, find_hierarchies
from worker_agent.sandbox.disk import LoopTools
from worker_agent.sandbox.errors import SandboxUnavailable, StartFailed
from worker_agent.sandbox.mounts import runtime_mounts
from worker_agent.sandbox.settings import SandboxSettings

log = logging.getLogger(__name__)

_TRIAL_LIMITS = Limits(
    memory_bytes=128 * MIB, cpu_cores=1.0, disk_bytes=8 * MIB, num_files=100, wall_time_s=20.0
)
_TRIAL_END_S = 30.0

_USERNS_SWITCHES = {
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that "
        "lets bwrap use user namespaces",
    ),
    "/proc/sys/kernel/unprivileged_userns_clone": (
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=16384"),
}


def read_cgroups() -> CgroupManager:
    """Return the cgroup trees that this process may use."""
    mounts = Path("/proc/self/mounts").read_text()
    own = Path("/proc/self/cgroup").read_text()
    return CgroupManager.usable(find_hierarchies(mounts, own))


def explain(complaint: str, switches: Path = Path("/")) -> str:
    """Return the mend for a sandbox that did not start.

    Parameters
    ----------
    complaint
        What bwrap or the launcher printed.
    switches
        Root of the /proc to look at.
    """
    for path, (closed, mend) in _USERNS_SWITCHES.items():
        file = switches / path.lstrip("/")
        if file.is_file() and file.read_text().strip() == closed:
            return f"user namespaces are off here: {mend}"
    if "namespace" in complaint or "uid map" in complaint:
        return (
            "user namespaces are refused here, perhaps by the container this worker runs in: "
            "run it on the host, or give the container user namespaces "
            "(docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined)"
        )
    if "Permission denied" in complaint:
        return (
            "the job's uid must be able to read the worker's interpreter and packages: "
            "chmod -R o+rX on the environment the worker runs in"
        )
    if "proc" in complaint:
        return "a fresh /proc cannot be mounted: in a container, give it an unmasked /proc"
    return "see the message above; `gridlease worker check` tries each part by itself"


def try_start(sandbox: BubblewrapSandbox) -> None:
    """Run the worker's interpreter in the sandbox; `SandboxError` when that fails."""
    runtime = runtime_mounts()
    spec = SandboxSpec(
        argv=[*runtime.python, "-c", "open('/job/ok', 'w').write('ok')"],
        env=runtime.env,
        mounts=runtime.mounts,
        limits=_TRIAL_LIMITS,
    )
    with sandbox.start(spec) as job:
        exit_ = job.wait(_TRIAL_END_S)
        if exit_ is None or not exit_.ok:
            said = job.output_tail().decode(errors="replace").strip()
            raise StartFailed(f"a trial job ended with {exit_}: {said}")
        if job.read_file("ok", 10) != b"ok":
            raise StartFailed("a trial job's file did not come out of the sandbox")


def _attempt(
    settings: SandboxSettings,
    isolation: Isolation,
    cgroups: CgroupManager,
    loop_tools: LoopTools | None,
) -> BubblewrapSandbox:
    sandbox = BubblewrapSandbox(settings, isolation, cgroups, loop_tools)
    try:
        swept = sandbox.sweep()
        if swept:
            log.info("removed what was left of %s", ", ".join(swept))
        try_start(sandbox)
    except BaseException:
        sandbox.close()
        raise
    return sandbox


def _detect_as_root(
    settings: SandboxSettings, isolation: Isolation, cgroups: CgroupManager
) -> BubblewrapSandbox:
    loop_tools = LoopTools.find()
    if loop_tools is not None:
        try:
            return _attempt(settings, isolation, cgroups, loop_tools)
        except StartFailed as error:
            log.warning("work disks cannot be images here, using tmpfs: %s", error)
    return _attempt(settings, isolation, cgroups, None)


def _choose(settings: SandboxSettings, cgroups: CgroupManager, *, root: bool) -> Isolation:
    missing = cgroups.missing()
    if root and not missing:
        return Isolation.STRONG
    if settings.allow_weak:
        return Isolation.WEAK
    if root:
        raise SandboxUnavailable(
            f"no cgroup of this machine limits {', '.join(missing)}",
            "mount cgroup v2 at /sys/fs/cgroup writable, or allow weak isolation "
            "(development chain only)",
        )
    raise SandboxUnavailable(
        "without root only weak isolation is possible, and it is not allowed",
        "run the worker as root, or allow weak isolation (development chain only)",
    )


def detect(settings: SandboxSettings) -> BubblewrapSandbox:
    """Return the strongest sandbox this machine gives, swept and tried.

    Raises
    ------
    SandboxUnavailable
        When there is none, or only weak isolation and the provider did not opt in to it.
    SandboxBusy
        When another worker uses the state folder.
    """
    cgroups = read_cgroups()
    root = os.geteuid() == 0
    isolation = _choose(settings, cgroups, root=root)
    try:
        if root:
            return _detect_as_root(settings, isolation, cgroups)
        return _attempt(settings, isolation, cgroups, None)
    except StartFailed as error:
        raise SandboxUnavailable(str(error), explain(str(error))) from error
