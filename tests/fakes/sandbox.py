"""A sandbox in memory, and a trainer that keeps the runtime's contract without torch.

The trainer is deterministic and resumable: its state is eight numbers, each step mixes them with
seed and step. So segments can be re-executed and compared bit for bit, as the real ones.
"""

from __future__ import annotations

import json
import queue
import random
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from blake3 import blake3

from client_sdk.protocol.machine import Isolation
from client_sdk.protocol.records import SegmentRecord, StepDigests
from client_sdk.protocol.statehash import state_hash
from client_sdk.protocol.trace import indices_digest, metrics_digest
from worker_agent.sandbox.base import (
    Caps,
    Collected,
    Exit,
    ExitReason,
    OutputCallback,
    SandboxSpec,
    Usage,
)
from worker_agent.sandbox.errors import ControlClosed, UnsafePath

NUMBERS = 8
CLASS_DIGEST = blake3(b"fake class").digest()


@dataclass
class Behaviour:
    """How the job's program behaves."""

    job_steps: int | None = None
    """Steps after which the program ends by itself."""
    fail_in_segment: int | None = None
    """Segment in which the program raises."""
    hang_in_segment: int | None = None
    """Segment in which the program stops making progress."""
    nondeterministic: bool = False
    """Whether each run computes something else."""
    hidden_state: bool = False
    """Whether results depend on state that no checkpoint holds."""
    probe_step_s: float = 0.01
    """Seconds of a step that the program reports in a probe."""
    own_fault: bool = False
    """Whether the runtime breaks by itself."""
    gate: threading.Semaphore | None = None
    """When set, each segment waits for one release."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Outputs that the program writes at its end."""


class FakeSandbox:
    """One tier in memory; counts and keeps what was started."""

    tier = "fake"
    limits_memory = True

    def __init__(
        self, behaviour: Behaviour | None = None, isolation: Isolation = Isolation.STRONG
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.isolation = isolation
        self.started: list[SandboxSpec] = []
        self.swept = 0

    def start(self, spec: SandboxSpec, on_output: OutputCallback | None = None) -> FakeProcess:
        self.started.append(spec)
        program = _probe if spec.argv[-1] != "worker_agent.runtime" else _runtime
        if "worker_agent.runtime.probe" in spec.argv:
            program = _probe
        return FakeProcess(spec, self.behaviour, program, on_output)

    def sweep(self) -> list[str]:
        self.swept += 1
        return []

    def close(self) -> None:
        """Nothing to close."""


class FakeProcess:
    """One program in a thread; files live in a dictionary."""

    def __init__(
        self,
        spec: SandboxSpec,
        behaviour: Behaviour,
        program: Callable[[FakeProcess], int],
        on_output: OutputCallback | None = None,
    ) -> None:
        self.spec = spec
        self.behaviour = behaviour
        self.files: dict[str, bytes] = dict(spec.work_files)
        self.received: list[Mapping[str, Any]] = []
        self.killed = threading.Event()
        self.stopping = threading.Event()
        self._on_output = on_output
        self._output = bytearray()
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._exit: Exit | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(program,), daemon=True)
        self._thread.start()

    @property
    def job_id(self) -> str:
        return f"fake-{id(self)}"

    def emit(self, **event: Any) -> None:
        """The program writes one event."""
        self._events.put(event)

    def print(self, text: str) -> None:
        """The program prints."""
        self._output += text.encode()
        if self._on_output is not None:
            self._on_output(text.encode())

    def send(self, message: Mapping[str, Any]) -> None:
        if self._over.is_set():
            raise ControlClosed
        self.received.append(message)
        if message.get("command") == "stop":
            self.stopping.set()
        if message.get("command") == "taken":
            prefix = f"out/segments/{message['segment']}/"
            for name in [name for name in self.files if name.startswith(prefix)]:
                del self.files[name]

    def events(self) -> Iterator[dict[str, Any]]:
        while (event := self._events.get()) is not None:
            yield event

    def poll(self) -> Exit | None:
        return self._exit

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        self._over.wait(timeout_s)
        return self._exit

    def interrupt(self, grace_s: float) -> None:
        self._end(Exit(ExitReason.INTERRUPTED, None))

    def kill(self) -> None:
        self._end(Exit(ExitReason.KILLED, None))

    def stats(self) -> Usage:
        return Usage(0.1, 1000, True)

    def output_tail(self) -> bytes:
        return bytes(self._output)

    def read_file(self, path: str, max_bytes: int) -> bytes:
        content = self.files.get(path)
        if content is None or len(content) > max_bytes:
            raise UnsafePath(path)
        return content

    def copy_file(self, path: str, destination: Path, max_bytes: int) -> int:
        return destination.write_bytes(self.read_file(path, max_bytes))

    def list_dir(self, path: str) -> list[str]:
        return sorted({n[len(path) + 1 :].split("/")[0] for n in self.files if n.startswith(path)})

    def collect(
        self, destination: Path, patterns: Sequence[str], caps: Caps, *, root: str = "."
    ) -> Collected:
        found = []
        for name, content in self.behaviour.files.items():
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            found.append(Path(name))
        return Collected(found, [])

    def close(self) -> None:
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _end(self, ended: Exit) -> None:
        if self._exit is None:
            self._exit = ended
            self.killed.set()
            self._over.set()
            self._events.put(None)

    def _run(self, program: Callable[[FakeProcess], int]) -> None:
        code = program(self)
        self._end(Exit(ExitReason.EXITED, code))


def _probe(process: FakeProcess) -> int:
    report = {"digest": "0x" + CLASS_DIGEST.hex(), "torch": "2.0-fake", "seconds": 0.1}
    process.print(json.dumps(report) + "\n")
    return 0


def _runtime(process: FakeProcess) -> int:
    task = json.loads(process.files["task.json"])
    if process.behaviour.own_fault:
        return 70
    process.emit(event="ready")
    if task["mode"] == "metered":
        return _metered(process, task)
    if task["mode"] == "probe":
        step_s = process.behaviour.probe_step_s
        process.emit(
            event="probe", setup_s=0.1, step_s=step_s, boundary_s=0.0, state_bytes=64, steps=4
        )
        return 0
    return _train(process, task)


def _metered(process: FakeProcess, task: dict[str, Any]) -> int:
    for segment in range(task["max_segments"]):
        gate = process.behaviour.gate
        while gate is not None and not gate.acquire(timeout=0.02):
            if process.stopping.is_set() or process.killed.is_set():
                process.emit(event="stopped", final_segment=segment - 1)
                return 0
        process.emit(event="segment", segment=segment, record={"segment": segment, "seconds": 1})
    process.emit(event="finished", final_segment=task["max_segments"] - 1, early=True)
    return 0


def _train(process: FakeProcess, task: dict[str, Any]) -> int:
    behaviour = process.behaviour
    numbers, step = _initial(task)
    if task["resume_dir"]:
        folder = next(m.source for m in process.spec.mounts if m.target == task["resume_dir"])
        try:
            numbers, step = _load(folder)
        except (OSError, ValueError, KeyError, struct.error):
            process.emit(event="error", kind="checkpoint", code=65, text="broken")
            return 65
    elif behaviour.hidden_state:
        numbers[0] += 1.0
    last = task["stop_after_segment"]
    for segment in range(task["start_segment"], task["max_segments"]):
        if not _pass_gate(process, segment):
            return 0
        if behaviour.fail_in_segment == segment:
            process.print("Traceback: the renter's secret\n")
            process.emit(event="error", kind="job", code=80, text="Traceback: ValueError")
            return 80
        first, steps = step, []
        for _ in range(task["segment_steps"]):
            numbers = _step(numbers, task["seed"], step, behaviour.nondeterministic)
            steps.append(_digests(step, numbers))
            step += 1
            if step == behaviour.job_steps:
                break
        final = step == behaviour.job_steps
        _write_segment(process, task, segment, first, steps, final, numbers)
        if final or segment + 1 == task["max_segments"]:
            process.emit(event="finished", final_segment=segment, early=final)
            return 0
        if segment == last or process.stopping.is_set():
            process.emit(event="stopped", final_segment=segment)
            return 0
    return 0


def _pass_gate(process: FakeProcess, segment: int) -> bool:
    behaviour = process.behaviour
    if behaviour.hang_in_segment == segment:
        process.killed.wait(30)
        return False
    if behaviour.gate is None:
        return True
    while not behaviour.gate.acquire(timeout=0.02):
        if process.stopping.is_set() or process.killed.is_set():
            process.emit(event="stopped", final_segment=segment - 1)
            return False
    if process.killed.is_set():
        behaviour.gate.release()  # it was meant for the attempt that follows this one
        return False
    return True


def _initial(task: dict[str, Any]) -> tuple[list[float], int]:
    seed = blake3(str(task["seed"]).encode()).digest()
    return [float(byte) for byte in seed[:NUMBERS]], 0


def _step(numbers: list[float], seed: int, step: int, nondeterministic: bool) -> list[float]:
    noise = blake3(f"{seed}:{step}".encode()).digest(length=NUMBERS)
    extra = random.random() if nondeterministic else 0.0
    mixed = [n * 0.99 + byte / 256 + extra for n, byte in zip(numbers, noise, strict=True)]
    return list(struct.unpack(f"<{NUMBERS}f", struct.pack(f"<{NUMBERS}f", *mixed)))


def _digests(step: int, numbers: list[float]) -> StepDigests:
    return StepDigests(indices_digest([step, step + 1]), metrics_digest({"loss": numbers[0]}))


def make_checkpoint(numbers: list[float], step: int) -> tuple[bytes, bytes, bytes]:
    """Tensor file, state file and state hash of a state."""
    raw = struct.pack(f"<{NUMBERS}f", *numbers)
    header = json.dumps(
        {"model.param.w": {"dtype": "F32", "shape": [NUMBERS], "data_offsets": [0, len(raw)]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    state = {"position": {"step": step}}
    digest = state_hash([("model.param.w", "float32", (NUMBERS,), raw)], state)
    document = {
        "schema": "gridlease/training-state/1",
        "state_hash": "0x" + digest.hex(),
        "state": state,
    }
    tensors = len(header).to_bytes(8, "little") + header + raw
    return tensors, json.dumps(document).encode(), digest


def _load(folder: Path) -> tuple[list[float], int]:
    content = (folder / "checkpoint.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    numbers = list(struct.unpack(f"<{NUMBERS}f", content[start:]))
    document = json.loads((folder / "state.json").read_bytes())
    return numbers, document["state"]["position"]["step"]


def _write_segment(
    process: FakeProcess,
    task: dict[str, Any],
    segment: int,
    first_step: int,
    steps: list[StepDigests],
    final: bool,
    numbers: list[float],
) -> None:
    tensors, state, digest = make_checkpoint(numbers, first_step + len(steps))
    record = SegmentRecord(
        lease_id=bytes.fromhex(task["lease_id"][2:]),
        segment=segment,
        first_step=first_step,
        steps=tuple(steps),
        final=final,
        state_hash=digest,
        metrics={"loss": numbers[0]},
        seconds=0.1,
    ).to_json()
    folder = f"out/segments/{segment}"
    process.files[f"{folder}/checkpoint.safetensors"] = tensors
    process.files[f"{folder}/state.json"] = state
    process.files[f"{folder}/record.json"] = json.dumps(record).encode()
    process.print(f"segment {segment} done\n")
    step = first_step + len(steps) - 1
    process.emit(event="step", segment=segment, step=step, metrics={"loss": numbers[0]})
    process.emit(event="segment", segment=segment, record=record)
