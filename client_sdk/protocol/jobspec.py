"""The job spec: what a renter writes about a job.

A spec is local: it names folders of the renter's machine. What is pinned and sent is the manifest
made from it (:mod:`client_sdk.protocol.manifest`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final, Self

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.errors import JobSpecError, MoneyError, Problem, ProtocolError
from client_sdk.protocol.jobspec_reader import Section
from client_sdk.protocol.money import parse_amount, parse_decimal
from client_sdk.protocol.records import MAX_STEPS
from client_sdk.protocol.trace import MAX_SEGMENTS
from client_sdk.protocol.verification import SUPPORTED, Verification

#: Keys of a spec, in the order in which people write them.
KEYS: Final = (
    "name",
    "resources",
    "code",
    "entry",
    "args",
    "data",
    "env",
    "image",
    "segments",
    "verification",
    "audit",
    "auditors",
    "budget",
    "max_duration",
    "outputs",
    "evaluate",
)
_MIB: Final = 1 << 20
_TIB: Final = 1 << 40
_DAY: Final = 86_400
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_GPU: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
#: Variables that the runtime sets itself: they would change the results or the confinement.
RESERVED_VARIABLES: Final = re.compile(
    r"(GRIDLEASE_|LD_|PYTHON|OMP_|MKL_|OPENBLAS_|CUBLAS_|CUDA_|NVIDIA_).*|PATH|HOME|TMPDIR",
    re.IGNORECASE,
)


class Audit(StrEnum):
    """Who may re-execute segments of the job, and so see its code and data."""

    #: Any auditor that the draw picks.
    MARKET = "market"
    #: Only those that the spec names.
    NAMED = "named"
    #: Nobody.
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What the machine must have."""

    #: Model of the GPU; empty for none.
    gpu: str = ""
    gpu_count: int = 0
    #: Cores; also the number of threads of the computation, which is part of the result's bits.
    cpu: int = 1
    memory_bytes: int = 2048 * _MIB
    disk_bytes: int = 2048 * _MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentPlan:
    """How the job is cut into segments."""

    #: Optimizer steps of one segment; 0 when metered.
    steps: int = 0
    #: Seconds of one segment; 0 unless metered.
    seconds: int = 0
    #: Most segments.
    max: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """What is collected at the end."""

    #: Patterns relative to the output folder.
    paths: tuple[str, ...] = ()
    #: How long it is kept, in seconds.
    keep_s: int = 7 * _DAY


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A checked job spec."""

    name: str
    #: Program to run, relative to ``code``.
    entry: str
    #: Most to spend: decimal text in whole tokens.
    budget: str
    segments: SegmentPlan
    resources: Resources = field(default_factory=Resources)
    #: Folder with the code.
    code: str = "."
    args: tuple[str, ...] = ()
    #: Name -> file or folder; shown to the program as ``/data/<name>``.
    data: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    #: Hash-locked list of wheels; empty for none.
    wheels: str = ""
    verification: Verification = Verification.REPLAY
    audit: Audit = Audit.MARKET
    #: Who may audit when ``audit`` is ``named``; EIP-55.
    auditors: tuple[str, ...] = ()
    max_duration_s: int = 3600
    outputs: Outputs = field(default_factory=Outputs)
    #: Program that ``gridlease verify`` runs on the last checkpoint; empty for none.
    evaluate: str = ""

    def budget_amount(self, decimals: int) -> int:
        """Return the budget in the smallest unit of a token with this many decimals.

        Raises
        ------
        MoneyError
            When the budget has more decimals than the token.
        """
        return parse_amount(self.budget, decimals)

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Return the spec that ``value`` (the mapping of a YAML file) describes.

        Raises
        ------
        JobSpecError
            With every problem found.
        """
        problems: list[Problem] = []
        top = Section(value, "", KEYS, problems)
        spec = cls(
            name=_name(top),
            resources=_resources(top),
            code=top.text("code", ".", max_length=1024) or ".",
            entry=_program(top, "entry", required=True),
            args=top.texts("args", max_items=256),
            data=_data(top),
            env=_env(top),
            wheels=_wheels(top),
            segments=_segments(top),
            verification=top.choice("verification", Verification, Verification.REPLAY),
            audit=top.choice("audit", Audit, Audit.MARKET),
            auditors=_auditors(top),
            budget=_budget(top, value),
            max_duration_s=top.duration("max_duration", 3600, low=1, high=365 * _DAY),
            outputs=_outputs(top),
            evaluate=_evaluate(top),
        )
        if not problems:
            _check_together(spec, top)
        if problems:
            raise JobSpecError(problems)
        return spec


def _name(top: Section) -> str:
    top.require("name", "give the job a name, for example name: digits-cnn")
    return top.text("name", "job", pattern=_NAME, hint="use letters, digits, '.', '_' and '-'")


def _resources(top: Section) -> Resources:
    part = top.section("resources", ("gpu", "gpu_count", "cpu", "memory", "disk"))
    gpu = part.text("gpu", "", pattern=_GPU, hint="write a model such as RTX_4090, or none")
    gpu = "" if gpu.lower() == "none" else gpu
    count = part.integer("gpu_count", 1 if gpu else 0, low=0, high=64)
    if gpu and count == 0:
        part.problem("gpu_count", f"no GPU, but {gpu} is named", "write 1, or gpu: none")
    if not gpu and count > 0:
        part.problem("gpu", f"{count} GPUs, but none is named", "name a model, or gpu_count: 0")
    return Resources(
        gpu=gpu,
        gpu_count=count,
        cpu=part.integer("cpu", 1, low=1, high=1024),
        memory_bytes=part.size("memory", 2048 * _MIB, low=64 * _MIB, high=64 * _TIB),
        disk_bytes=part.size("disk", 2048 * _MIB, low=16 * _MIB, high=1024 * _TIB),
    )


def _program(section: Section, key: str, *, required: bool) -> str:
    if required:
        section.require(key, "name the Python file to run, for example train.py")
    text = section.text(key, "", max_length=1024)
    if not text:
        return ""
    if not _inside(text):
        section.problem(key, f"{text[:60]!r} leads out of the code folder", "name a file inside")
    elif not text.endswith(".py"):
        section.problem(key, f"{text[:60]!r} is not a Python file", "name a file ending in .py")
    return text


def _data(top: Section) -> dict[str, str]:
    hint = "use letters, digits, '.', '_' and '-': it becomes /data/<name>"
    return top.mapping("data", names=_NAME, hint=hint, max_items=64, max_length=1024)


def _env(top: Section) -> dict[str, str]:
    hint = "use letters, digits and '_'"
    env = top.mapping("env", names=_VARIABLE, hint=hint, max_items=128)
    for name in env:
        if RESERVED_VARIABLES.fullmatch(name):
            top.problem(f"env.{name}", "the runtime sets this variable itself", "remove it")
    return env


def _wheels(top: Section) -> str:
    part = top.section("image", ("wheels",))
    if top.given("image"):
        part.require("wheels", "name a hash-locked list of wheels, for example wheels.lock")
    return part.text("wheels", "", max_length=1024)


def _segments(top: Section) -> SegmentPlan:
    top.require("segments", "say how the job is cut, for example {steps: 50, max: 30}")
    part = top.section("segments", ("steps", "seconds", "max"))
    if top.given("segments"):
        part.require("max", "say how many segments there may be at most")
    return SegmentPlan(
        steps=part.integer("steps", 0, low=1, high=MAX_STEPS),
        seconds=part.integer("seconds", 0, low=1, high=_DAY),
        max=part.integer("max", 1, low=1, high=MAX_SEGMENTS),
    )


def _auditors(top: Section) -> tuple[str, ...]:
    found: list[str] = []
    for i, text in enumerate(top.texts("auditors", max_items=64, max_length=64)):
        try:
            found.append(checksum_address(text))
        except ProtocolError as error:
            top.problem(f"auditors[{i}]", str(error), "copy the auditor's address")
    return tuple(found)


def _budget(top: Section, value: object) -> str:
    top.require("budget", "say how much may be spent at most, for example 5.00")
    given = value.get("budget") if isinstance(value, dict) else None
    if given is None:
        return "0"
    if isinstance(given, bool) or not isinstance(given, int | str):
        top.problem("budget", "expected an amount of tokens", 'write it as text: "5.00"')
        return "0"
    text = str(given)
    try:
        if parse_decimal(text) > 0:
            return text
    except MoneyError as error:
        top.problem("budget", str(error), "write a decimal such as 5.00")
        return "0"
    top.problem("budget", "nobody works for nothing", "write an amount above 0, such as 5.00")
    return "0"


def _outputs(top: Section) -> Outputs:
    part = top.section("outputs", ("paths", "keep"))
    paths = part.texts("paths", max_items=64, max_length=512)
    for i, path in enumerate(paths):
        if not _inside(path):
            part.problem(
                f"paths[{i}]", f"{path[:60]!r} leads out of the output folder", "use model/**"
            )
    return Outputs(
        paths=paths, keep_s=part.duration("keep", 7 * _DAY, low=3600, high=10 * 365 * _DAY)
    )


def _evaluate(top: Section) -> str:
    part = top.section("evaluate", ("entry",))
    return _program(part, "entry", required=top.given("evaluate"))


def _inside(path: str) -> bool:
    """Tell whether a relative path stays inside its folder."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def _check_together(spec: JobSpec, top: Section) -> None:
    """Find demands that are right one by one and impossible together."""
    mode = spec.verification
    if mode not in SUPPORTED:
        top.problem(
            "verification",
            f"{mode} comes with a later release",
            "use replay (written with gridlease.training) or metered (any script, not verified)",
        )
        return
    if mode is Verification.METERED:
        _check_metered(spec, top)
    else:
        _check_replay(spec, top)
    if spec.audit is Audit.NAMED and not spec.auditors:
        top.problem("auditors", "nobody is named", "list their addresses, or audit: market")
    if spec.audit is not Audit.NAMED and spec.auditors:
        top.problem("audit", f"auditors are named, but audit is {spec.audit}", "write audit: named")


def _check_metered(spec: JobSpec, top: Section) -> None:
    if spec.segments.steps:
        top.problem(
            "segments.steps",
            "a metered job is not cut by steps",
            "write seconds: 60, or verification: replay",
        )
    if not spec.segments.seconds:
        top.problem("segments.seconds", "missing", "say how long a segment is, such as 60")
    elif spec.segments.seconds > spec.max_duration_s:
        top.problem(
            "segments.seconds",
            "one segment is longer than the whole job",
            "shorten it, or lengthen max_duration",
        )


def _check_replay(spec: JobSpec, top: Section) -> None:
    if spec.segments.seconds:
        top.problem(
            "segments.seconds",
            "a replayed job is cut by steps, or its bits would hang on the clock",
            "write steps: 50, or verification: metered",
        )
    if not spec.segments.steps:
        top.problem("segments.steps", "missing", "say how many optimizer steps a segment has")
    if spec.resources.gpu_count > 1:
        top.problem(
            "resources.gpu_count",
            "several GPUs cannot be replayed bit for bit",
            "use gpu_count: 1, or verification: metered",
        )
    if spec.audit is Audit.NONE:
        top.problem(
            "audit",
            "replay without anybody who may re-execute verifies nothing",
            "use audit: market or named, or verification: metered",
        )
