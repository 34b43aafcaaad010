"""Starting one job: resources, launcher, waiting for the sandbox, first files, go.

The order matters: a resource is written down before it is made, bwrap is held just before the
renter's program until everything is in place, and whatever fails is taken back in full.
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
import os
import resource
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker_agent.sandbox import arguments, files
from worker_agent.sandbox.base import GIB, WORK_DIR, Mount, SandboxSpec
from worker_agent.sandbox.cgroups import HELPERS, CgroupGroup
from worker_agent.sandbox.disk import disk_plan, make_image
from worker_agent.sandbox.errors import SandboxError, StartFailed
from worker_agent.sandbox.mounts import system_mounts
from worker_agent.sandbox.process import Handles
from worker_agent.sandbox.resources import JobRecord, UidSlot, take_uid_slot

if TYPE_CHECKING:
    from worker_agent.sandbox.bubblewrap import BubblewrapSandbox

log = logging.getLogger(__name__)

STAGING = "/tmp/gridlease"  # noqa: S108 -- in the launcher's own mount namespace
_START_S = 20.0
_POLL_S = 0.001
_MAX_STATUS = 65536
_LAUNCH_PLAN_FD = "plan"


def memory_file(content: bytes) -> int:
    """Return a descriptor that reads ``content`` and ends."""
    handle = os.memfd_create("gridlease", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


class Starter:
    """The start of one job.

    Parameters
    ----------
    sandbox
        The tier.
    job_id
        Name for the job's resources.
    spec
        What to run.
    """

    def __init__(self, sandbox: BubblewrapSandbox, job_id: str, spec: SandboxSpec) -> None:
        self._sandbox = sandbox
        self._job_id = job_id
        self._spec = spec
        self._privileged = sandbox.privileged
        self._record = JobRecord(job_id=job_id)
        self._slot: UidSlot | None = None
        self._group: CgroupGroup | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._ours: dict[str, int] = {}
        self._theirs: dict[str, int] = {}

    def start(self) -> Handles:
        """Bring the sandbox up to the point where only `go` is missing."""
        arguments.check_spec(self._spec)
        self._make_resources()
        plan, inherited = self._plan()
        self._theirs[_LAUNCH_PLAN_FD] = memory_file(marshal.dumps(plan))
        inherited.append(self._theirs[_LAUNCH_PLAN_FD])
        self._popen = self._sandbox.spawn(
            self._theirs[_LAUNCH_PLAN_FD],
            stdout=self._theirs["output"],
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
        )
        self._close(self._theirs)
        deadline = time.monotonic() + _START_S
        init_pid = self._read_init_pid(deadline)
        self._record = self._sandbox.journal.note_process(self._record, init_pid)
        try:
            self._ours["init"] = os.pidfd_open(init_pid)
        except ProcessLookupError:
            raise StartFailed(self._complaint()) from None
        self._ours["work"] = self._open_work(init_pid, deadline)
        self._limit_processes(init_pid)
        self._put_files()
        return Handles(
            popen=self._popen,
            init_pid=init_pid,
            init_fd=self._ours["init"],
            work_fd=self._ours["work"],
            output_fd=self._ours["output"],
            status_fd=self._ours["status"],
            control_in_fd=self._ours["control_in"],
            control_out_fd=self._ours["control_out"],
            group=self._group,
            release=self._release,
        )

    def go(self) -> None:
        """Let the renter's program run."""
        handle = self._ours.pop("block")
        try:
            os.write(handle, b"x")
        except BrokenPipeError:
            log.debug("%s: ended before it began", self._job_id)
        os.close(handle)

    def abandon(self) -> None:
        """Take back everything after a failed start."""
        if self._popen is not None:
            # The launcher leads its own process group until the renter's program starts.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        self._close(self._theirs)
        self._close(self._ours)
        self._release()

    # -- resources

    def _make_resources(self) -> None:
        sandbox, limits = self._sandbox, self._spec.limits
        image: Path | None = None
        if self._privileged:
            settings = sandbox.settings
            self._slot = take_uid_slot(settings.slots_dir, settings.first_uid, settings.num_uids)
        if sandbox.loop_tools is not None:
            image = sandbox.settings.state_dir / f"{self._job_id}.img"
        self._record = JobRecord(
            job_id=self._job_id,
            cgroups=tuple(str(path) for path in sandbox.cgroups.paths(self._job_id)),
            image=None if image is None else str(image),
        )
        sandbox.journal.write(self._record)
        if sandbox.cgroups.hierarchies:
            self._group = sandbox.cgroups.create(
                self._job_id, limits, arguments.gpu_nodes(self._spec)
            )
        if sandbox.loop_tools is not None and image is not None and self._slot is not None:
            make_image(sandbox.loop_tools, image, limits, self._slot.uid)

    def _release(self) -> None:
        if self._group is not None:
            self._group.remove()
        if self._record.image is not None:
            Path(self._record.image).unlink(missing_ok=True)
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        self._sandbox.forget(self._job_id)

    # -- the launcher's plan

    def _pipe(self, ours: str, theirs: str, *, we_read: bool) -> None:
        read, write = os.pipe()
        self._ours[ours], self._theirs[theirs] = (read, write) if we_read else (write, read)

    def _plan(self) -> tuple[dict[str, Any], list[int]]:
        self._pipe("output", "output", we_read=True)
        self._pipe("control_out", "control_out", we_read=True)
        self._pipe("control_in", "control_in", we_read=False)
        self._pipe("status", "status", we_read=True)
        self._pipe("block", "block", we_read=False)
        binds, mounts, bwrap = self._stage()
        work_disk = f"{STAGING}/work" if self._privileged else None
        words = arguments.bwrap_arguments(self._spec, list(system_mounts()), mounts, work_disk)
        self._theirs["arguments"] = memory_file(words)
        self._theirs["filter"] = memory_file(self._sandbox.filter)
        wanted = {
            arguments.CONTROL_OUT_FD: self._theirs["control_out"],
            arguments.CONTROL_IN_FD: self._theirs["control_in"],
            arguments.SECCOMP_FD: self._theirs["filter"],
            arguments.STATUS_FD: self._theirs["status"],
            arguments.BLOCK_FD: self._theirs["block"],
            arguments.ARGUMENTS_FD: self._theirs["arguments"],
        }
        for index, content in enumerate(arguments.etc_contents()):
            self._theirs[f"etc{index}"] = memory_file(content)
            wanted[arguments.FIRST_DATA_FD + index] = self._theirs[f"etc{index}"]
        uid = None if self._slot is None else self._slot.uid
        plan = {
            "staging": self._privileged,
            "binds": binds,
            "disk": self._disk() if self._slot is not None else None,
            "cgroup_procs": [] if self._group is None else self._group.procs_files(),
            "fds": wanted,
            "block_fd": arguments.BLOCK_FD,
            "rlimits": self._rlimits(),
            "parent": os.getpid(),
            "uid": uid,
            "gid": uid,
            "argv": [bwrap, "--args", str(arguments.ARGUMENTS_FD), "--", *self._spec.argv],
        }
        return plan, list(wanted.values())

    def _stage(self) -> tuple[list[tuple[str, str]], list[Mount], str]:
        """Return what to bind where, the mounts as bwrap sees them, and bwrap's path."""
        program = self._sandbox.program
        if not self._privileged:
            return [], list(self._spec.mounts), str(program)
        binds = [(str(self._sandbox.mount_folder), f"{STAGING}/work")]
        mounts = []
        for index, mount in enumerate(self._spec.mounts):
            staged = f"{STAGING}/mounts/{index}"
            binds.append((str(mount.source), staged))
            mounts.append(Mount(Path(staged), mount.target))
        # The package's bwrap finds its library relative to itself, two folders up.
        home = program.parents[2] if len(program.parents) > 2 else program.parent
        binds.append((str(home), f"{STAGING}/bwrap"))
        return binds, mounts, f"{STAGING}/bwrap/{program.relative_to(home)}"

    def _disk(self) -> dict[str, Any]:
        sandbox = self._sandbox
        assert self._slot is not None
        image = None if self._record.image is None else Path(self._record.image)
        return disk_plan(
            sandbox.loop_tools, sandbox.mount_folder, image, self._spec.limits, self._slot.uid
        )

    def _rlimits(self) -> dict[str, int]:
        limits = self._spec.limits
        values = {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": limits.num_open_files,
            "RLIMIT_FSIZE": limits.disk_bytes,
        }
        if not self._sandbox.limits_memory and not self._spec.gpus:
            # Stops mistakes, not attacks: shared mappings do not count, thread stacks do (hence
            # the slack). Never with CUDA, which
            # reserves address space far beyond what it uses.
            values["RLIMIT_DATA"] = limits.memory_bytes + GIB
        if self._slot is not None and not self._sandbox.limits_memory:
            # Nobody else has this uid, so that its processes are those of this job.
            values["RLIMIT_NPROC"] = limits.num_processes + HELPERS
        return values

    # -- waiting for bwrap

    def _read_init_pid(self, deadline: float) -> int:
        """Read bwrap's first status line, which names process 1 of the sandbox."""
        received = b""
        while b"\n" not in received:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._ours["status"]], [], [], left)[0]:
                raise StartFailed(f"bwrap said nothing for {_START_S:g} s")
            piece = os.read(self._ours["status"], _MAX_STATUS)
            if not piece:
                raise StartFailed(self._complaint())
            received += piece
        return int(json.loads(received.split(b"\n")[0])["child-pid"])

    def _complaint(self) -> str:
        """Return what launcher or bwrap printed before they gave up."""
        text = b""
        while len(text) < _MAX_STATUS and (piece := os.read(self._ours["output"], _MAX_STATUS)):
            text += piece
        assert self._popen is not None
        said = text.decode(errors="replace").strip() or "nothing"
        return f"the sandbox did not start (code {self._popen.wait()}): {said}"

    def _open_work(self, init_pid: int, deadline: float) -> int:
        """Open the work disk once the sandbox's mounts are in place.

        Nothing of the renter runs yet, so the path cannot be played with. The descriptor keeps
        the disk alive after the sandbox is gone, for the collector.
        """
        root = f"/proc/{init_pid}/root"
        assert self._popen is not None
        while time.monotonic() < deadline:
            if os.path.lexists(root + arguments.READY_MARK):
                return os.open(root + WORK_DIR, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if self._popen.poll() is not None:
                raise StartFailed(self._complaint())
            time.sleep(_POLL_S)
        raise StartFailed(f"the sandbox was not ready after {_START_S:g} s")

    def _limit_processes(self, init_pid: int) -> None:
        """Cap processes per user namespace where no cgroup counts them.

        From outside, after bwrap's own forks: set earlier it would count all processes of the
        worker's uid. (Root does it in the launcher: without CAP_SYS_RESOURCE it may not do it to
        another uid.)
        """
        if self._sandbox.limits_memory or self._slot is not None:
            return
        cap = self._spec.limits.num_processes
        try:
            resource.prlimit(init_pid, resource.RLIMIT_NPROC, (cap, cap))
        except OSError as error:
            raise SandboxError(f"cannot limit the job's processes: {error}") from error

    def _put_files(self) -> None:
        work = self._ours["work"]
        if self._sandbox.loop_tools is not None:
            os.rmdir("lost+found", dir_fd=work)
        owner = None if self._slot is None else self._slot.uid
        for path, content in self._spec.work_files.items():
            files.write_file(work, path, content, owner)

    def _close(self, handles: dict[str, int]) -> None:
        for handle in handles.values():
            os.close(handle)
        handles.clear()
