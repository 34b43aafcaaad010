"""The job manifest: everything that pins a job, and so its result.

Preimages::

    dataRoot = RFC 6962 root (BLAKE3) over the data items by ascending name, each entry
               canonical JSON {"hash","kind","name","size"}
    jobHash  = blake3(canonical JSON of the manifest)

The manifest travels encrypted; only ``jobHash`` is public. ``blinding`` holds 32 random bytes, so
that nobody can find out by trial whether a job uses a code or data set that they know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import ClassVar, Final, Self, TypeVar

from client_sdk.protocol.canonical import (
    ZERO_HASH,
    blake3_digest,
    canonical_json,
    parse_json,
    to_hex,
)
from client_sdk.protocol.errors import FieldError, OutOfRange
from client_sdk.protocol.jobspec import RESERVED_VARIABLES, Audit, JobSpec
from client_sdk.protocol.merkle import merkle_root
from client_sdk.protocol.records import MAX_STEPS
from client_sdk.protocol.trace import MAX_SEGMENTS
from client_sdk.protocol.verification import Verification
from client_sdk.protocol.wire import JsonObject, Reader, check_text

E = TypeVar("E", bound=StrEnum)

#: Largest manifest in canonical bytes.
MAX_MANIFEST_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class DataKind(StrEnum):
    """What a data item is; its archive is a deterministic tar in both cases."""

    #: One file; the archive's one entry is called like the item and unpacks to ``/data/<name>``.
    FILE = "file"
    #: A folder; the archive unpacks into ``/data/<name>/``.
    FOLDER = "folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataItem:
    """One data set of the job."""

    name: str
    kind: DataKind
    #: BLAKE3 of the archive's plaintext.
    hash: bytes
    #: Bytes of the archive.
    size: int

    def to_json(self) -> JsonObject:
        """Return the JSON form, which is also the entry under ``dataRoot``."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "hash": to_hex(self.hash),
            "size": self.size,
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the item that a stranger's JSON describes."""
        reader = Reader(value, path)
        item = cls(
            name=reader.text("name", max_length=63, pattern=_NAME),
            kind=_member(reader, "kind", DataKind),
            hash=reader.digest("hash"),
            size=reader.integer("size"),
        )
        reader.finish()
        return item


def data_root(items: Iterable[DataItem]) -> bytes:
    """Return ``dataRoot``; preimage in the module's text."""
    ordered = sorted(items, key=lambda item: item.name)
    return merkle_root([canonical_json(item.to_json()) for item in ordered])


@dataclass(frozen=True, kw_only=True)
class JobManifest:
    """What ``jobHash`` pins. The provider chooses nothing of it."""

    SCHEMA: ClassVar[str] = "gridlease/job-manifest/1"

    name: str
    #: BLAKE3 of the code's deterministic tar.
    bundle_hash: bytes
    data: tuple[DataItem, ...] = ()
    entry: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    #: BLAKE3 of the pinned list of wheels (`wheels.pinned_form`); zero when the job brings none.
    image_digest: bytes = ZERO_HASH
    verification: Verification
    #: Optimizer steps of a segment; 0 when metered.
    segment_steps: int
    #: Seconds of a segment; 0 unless metered.
    segment_seconds: int
    max_segments: int
    #: Threads of the computation; another number gives other bits.
    threads: int
    #: Whether torch must refuse operations without a deterministic implementation.
    deterministic: bool = True
    #: Type of numbers in which torch computes unless the program says otherwise.
    precision: str = "float32"
    #: Digest of the determinism probe of machines that give these bits; zero when metered.
    hardware_class: bytes
    gpu: str = ""
    gpu_count: int = 0
    memory_bytes: int
    disk_bytes: int
    max_duration_s: int
    output_paths: tuple[str, ...] = ()
    keep_s: int
    #: Program that checks the last checkpoint; empty for none.
    evaluate: str = ""
    audit: Audit = Audit.MARKET
    auditors: tuple[str, ...] = ()
    #: 32 random bytes.
    blinding: bytes

    def __post_init__(self) -> None:
        names = [item.name for item in self.data]
        if names != sorted(set(names)):
            raise FieldError("data", "names must ascend, each once")
        for key in ("bundle_hash", "image_digest", "hardware_class", "blinding"):
            if len(getattr(self, key)) != 32:
                raise FieldError(key, "expected 32 bytes")
        if self.metered != (self.segment_steps == 0) or self.metered == (self.segment_seconds == 0):
            raise FieldError("segment_steps", "steps when replayed, seconds when metered")

    @property
    def metered(self) -> bool:
        """Whether only vouchers pay."""
        return self.verification is Verification.METERED

    @property
    def data_root(self) -> bytes:
        """``dataRoot``; preimage in the module's text."""
        return data_root(self.data)

    def canonical(self) -> bytes:
        """Return the canonical bytes: what is encrypted and sent."""
        return canonical_json(self.to_json())

    def job_hash(self) -> bytes:
        """Return ``jobHash``; preimage in the module's text."""
        return blake3_digest(self.canonical())

    @classmethod
    def from_spec(
        cls,
        spec: JobSpec,
        *,
        bundle_hash: bytes,
        data: Sequence[DataItem],
        hardware_class: bytes,
        blinding: bytes,
        image_digest: bytes = ZERO_HASH,
    ) -> Self:
        """Return the manifest of a spec whose code and data have been packed.

        Parameters
        ----------
        spec
            The checked spec.
        bundle_hash
            BLAKE3 of the code's archive.
        data
            One item for each name in ``spec.data``.
        hardware_class
            Class of the machine that will run it; left out of a metered manifest.
        blinding
            32 random bytes.
        image_digest
            BLAKE3 of the pinned list of wheels, when the spec names one.
        """
        if {item.name for item in data} != set(spec.data):
            raise FieldError("data", "items and spec do not name the same data")
        metered = spec.verification is Verification.METERED
        return cls(
            name=spec.name,
            bundle_hash=bundle_hash,
            data=tuple(sorted(data, key=lambda item: item.name)),
            entry=spec.entry,
            args=spec.args,
            env=dict(spec.env),
            image_digest=image_digest,
            verification=spec.verification,
            segment_steps=spec.segments.steps,
            segment_seconds=spec.segments.seconds,
            max_segments=spec.segments.max,
            threads=spec.resources.cpu,
            deterministic=not metered,
            hardware_class=ZERO_HASH if metered else hardware_class,
            gpu=spec.resources.gpu,
            gpu_count=spec.resources.gpu_count,
            memory_bytes=spec.resources.memory_bytes,
            disk_bytes=spec.resources.disk_bytes,
            max_duration_s=spec.max_duration_s,
            output_paths=spec.outputs.paths,
            keep_s=spec.outputs.keep_s,
            evaluate=spec.evaluate,
            audit=spec.audit,
            auditors=spec.auditors,
            blinding=blinding,
        )

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "name": self.name,
            "bundle_hash": to_hex(self.bundle_hash),
            "data": [item.to_json() for item in self.data],
            "data_root": to_hex(self.data_root),
            "entry": self.entry,
            "args": list(self.args),
            "env": dict(self.env),
            "image_digest": to_hex(self.image_digest),
            "verification": self.verification.value,
            "segment_steps": self.segment_steps,
            "segment_seconds": self.segment_seconds,
            "max_segments": self.max_segments,
            "threads": self.threads,
            "deterministic": self.deterministic,
            "precision": self.precision,
            "hardware_class": to_hex(self.hardware_class),
            "gpu": self.gpu,
            "gpu_count": self.gpu_count,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "max_duration_s": self.max_duration_s,
            "output_paths": list(self.output_paths),
            "keep_s": self.keep_s,
            "evaluate": self.evaluate,
            "audit": self.audit.value,
            "auditors": list(self.auditors),
            "blinding": to_hex(self.blinding),
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the manifest that a stranger's JSON describes."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        try:
            manifest = cls(
                name=reader.text("name", max_length=63, pattern=_NAME),
                bundle_hash=reader.digest("bundle_hash"),
                data=reader.items("data", DataItem.from_json, max_items=64),
                entry=_program(reader, "entry"),
                args=reader.items("args", _text, max_items=256),
                env=_env(reader),
                image_digest=reader.digest("image_digest"),
                verification=_member(reader, "verification", Verification),
                segment_steps=reader.integer("segment_steps", high=MAX_STEPS),
                segment_seconds=reader.integer("segment_seconds", high=86_400),
                max_segments=reader.integer("max_segments", low=1, high=MAX_SEGMENTS),
                threads=reader.integer("threads", low=1, high=1024),
                deterministic=reader.flag("deterministic"),
                precision=reader.text("precision", max_length=16, pattern=_NAME),
                hardware_class=reader.digest("hardware_class"),
                gpu=reader.text("gpu", max_length=64),
                gpu_count=reader.integer("gpu_count", high=64),
                memory_bytes=reader.integer("memory_bytes"),
                disk_bytes=reader.integer("disk_bytes"),
                max_duration_s=reader.integer("max_duration_s", low=1, high=(1 << 32) - 1),
                output_paths=reader.items("output_paths", _inside, max_items=64),
                keep_s=reader.integer("keep_s"),
                evaluate=_program(reader, "evaluate") if reader.raw("evaluate") != "" else "",
                audit=_member(reader, "audit", Audit),
                auditors=reader.items("auditors", _address, max_items=64),
                blinding=reader.digest("blinding"),
            )
        except FieldError as error:
            raise OutOfRange(reader.at(error.field), str(error)) from error
        if reader.digest("data_root") != manifest.data_root:
            raise OutOfRange(reader.at("data_root"), "is not the root of the data items")
        reader.finish()
        return manifest

    @classmethod
    def from_bytes(cls, data: bytes, job_hash: bytes) -> Self:
        """Return the manifest that hashes to ``job_hash``; no other bytes are accepted."""
        if blake3_digest(data) != job_hash:
            raise OutOfRange("", "the manifest is not the one that jobHash names")
        manifest = cls.from_json(parse_json(data, max_bytes=MAX_MANIFEST_BYTES))
        if manifest.canonical() != data:
            raise OutOfRange("", "the manifest is not in its canonical form")
        return manifest


def _text(value: object, path: str) -> str:
    text = check_text(value, path)
    if "\0" in text:
        raise OutOfRange(path, "holds a zero byte")
    return text


def _address(value: object, path: str) -> str:
    return check_text(value, path, 42, 42, _ADDRESS)


def _inside(value: object, path: str) -> str:
    """Return a relative path that stays inside its folder."""
    text = _text(value, path)
    pure = PurePosixPath(text)
    if not text or pure.is_absolute() or ".." in pure.parts or "\\" in text:
        raise OutOfRange(path, "expected a path inside the folder")
    return text


def _program(reader: Reader, key: str) -> str:
    text = _inside(reader.raw(key), reader.at(key))
    if not text.endswith(".py"):
        raise OutOfRange(reader.at(key), "expected a Python file")
    return text


def _env(reader: Reader) -> dict[str, str]:
    env = reader.mapping("env", _text, max_items=128)
    for name in env:
        if _VARIABLE.fullmatch(name) is None or RESERVED_VARIABLES.fullmatch(name):
            raise OutOfRange(reader.at(f"env.{name[:64]}"), "this variable cannot be set")
    return env


def _member(reader: Reader, key: str, kind: type[E]) -> E:
    text = reader.text(key, max_length=32)
    if text not in {member.value for member in kind}:
        raise OutOfRange(reader.at(key), f"expected one of {', '.join(kind)}")
    return kind(text)
