"""The document that describes a machine; its hash is part of listing, offers and terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self

from client_sdk.protocol.canonical import canonical_json, parse_json, to_hex
from client_sdk.protocol.errors import FieldError, OutOfRange
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.wire import JsonObject, Reader

#: Largest canonical document; the contract refuses longer ones.
MAX_DOCUMENT_BYTES: Final = 1024
#: Printable ASCII; names of hardware, versions and places.
_NAME: Final = re.compile(r"[ -~]{0,96}")


class Isolation(StrEnum):
    """How well a worker confines a job."""

    #: Limits on memory, processes and disk are enforced, under an unprivileged user of its own.
    STRONG = "strong"
    #: Confined, but without enforced limits, or under the worker's own user.
    WEAK = "weak"


@dataclass(frozen=True, kw_only=True)
class MachineDocument:
    """One machine, as its provider lists it.

    ``machineHash = keccak256(canonical JSON of the document)``; the listing's event carries the
    canonical bytes, so that an index can be rebuilt from the chain alone.
    """

    SCHEMA: ClassVar[str] = "gridlease/machine/1"

    #: Name of the GPU's model; empty when the machine offers none.
    gpu_name: str = ""
    gpu_count: int = 0
    #: Memory of one GPU in bytes.
    gpu_memory_bytes: int = 0
    cpu_name: str
    #: Cores that jobs may use.
    cpu_count: int
    memory_bytes: int
    disk_bytes: int
    #: Where the machine stands, as its provider says.
    region: str = ""
    #: Version of the GPU driver; empty without a GPU.
    driver: str = ""
    #: Version of torch that jobs run on.
    torch: str
    isolation: Isolation
    #: Digest of the determinism probe.
    hardware_class: bytes
    #: X25519 public key that job keys are wrapped to.
    encryption_key: bytes
    #: Measured speed of the network in Mbit/s; ``None`` when not measured.
    download_mbps: int | None = None
    upload_mbps: int | None = None

    def __post_init__(self) -> None:
        for name in ("hardware_class", "encryption_key"):
            if len(getattr(self, name)) != 32:
                raise FieldError(name, "expected 32 bytes")
        for name in ("gpu_name", "cpu_name", "region", "driver", "torch"):
            if _NAME.fullmatch(getattr(self, name)) is None:
                raise FieldError(name, "expected at most 96 printable ASCII characters")
        if (self.gpu_count > 0) != bool(self.gpu_name):
            raise FieldError("gpu_name", "a name and a count of GPUs come together")
        if len(self.canonical()) > MAX_DOCUMENT_BYTES:
            raise FieldError("document", f"more than {MAX_DOCUMENT_BYTES} canonical bytes")

    def canonical(self) -> bytes:
        """Return the canonical bytes that the listing carries."""
        return canonical_json(self.to_json())

    def machine_hash(self) -> bytes:
        """Return ``machineHash``: keccak256 of the canonical bytes."""
        return keccak256(self.canonical())

    def to_json(self) -> JsonObject:
        """Return the JSON form; what was not measured is left out."""
        body: JsonObject = {
            "schema": self.SCHEMA,
            "gpu_name": self.gpu_name,
            "gpu_count": self.gpu_count,
            "gpu_memory_bytes": self.gpu_memory_bytes,
            "cpu_name": self.cpu_name,
            "cpu_count": self.cpu_count,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "region": self.region,
            "driver": self.driver,
            "torch": self.torch,
            "isolation": self.isolation.value,
            "hardware_class": to_hex(self.hardware_class),
            "encryption_key": to_hex(self.encryption_key),
        }
        if self.download_mbps is not None:
            body["download_mbps"] = self.download_mbps
        if self.upload_mbps is not None:
            body["upload_mbps"] = self.upload_mbps
        return body

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the document that a stranger's JSON describes."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        isolation = reader.text("isolation", max_length=16)
        if isolation not in set(Isolation):
            raise OutOfRange(reader.at("isolation"), 'expected "strong" or "weak"')
        try:
            machine = cls(
                gpu_name=reader.text("gpu_name"),
                gpu_count=reader.integer("gpu_count", high=1024),
                gpu_memory_bytes=reader.integer("gpu_memory_bytes"),
                cpu_name=reader.text("cpu_name"),
                cpu_count=reader.integer("cpu_count", low=1, high=65_536),
                memory_bytes=reader.integer("memory_bytes"),
                disk_bytes=reader.integer("disk_bytes"),
                region=reader.text("region"),
                driver=reader.text("driver"),
                torch=reader.text("torch"),
                isolation=Isolation(isolation),
                hardware_class=reader.digest("hardware_class"),
                encryption_key=reader.digest("encryption_key"),
                download_mbps=_speed(reader, "download_mbps"),
                upload_mbps=_speed(reader, "upload_mbps"),
            )
        except FieldError as error:
            raise OutOfRange(reader.at(error.field), str(error)) from error
        reader.finish()
        return machine

    @classmethod
    def from_bytes(cls, document: bytes) -> Self:
        """Return the document of a listing's event; only its canonical bytes are accepted."""
        machine = cls.from_json(parse_json(document, max_bytes=MAX_DOCUMENT_BYTES, max_depth=2))
        if machine.canonical() != document:
            raise OutOfRange("", "the document is not in its canonical form")
        return machine


def _speed(reader: Reader, key: str) -> int | None:
    return reader.integer(key, high=10**9) if reader.has(key) else None
