"""What jobs hold on this machine, written down before it is made.

*Covered*: a worker that was killed leaves a record of each job's cgroups, disk image and
processes; the next start removes them. Uid slots are locked across all workers of the machine,
so that two jobs never share a uid.
*Not covered*: resources of other programs; a state folder that somebody else writes to.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from worker_agent.sandbox.errors import SandboxBusy

SCHEMA = "gridlease/sandbox-job/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """The resources of one job."""

    job_id: str
    cgroups: tuple[str, ...] = ()
    image: str | None = None
    pid: int | None = None
    """Process 1 of the sandbox, once there is one: all others end with it."""
    started_ticks: int | None = None
    """Start time of that process in clock ticks since boot, which tells a reused pid."""
    boot_id: str = ""
    schema: str = SCHEMA


def boot_id() -> str:
    """Return the kernel's name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses, which may hold spaces and parentheses.
    return int(text.rpartition(")")[2].split()[19])


def fsync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Journal:
    """One file per job below the state folder, which one worker at a time may use.

    Parameters
    ----------
    folder
        The state folder; made with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records = folder / "jobs"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._records.mkdir(exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SandboxBusy(f"another worker uses {folder}; give each its own folder") from None

    def write(self, record: JobRecord) -> None:
        """Put a record on the disk before what it names is made."""
        path = self._path(record.job_id)
        draft = path.with_suffix(".new")
        with draft.open("w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        fsync_folder(self._records)

    def note_process(self, record: JobRecord, pid: int) -> JobRecord:
        """Add the started process to a record."""
        changed = replace(record, pid=pid, started_ticks=started_ticks(pid), boot_id=boot_id())
        self.write(changed)
        return changed

    def forget(self, job_id: str) -> None:
        """Drop the record of a job whose resources are gone."""
        self._path(job_id).unlink(missing_ok=True)

    def records(self) -> list[JobRecord]:
        """Return the records on the disk; half-written ones never had resources."""
        found = []
        for path in sorted(self._records.glob("*.json")):
            fields = json.loads(path.read_text())
            fields["cgroups"] = tuple(fields["cgroups"])
            found.append(JobRecord(**fields))
        return found

    def close(self) -> None:
        """Let another worker use the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _path(self, job_id: str) -> Path:
        return self._records / f"{job_id}.json"


@dataclass(frozen=True, slots=True)
class UidSlot:
    """One uid for one job at a time."""

    uid: int
    lock: int
    """Descriptor that holds the slot's file lock."""

    def release(self) -> None:
        """Give the uid back."""
        os.close(self.lock)


def take_uid_slot(folder: Path, first_uid: int, num_uids: int) -> UidSlot:
    """Take a uid that no other job on this machine uses and no account has.

    Parameters
    ----------
    folder
        Where the lock files of all workers of this machine lie.
    first_uid, num_uids
        The reserved range.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    for uid in range(first_uid, first_uid + num_uids):
        if uid in taken or uid == 0:
            continue
        lock = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return UidSlot(uid, lock)
    raise SandboxBusy(f"all {num_uids} job uids from {first_uid} are in use on this machine")
