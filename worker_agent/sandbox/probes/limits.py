"""Attacks on the limits: too much of everything, never ending, traps among the outputs."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker_agent.sandbox.probes.report import MIB, Arguments, Verdict, all_of, report


def open_file_limit(arguments: Arguments) -> Verdict:
    """Open files without end."""
    cap = arguments["num_open_files"]
    handles: list[int] = []
    try:
        while len(handles) <= 2 * cap:
            handles.append(os.dup(0))
    except OSError as error:
        return len(handles) <= cap, f"{error.strerror} after {len(handles)}"
    finally:
        for handle in handles:
            os.close(handle)
    return False, f"opened {len(handles)}"


def fork_bomb(arguments: Arguments) -> Verdict:
    """Start processes without end."""
    cap = arguments["num_processes"]
    started: list[int] = []
    text = "no limit"
    try:
        while len(started) <= 4 * cap:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            started.append(child)
    except OSError as error:
        text = str(error.strerror)
    for child in started:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return len(started) <= cap, f"{text} after {len(started)} processes"


def thread_bomb(arguments: Arguments) -> Verdict:
    """Start threads without end."""
    cap = arguments["num_processes"]
    stop = threading.Event()
    threads: list[threading.Thread] = []
    text = "no limit"
    try:
        while len(threads) <= 4 * cap:
            thread = threading.Thread(target=stop.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError as error:
        text = str(error)
    stop.set()
    for thread in threads:
        thread.join()
    return len(threads) <= cap, f"{text} after {len(threads)} threads"


def memory_bomb(arguments: Arguments) -> Verdict:
    """Take memory in the way of ``arguments['memory_kind']`` up to four times the limit."""
    cap, kind = arguments["memory_bytes"], arguments["memory_kind"]
    taken = 0
    kept: list[Any] = []
    try:
        while taken < 4 * cap:
            if kind == "private":
                kept.append(bytearray(os.urandom(4096)) * (4 * MIB // 4096))
            elif kind == "shared":
                area = mmap.mmap(-1, 4 * MIB)
                area.write(b"x" * (4 * MIB))
                kept.append(area)
            else:
                handle = os.memfd_create("bomb")
                os.write(handle, b"x" * (4 * MIB))
                kept.append(handle)
            taken += 4 * MIB
            report({"event": "taken", "bytes": taken})
    except (MemoryError, OSError) as error:
        return taken <= cap, f"{error!r} after {taken // MIB} MiB"
    return False, f"took {taken // MIB} MiB"


def fill(arguments: Arguments) -> Verdict:
    """Fill each writable folder beyond its size."""

    def attempts() -> Iterator[Verdict]:
        for folder, cap in arguments["folders"].items():
            path = Path(folder) / "fill"
            written = 0
            try:
                with path.open("wb", buffering=0) as file:
                    while written <= 2 * cap:
                        written += file.write(b"x" * MIB)
                text = "no limit"
            except OSError as error:
                text = str(error.strerror)
            path.unlink(missing_ok=True)
            yield written <= 1.25 * cap + MIB, f"{folder}: {text} after {written // MIB} MiB"

    return all_of(attempts())


def many_files(arguments: Arguments) -> Verdict:
    """Make files without end in the work disk."""
    cap = arguments["num_files"]
    made = 0
    text = "no limit"
    try:
        while made <= 2 * cap:
            Path(f"/job/file{made}").touch()
            made += 1
    except OSError as error:
        text = str(error.strerror)
    for number in range(made):
        Path(f"/job/file{number}").unlink()
    return made <= 1.25 * cap, f"{text} after {made} files"


def ignore_signals(_: Arguments) -> Verdict:
    """Ignore every signal and leave a daemon that holds the output open."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
    report({"event": "ready"})
    time.sleep(600)
    return False, "was never killed"


def odd_outputs(arguments: Arguments) -> Verdict:
    """Leave outputs that are traps for whoever copies them."""
    root = Path("/job/out")
    root.mkdir()
    (root / "good.txt").write_text("good")
    (root / "setuid").write_text("program")
    (root / "setuid").chmod(0o6755)
    (root / "link").symlink_to(arguments["secrets"][0])
    (root / "folder_link").symlink_to("/etc")
    (root / "proc_link").symlink_to("/proc/self/environ")
    (root / "twin").write_text("twin")
    (root / "hard").hardlink_to(root / "twin")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    (root / "line\nbreak").write_text("odd")
    with (root / "sparse").open("wb") as file:
        file.truncate(arguments["sparse_bytes"])
    deep = root
    for _ in range(30):
        deep = deep / "d"
        deep.mkdir()
    (deep / "deep.txt").write_text("deep")
    return True, "made"
