"""The part of the worker's own Python that a job sees: interpreter, packages, runtime.

*Covered*: everything is shown at the path it was built for, read-only, and of our own sources
only what the runtime imports; nothing of the worker's home or data folder.
*Not covered*: the distribution's programs and libraries below /usr are shown as they are, and
the packages of the worker's environment with them: keep secrets out of both.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker_agent.sandbox.base import Mount

SOURCES_TARGET = "/opt/gridlease"
_SOURCES = (
    "gridlease.py",
    "client_sdk/__init__.py",
    "client_sdk/protocol",
    "client_sdk/training",
    "worker_agent/__init__.py",
    "worker_agent/runtime",
)

SYSTEM_FOLDERS = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo")
"""What of /usr a job sees: no /usr/local, no /usr/share, no headers."""

DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib")
"""Where hosts that are containers or small virtual machines keep NVIDIA's libraries; elsewhere
they lie in the system folders."""

SYSTEM_LINKS = {"/bin": "usr/bin", "/lib": "usr/lib", "/lib64": "usr/lib64", "/sbin": "usr/bin"}

SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime")


@dataclass(frozen=True, slots=True)
class RuntimeMounts:
    """How to run the worker's Python in a sandbox."""

    mounts: tuple[Mount, ...]
    python: tuple[str, ...]
    """First words of the command line."""
    env: dict[str, str]
    """Variables that make our own sources importable and keep Python quiet."""


def system_mounts() -> Iterator[Mount]:
    """Yield what a job sees of the operating system."""
    for folder in SYSTEM_FOLDERS:
        if Path(folder).is_dir():
            yield Mount(Path(folder), folder)
    for name, linked in SYSTEM_LINKS.items():
        # Systems without merged /usr have real folders here.
        if Path(name).is_dir() and not Path(name).is_symlink() and linked:
            yield Mount(Path(name), name)
    for file in SYSTEM_FILES:
        if Path(file).is_file():
            yield Mount(Path(file).resolve(), file)


def system_links() -> dict[str, str]:
    """Return the links at the top that a merged /usr has: link -> target."""
    return {name: to for name, to in SYSTEM_LINKS.items() if Path(name).is_symlink()}


def _inside_system(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in SYSTEM_FOLDERS)


def _base_paths() -> Iterator[Path]:
    """Yield interpreter, shared libraries and standard library of the base installation."""
    base = Path(sys.base_prefix)
    binary = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    yield binary
    if base in (Path("/usr"), Path("/")):
        return
    # The whole bin: the environment's interpreter is a link to one of the names in it.
    for name in ("bin", "lib", "lib64"):
        path = base / name
        if path.exists() and not path.is_symlink():
            yield path


def _environment_paths() -> Iterator[Path]:
    prefix = Path(sys.prefix)
    if prefix == Path(sys.base_prefix):
        for key in ("purelib", "platlib"):
            yield Path(sysconfig.get_paths()[key])
        return
    yield prefix


def driver_folders(candidates: Iterable[str] = DRIVER_FOLDERS) -> list[str]:
    """Return those folders that hold the NVIDIA driver's library."""
    return [name for name in candidates if (Path(name) / "libcuda.so.1").exists()]


def runtime_mounts() -> RuntimeMounts:
    """Return how a job runs `worker_agent.runtime` with this worker's interpreter.

    The environment is the one the worker itself runs in, so that a hardware class measured here
    holds for the jobs.
    """
    root = Path(__file__).resolve().parents[2]
    sources = [Mount(root / name, f"{SOURCES_TARGET}/{name}") for name in _SOURCES]
    seen: list[Path] = []
    for path in (*_base_paths(), *_environment_paths()):
        if not _inside_system(path) and not any(path.is_relative_to(p) for p in seen):
            seen.append(path)
    mounts = [Mount(path, str(path)) for path in seen]
    mounts += [mount for mount in sources if mount.source.exists()]
    driver = driver_folders()
    mounts += [Mount(Path(name), name) for name in driver]
    env = {
        "PYTHONPATH": SOURCES_TARGET,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "HOME": "/tmp",  # noqa: S108 -- inside the sandbox, its own tmpfs
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    if driver:
        env["LD_LIBRARY_PATH"] = ":".join(driver)
    return RuntimeMounts(tuple(mounts), (sys.executable,), env)
