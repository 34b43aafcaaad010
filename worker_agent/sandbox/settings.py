"""What the sandbox needs to know about this worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSettings:
    """Passed to `worker_agent.sandbox.detect.detect`."""

    state_dir: Path
    """Folder for disk images and the journal, one per worker process."""
    allow_weak: bool = False
    """Whether the provider opted in to isolation without enforceable memory limits."""
    bwrap: Path | None = None
    """bubblewrap program; None looks for the PyPI package, then on the path."""
    slots_dir: Path = Path("/run/gridlease/uids")
    """Locks of the job uids, shared by all workers of this machine; used as root only."""
    first_uid: int = 31000
    """First uid of the range for jobs; used as root only."""
    num_uids: int = 64
    """Jobs that can run at the same time on this machine."""
