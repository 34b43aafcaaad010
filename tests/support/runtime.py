"""Runs the runtime as the worker does, without a sandbox: two pipes and a job folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LEASE_ID = "0x" + "11" * 32


class Runtime:
    """One process of the runtime."""

    def __init__(self, job_dir: Path, task: dict[str, Any]) -> None:
        job_dir.mkdir(parents=True, exist_ok=True)
        (job_dir / "task.json").write_text(json.dumps(task))
        self.job_dir = job_dir
        self.out_dir = Path(task.get("out_dir", job_dir))
        events_r, events_w = os.pipe()
        commands_r, commands_w = os.pipe()
        # The runtime finds its pipes at 3 and 4, whatever numbers they have here.
        plumbing = (
            f"exec 3>&{events_w} 4<&{commands_r}; exec {sys.executable} -m worker_agent.runtime"
        )
        self.process = subprocess.Popen(
            ["bash", "-c", plumbing],
            cwd=job_dir,
            env={**_kept(), "PYTHONPATH": _search_path()},
            pass_fds=[events_w, commands_r],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        os.close(events_w)
        os.close(commands_r)
        self._commands = os.fdopen(commands_w, "wb", buffering=0)
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(events_r,))
        self._reader.start()

    def send(self, command: str, **values: Any) -> None:
        """Send a command."""
        self._commands.write(json.dumps({"command": command, **values}).encode() + b"\n")

    def wait_for(self, event: str, **values: Any) -> dict[str, Any]:
        """Wait until such an event comes, and return it."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **values}.items()
            return next((e for e in self.events if wanted <= _hashable(e).items()), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or not self._reader.is_alive(), 240)
        match = found()
        assert match is not None, f"no {event} {values} in {self.events}"
        return match

    def wait_for_file(self, name: str) -> None:
        """Wait until the job wrote a file under its output folder."""
        deadline = time.monotonic() + 120
        while not (self.out_dir / name).exists():
            assert time.monotonic() < deadline, f"{name} was not written"
            time.sleep(0.02)

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        self.output = self.process.communicate(timeout=240)[0].decode()
        self._reader.join()
        return self.process.returncode

    def named(self, event: str) -> list[dict[str, Any]]:
        """Events of one name, in order."""
        return [e for e in self.events if e["event"] == event]

    def hashes(self) -> dict[int, str]:
        """State hash of each segment reported."""
        return {e["segment"]: e["record"]["state_hash"] for e in self.named("segment")}

    def work(self) -> dict[int, Any]:
        """Everything of each segment's record that must not differ between executions."""
        return {
            e["segment"]: {k: v for k, v in e["record"].items() if k != "seconds"}
            for e in self.named("segment")
        }

    def close(self) -> None:
        """Leave no process and no descriptor behind."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self._reader.join()
        self._commands.close()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as lines:
            for line in lines:
                with self._changed:
                    self.events.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _kept() -> dict[str, str]:
    """What a machine needs to find its programs and its GPU's driver."""
    return {n: os.environ[n] for n in ("PATH", "LD_LIBRARY_PATH") if n in os.environ}


def _search_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))


def _hashable(event: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in event.items() if not isinstance(v, dict | list)}


def starter(folder: Path) -> Iterator[Callable[..., Runtime]]:
    """Body of a fixture that starts the runtime on scripts, and leaves no process behind."""
    started: list[Runtime] = []

    def start(script: str | None = None, *, name: str = "job", **task: Any) -> Runtime:
        code_dir = folder / "code"
        if script is not None:
            code_dir.mkdir(exist_ok=True)
            (code_dir / "train.py").write_text(script)
        values = {
            "schema": "gridlease/task/1",
            "mode": "train",
            "lease_id": LEASE_ID,
            "seed": 1234,
            "clock_s": 1_700_000_000,
            "threads": 1,
            "entry": "train.py",
            "args": [],
            "env": {},
            "code_dir": str(code_dir),
            "data_dir": str(folder / "data"),
            "out_dir": str(folder / name / "out"),
            "segment_steps": 4,
            "max_segments": 4,
            "start_segment": 0,
            "stop_after_segment": None,
            "resume_dir": None,
            **task,
        }
        runtime = Runtime(folder / name, values)
        started.append(runtime)
        return runtime

    yield start
    for runtime in started:
        runtime.close()
