"""Attacks on the host's files, processes, settings and devices."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from worker_agent.sandbox.probes.report import Arguments, Verdict, all_of


def secret_files(arguments: Arguments) -> Verdict:
    """Read files of the host."""

    def attempts() -> Iterator[Verdict]:
        for path in (*arguments["secrets"], "/etc/shadow", "/etc/machine-id"):
            try:
                content = Path(path).read_bytes()
            except OSError as error:
                yield True, f"{path}: {error.strerror}"
            else:
                yield False, f"{path}: read {len(content)} bytes"

    return all_of(attempts())


def home_folders(_: Arguments) -> Verdict:
    """List the users' home folders beyond what the interpreter needs."""
    seen = [str(path) for path in Path("/home").glob("*/.ssh")]
    seen += [str(path) for path in Path("/root").glob(".*") if path.name in (".ssh", ".bashrc")]
    return not seen, ", ".join(seen) or "none"


def environment(arguments: Arguments) -> Verdict:
    """Find the worker's environment in any process."""
    marker = arguments["marker"].encode()
    holders = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if marker in path.read_bytes():
                holders.append(str(path))
    if arguments["marker"] in os.environ.values():
        holders.append("os.environ")
    return not holders, ", ".join(holders) or "not found"


def kernel_settings(_: Arguments) -> Verdict:
    """Open the kernel's settings for writing."""

    def attempts() -> Iterator[Verdict]:
        for path in (
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sysrq-trigger",
            "/sys/kernel/uevent_helper",
        ):
            try:
                os.close(os.open(path, os.O_WRONLY))
            except OSError as error:
                yield True, f"{path}: {error.strerror}"
            else:
                # A masked file is /dev/null: writing there reaches nothing.
                null = stat.S_ISCHR(Path(path).stat().st_mode)
                yield null, f"{path}: opened for writing"

    return all_of(attempts())


def kernel_messages(_: Arguments) -> Verdict:
    """Read what the kernel tells about the host."""

    def attempts() -> Iterator[Verdict]:
        for path in ("cmdline", "kallsyms", "kmsg", "kcore", "keys", "timer_list", "config.gz"):
            try:
                handle = os.open(f"/proc/{path}", os.O_RDONLY | os.O_NONBLOCK)
            except OSError as error:
                yield True, f"{path}: {error.strerror}"
                continue
            try:
                content = os.read(handle, 100)
            except OSError:
                content = b""
            finally:
                os.close(handle)
            yield not content, f"{path}: read {len(content)} bytes"

    return all_of(attempts())


def read_only_system(arguments: Arguments) -> Verdict:
    """Write where only the host may."""

    def attempts() -> Iterator[Verdict]:
        folders = ["/", "/usr/bin", "/usr/lib", "/etc", "/sys", "/dev", "/run", "/opt"]
        for folder in [*folders, *arguments["read_only"]]:
            path = Path(folder) / "probe"
            try:
                path.touch()
            except OSError as error:
                yield True, f"{folder}: {error.strerror}"
            else:
                path.unlink()
                yield False, f"{folder}: is writable"

    return all_of(attempts())


def other_processes(_: Arguments) -> Verdict:
    """See or reach processes that are not the job's."""
    visible = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    reachable = set()
    for pid in range(3, 40_000):
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            reachable.add(pid)
    strange = {pid for pid in visible | reachable if pid > 2}
    return not strange, f"sees {sorted(visible)[:10]}, reaches {sorted(reachable)[:10]}"


def privileges(_: Arguments) -> Verdict:
    """Hold capabilities, be able to gain some, or run without the filter."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    zero = all(int(fields[name], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"))
    held = fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    text = f"capabilities zero: {zero}, no_new_privs and filter: {held}, uid {os.getuid()}"
    return zero and held and os.getuid() != 0, text


def inherited_files(_: Arguments) -> Verdict:
    """Find open files that the worker forgot to close."""
    numbers = set()
    for number in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        with contextlib.suppress(OSError):
            fcntl.fcntl(number, fcntl.F_GETFD)
            numbers.add(number)
    strange = numbers - {0, 1, 2, 3, 4}
    return not strange, f"open: {sorted(numbers)}"


def devices(_: Arguments) -> Verdict:
    """Find or make device nodes of the host."""
    plain = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd"}
    plain |= {"stdin", "stdout", "stderr", "core", "console", "mqueue"}
    strange = [p.name for p in Path("/dev").iterdir() if p.name not in plain]
    strange = [name for name in strange if not name.startswith("nvidia")]
    try:
        os.mknod("/job/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
        strange.append("mknod")
    except OSError:
        pass
    return not strange, ", ".join(strange) or "none"
