"""What the runtime writes about a segment, and how its end is opened to an auditor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from client_sdk.protocol.canonical import hash_from_hex, to_hex
from client_sdk.protocol.errors import OutOfRange, ProofError, WrongType
from client_sdk.protocol.trace import (
    MAX_METRICS,
    MAX_SEGMENTS,
    boundary_leaf,
    inclusion_proof,
    segment_root,
    step_leaf,
    verify_inclusion,
)
from client_sdk.protocol.wire import JsonObject, Reader

#: Most steps of one segment.
MAX_STEPS: Final = 20_000
#: Largest record, in bytes of JSON.
MAX_RECORD_BYTES: Final = 8 << 20
_NOT_FINITE: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class StepDigests:
    """What one step leaf binds besides its position."""

    #: Result of :func:`~client_sdk.protocol.trace.indices_digest`.
    indices: bytes
    #: Result of :func:`~client_sdk.protocol.trace.metrics_digest`.
    metrics: bytes


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """All that is known of one finished segment, without salts: leaves can be made from it."""

    SCHEMA: ClassVar[str] = "gridlease/segment-record/1"

    lease_id: bytes
    #: Counted from 0.
    segment: int
    #: Steps done over the whole job before this segment.
    first_step: int
    #: One entry for each step, in order.
    steps: tuple[StepDigests, ...]
    #: Whether the job ended here by its own will.
    final: bool
    #: Hash of the state at the end.
    state_hash: bytes
    #: Last value of each metric, for people; what counts is in the digests.
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: Wall time of the segment in seconds, for people.
    seconds: float = 0.0

    @property
    def end_step(self) -> int:
        """Steps done over the whole job when the segment ended."""
        return self.first_step + len(self.steps)

    def leaves(self, salt: bytes) -> list[bytes]:
        """Return the segment's leaves: its steps and then its boundary."""
        leaves = [
            step_leaf(
                self.lease_id, self.segment, self.first_step + i, step.indices, step.metrics, salt
            )
            for i, step in enumerate(self.steps)
        ]
        leaves.append(
            boundary_leaf(
                self.lease_id, self.segment, self.end_step, self.state_hash, salt, self.final
            )
        )
        return leaves

    def root(self, salt: bytes) -> bytes:
        """Return the segment's root under this salt."""
        return segment_root(self.leaves(salt))

    def same_work(self, other: SegmentRecord) -> bool:
        """Tell whether two executions did the same steps and ended in the same state.

        Wall time and the metrics shown to people do not count.
        """
        mine = (self.lease_id, self.segment, self.first_step, self.final, self.state_hash)
        theirs = (other.lease_id, other.segment, other.first_step, other.final, other.state_hash)
        return mine == theirs and self.steps == other.steps

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "lease_id": to_hex(self.lease_id),
            "segment": self.segment,
            "first_step": self.first_step,
            "steps": [[to_hex(step.indices), to_hex(step.metrics)] for step in self.steps],
            "final": self.final,
            "state_hash": to_hex(self.state_hash),
            "metrics": metrics_to_json(self.metrics),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the record that a stranger's JSON describes."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        record = cls(
            lease_id=reader.digest("lease_id"),
            segment=reader.integer("segment", high=MAX_SEGMENTS - 1),
            first_step=reader.integer("first_step"),
            steps=reader.items("steps", _read_step, max_items=MAX_STEPS),
            final=reader.flag("final"),
            state_hash=reader.digest("state_hash"),
            metrics=reader.mapping("metrics", read_metric, max_items=MAX_METRICS),
            seconds=reader.number("seconds"),
        )
        reader.finish()
        return record


@dataclass(frozen=True, kw_only=True)
class BoundaryOpening:
    """Shows which state a committed segment ended in: reveals one salt and two proofs."""

    SCHEMA: ClassVar[str] = "gridlease/boundary-opening/1"

    segment: int
    end_step: int
    final: bool
    state_hash: bytes
    salt: bytes
    #: Leaves of the segment; the boundary is the last one.
    num_leaves: int
    #: Siblings from the boundary leaf up to ``segment_root``.
    segment_proof: tuple[bytes, ...]
    segment_root: bytes
    #: Segments under the trace root that this opening leads to.
    up_to: int
    #: Siblings from ``segment_root`` up to the trace root.
    trace_proof: tuple[bytes, ...]

    def verify(self, lease_id: bytes, trace_root: bytes) -> None:
        """Check that the opening leads to ``trace_root``, the root of ``up_to`` segments.

        The caller takes ``trace_root`` and ``up_to`` from the commit on chain.

        Raises
        ------
        ProofError
            When it does not.
        """
        leaf = boundary_leaf(
            lease_id, self.segment, self.end_step, self.state_hash, self.salt, self.final
        )
        last = self.num_leaves - 1
        verify_inclusion(leaf, last, self.num_leaves, self.segment_proof, self.segment_root)
        verify_inclusion(self.segment_root, self.segment, self.up_to, self.trace_proof, trace_root)

    def to_json(self) -> JsonObject:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "segment": self.segment,
            "end_step": self.end_step,
            "final": self.final,
            "state_hash": to_hex(self.state_hash),
            "salt": to_hex(self.salt),
            "num_leaves": self.num_leaves,
            "segment_proof": [to_hex(node) for node in self.segment_proof],
            "segment_root": to_hex(self.segment_root),
            "up_to": self.up_to,
            "trace_proof": [to_hex(node) for node in self.trace_proof],
        }

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the opening that a stranger's JSON describes; not verified yet."""
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        opening = cls(
            segment=reader.integer("segment", high=MAX_SEGMENTS - 1),
            end_step=reader.integer("end_step"),
            final=reader.flag("final"),
            state_hash=reader.digest("state_hash"),
            salt=reader.digest("salt"),
            num_leaves=reader.integer("num_leaves", low=1, high=MAX_STEPS + 1),
            segment_proof=reader.items("segment_proof", hash_from_hex, max_items=32),
            segment_root=reader.digest("segment_root"),
            up_to=reader.integer("up_to", low=1, high=MAX_SEGMENTS),
            trace_proof=reader.items("trace_proof", hash_from_hex, max_items=32),
        )
        reader.finish()
        return opening


def open_boundary(
    record: SegmentRecord, salt: bytes, segment_roots: Sequence[bytes]
) -> BoundaryOpening:
    """Return the opening of a segment's end under the root over ``segment_roots``.

    Raises
    ------
    ProofError
        When the record under this salt is not the one among ``segment_roots``.
    """
    leaves = record.leaves(salt)
    root = segment_root(leaves)
    if record.segment >= len(segment_roots) or segment_roots[record.segment] != root:
        raise ProofError(f"segment {record.segment} is not among these roots")
    return BoundaryOpening(
        segment=record.segment,
        end_step=record.end_step,
        final=record.final,
        state_hash=record.state_hash,
        salt=salt,
        num_leaves=len(leaves),
        segment_proof=inclusion_proof(leaves, len(leaves) - 1),
        segment_root=root,
        up_to=len(segment_roots),
        trace_proof=inclusion_proof(segment_roots, record.segment),
    )


def metrics_to_json(metrics: Mapping[str, float]) -> JsonObject:
    """Return metrics as JSON: numbers, and ``"nan"``, ``"inf"``, ``"-inf"`` where they are not."""
    return {
        name: value if math.isfinite(value) else str(float(value))
        for name, value in metrics.items()
    }


def read_metric(value: object, path: str) -> float:
    """Return one metric's value from its JSON form."""
    if isinstance(value, str):
        if value not in _NOT_FINITE:
            raise OutOfRange(path, 'expected a number, "nan", "inf" or "-inf"')
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongType(path, "expected a number")
    try:
        return float(value)
    except OverflowError as error:
        raise OutOfRange(path, "too large a number") from error


def _read_step(value: object, path: str) -> StepDigests:
    if not isinstance(value, list) or len(value) != 2:
        raise WrongType(path, "expected two hashes")
    return StepDigests(hash_from_hex(value[0], f"{path}[0]"), hash_from_hex(value[1], f"{path}[1]"))
