"""Attacks through the network and through kernel interfaces."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
from collections.abc import Iterator

from worker_agent.sandbox.probes.report import Arguments, Verdict, all_of

# x86_64, aarch64
_NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone3": (435, 435),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "setns": (308, 268),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_TIOCSTI = 0x5412
_REFUSED = (errno.EPERM, errno.ENOSYS)


def system_call(name: str, *arguments: int) -> int:
    """Make a raw system call; return 0 or above, or minus the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _NUMBERS[name][0 if platform.machine() == "x86_64" else 1]
    result = int(libc.syscall(number, *[ctypes.c_long(value) for value in arguments]))
    return result if result >= 0 else -ctypes.get_errno()


def refused(name: str, *arguments: int) -> Verdict:
    """Tell whether the kernel refuses a call whatever its arguments are."""
    result = system_call(name, *arguments)
    text = errno.errorcode.get(-result, str(result))
    return -result in _REFUSED, f"{name}: {text}"


def host_network(arguments: Arguments) -> Verdict:
    """Connect to services on the host, or out."""

    def attempts() -> Iterator[Verdict]:
        for host in ("127.0.0.1", "192.0.2.1", "169.254.169.254"):
            with socket.socket() as connection:
                connection.settimeout(0.5)
                try:
                    connection.connect((host, arguments["port"]))
                except OSError as error:
                    yield True, f"{host}: {error}"
                else:
                    yield False, f"{host}: connected"
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect("\0" + arguments["abstract"])
            except OSError as error:
                yield True, f"abstract socket: {error}"
            else:
                yield False, "abstract socket: connected"

    return all_of(attempts())


def socket_families(_: Arguments) -> Verdict:
    """Open sockets that leave the network namespace or reach into the kernel."""

    def attempts() -> Iterator[Verdict]:
        families = {"vsock": 40, "packet": 17, "alg": 38, "bluetooth": 31, "can": 29, "xdp": 44}
        for name, family in families.items():
            for kind in (socket.SOCK_STREAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
                try:
                    socket.socket(family, kind).close()
                except OSError as error:
                    yield True, f"{name}: {error.strerror}"
                else:
                    yield False, f"{name}: opened"
        with contextlib.suppress(OSError):
            socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()
            yield False, "raw: opened"

    return all_of(attempts())


def nested_namespaces(_: Arguments) -> Verdict:
    """Make a namespace in which the job is root."""

    def attempts() -> Iterator[Verdict]:
        for flag in (0x10000000, 0x00020000, 0x40000000):
            yield refused("unshare", flag)
        yield refused("clone3", 0, 0)
        yield refused("setns", 0, 0)

    return all_of(attempts())


def file_systems(_: Arguments) -> Verdict:
    """Change what is mounted."""

    def attempts() -> Iterator[Verdict]:
        for name in ("mount", "pivot_root", "fsopen", "open_tree", "open_by_handle_at"):
            yield refused(name, 0, 0, 0, 0, 0)
        try:
            os.chroot("/job")
            yield False, "chroot: worked"
        except OSError as error:
            yield True, f"chroot: {error.strerror}"

    return all_of(attempts())


def tracing(_: Arguments) -> Verdict:
    """Read or steer other processes' memory."""
    names = ("ptrace", "process_vm_readv", "pidfd_getfd")
    return all_of(refused(name, 1, 1, 0, 0, 0, 0) for name in names)


def kernel_interfaces(_: Arguments) -> Verdict:
    """Use kernel interfaces with a long history of holes."""
    names = ["io_uring_setup", "keyctl", "add_key", "userfaultfd", "bpf", "perf_event_open"]
    names += ["kexec_load", "init_module", "memfd_secret"]
    return all_of(refused(name, 0, 0, 0, 0, 0) for name in names)


def foreign_calls(_: Arguments) -> Verdict:
    """Make a system call of another ABI, around the filter."""
    if platform.machine() != "x86_64":
        return True, "no other ABI is checked on this architecture"
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
    return killed, f"x32 getpid: {'killed' if killed else 'answered'}"


def terminal(_: Arguments) -> Verdict:
    """Type into the worker's terminal."""
    try:
        master, slave = os.openpty()
    except OSError as error:
        return True, f"no terminal: {error.strerror}"
    try:
        fcntl.ioctl(slave, _TIOCSTI, b"x")
    except OSError as error:
        return True, f"TIOCSTI: {error.strerror}"
    finally:
        os.close(master)
        os.close(slave)
    return False, "TIOCSTI: worked"
