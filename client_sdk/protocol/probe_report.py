"""The report on a probe that a machine failed, which ends its lease with a full refund.

The report itself is public; its hash stands on chain in ``MachineRejected``, under the operator's
signature of ``FailedProbe`` unless the arbiter sent it. So whoever has the report checks it without
believing anybody: the hash, that it is about the lease and the machine of the terms, and that what
it says is a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from client_sdk.protocol.canonical import canonical_digest, to_hex
from client_sdk.protocol.consents import FailedProbe
from client_sdk.protocol.machine import MachineDocument
from client_sdk.protocol.wire import JsonObject, Reader


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What the machine of a lease is, beside what its terms say."""

    SCHEMA: ClassVar[str] = "gridlease/probe-report/1"

    lease_id: bytes
    #: Machine of the terms.
    machine_hash: bytes
    #: The machine that was found.
    document: MachineDocument
    #: Hardware class that the probe gave; ``None`` where another machine was found already.
    measured_class: bytes | None
    #: Unix time.
    at: int

    @property
    def is_failure(self) -> bool:
        """Whether it is another machine, or one that computes other bits than it says."""
        if self.document.machine_hash() != self.machine_hash:
            return True
        return self.measured_class not in (None, self.document.hardware_class)

    @property
    def statement(self) -> FailedProbe:
        """What the operator signs."""
        return FailedProbe(lease_id=self.lease_id, report=self.digest())

    def digest(self) -> bytes:
        """Return the hash that stands on chain: BLAKE3 of the canonical JSON."""
        return canonical_digest(self.to_json())

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        measured = self.measured_class
        return {
            "schema": self.SCHEMA,
            "lease_id": to_hex(self.lease_id),
            "machine_hash": to_hex(self.machine_hash),
            "document": self.document.to_json(),
            "measured_class": None if measured is None else to_hex(measured),
            "at": self.at,
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the report that a stranger's JSON describes."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        report = cls(
            lease_id=reader.digest("lease_id"),
            machine_hash=reader.digest("machine_hash"),
            document=MachineDocument.from_json(reader.raw("document"), reader.at("document")),
            measured_class=(
                reader.digest("measured_class") if reader.has("measured_class") else None
            ),
            at=reader.integer("at"),
        )
        reader.finish()
        return report
