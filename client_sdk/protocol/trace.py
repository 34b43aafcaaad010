"""The trace of a job: leaves, segments, and the root that is committed.

Preimages (integers big-endian, ``salt`` one per segment, revealed only after an audit's report)::

    salt       = blake3("gridlease/salt/1" || secret[32] || leaseId || u32 segment)
    indices    = blake3("gridlease/indices/1" || u64 count || i64 index ...)
    metrics    = blake3("gridlease/metrics/1" || u32 count
                        || u16 len(name) || name || f64 value ...)        by ascending name
    step leaf  = blake3("gridlease/step/1" || leaseId || u32 segment || u64 step
                        || indices || metrics || salt)
    boundary   = blake3("gridlease/boundary/1" || leaseId || u32 segment || u64 endStep
                        || u8 final || stateHash || salt)
    segment    = RFC 6962 root over the segment's step leaves and then its one boundary leaf
    trace      = RFC 6962 root over the segment roots 0 .. upTo-1

Segments count from 0; steps count from 0 over the whole job; ``endStep`` is the number of steps
done when the segment ends. The state before segment 0 is recomputed from the seed, not committed.

Covered: which steps were done on which data, in which order, ending in which state; positions are
inside the leaves and in the tree. The boundary leaf is always the last of its segment, so a
segment has exactly one end. Not covered: interior states; they are recomputed on demand.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from blake3 import blake3

from client_sdk.protocol.canonical import HASH_BYTES
from client_sdk.protocol.errors import FieldError
from client_sdk.protocol.merkle import (
    consistency_proof,
    inclusion_proof,
    merkle_root,
    verify_consistency,
    verify_inclusion,
)
from client_sdk.protocol.statehash import StateHasher, state_hash

__all__ = [
    "StateHasher",
    "boundary_leaf",
    "consistency_proof",
    "inclusion_proof",
    "indices_digest",
    "metrics_digest",
    "segment_root",
    "segment_salt",
    "state_hash",
    "step_leaf",
    "trace_root",
    "verify_consistency",
    "verify_inclusion",
]

#: Most segments of a lease: the width of the contract's counter.
MAX_SEGMENTS: Final = 0xFFFF
#: Most metrics of one step.
MAX_METRICS: Final = 64
_QUIET_NAN: Final = bytes.fromhex("7ff8000000000000")


def segment_salt(secret: bytes, lease_id: bytes, segment: int) -> bytes:
    """Return the salt of a segment's leaves; preimage in the module's text.

    Opening one segment tells nothing about the salts of the others.
    """
    _check_hashes(secret=secret, lease_id=lease_id)
    return blake3(b"gridlease/salt/1" + secret + lease_id + _uint(segment, 4)).digest()


def indices_digest(indices: Iterable[int]) -> bytes:
    """Return the hash of the data indices of one step, in the order used; preimage as above."""
    values = list(indices)
    try:
        body = struct.pack(f">{len(values)}q", *values)
    except struct.error as error:
        raise FieldError("indices", "expected integers of 64 bits") from error
    return blake3(b"gridlease/indices/1" + _uint(len(values), 8) + body).digest()


def metrics_digest(metrics: Mapping[str, float]) -> bytes:
    """Return the hash of the metrics of one step; preimage as above.

    Values are IEEE 754 doubles; all NaNs count as one value, and -0.0 differs from 0.0.
    """
    if len(metrics) > MAX_METRICS:
        raise FieldError("metrics", f"at most {MAX_METRICS} metrics a step")
    hasher = blake3(b"gridlease/metrics/1" + _uint(len(metrics), 4))
    for name, value in sorted((key.encode(), value) for key, value in metrics.items()):
        bits = _QUIET_NAN if math.isnan(value) else struct.pack(">d", value)
        hasher.update(_uint(len(name), 2) + name + bits)
    return hasher.digest()


def step_leaf(
    lease_id: bytes, segment: int, step: int, indices: bytes, metrics: bytes, salt: bytes
) -> bytes:
    """Return the leaf of one optimizer step; preimage in the module's text.

    Parameters
    ----------
    lease_id, salt
        32 bytes each.
    segment, step
        Counted from 0; ``step`` over the whole job.
    indices, metrics
        Results of :func:`indices_digest` and :func:`metrics_digest`.
    """
    _check_hashes(lease_id=lease_id, indices=indices, metrics=metrics, salt=salt)
    position = _uint(segment, 4) + _uint(step, 8)
    return blake3(b"gridlease/step/1" + lease_id + position + indices + metrics + salt).digest()


def boundary_leaf(
    lease_id: bytes, segment: int, end_step: int, state: bytes, salt: bytes, final: bool
) -> bytes:
    """Return the leaf of the state at the end of a segment; preimage in the module's text.

    Parameters
    ----------
    lease_id, salt
        32 bytes each.
    segment
        Counted from 0.
    end_step
        Steps done over the whole job when the segment ends.
    state
        Result of :func:`~client_sdk.protocol.statehash.state_hash`.
    final
        Whether the job ended here by its own will.
    """
    _check_hashes(lease_id=lease_id, state=state, salt=salt)
    position = _uint(segment, 4) + _uint(end_step, 8) + _uint(int(final), 1)
    return blake3(b"gridlease/boundary/1" + lease_id + position + state + salt).digest()


def segment_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over a segment's step leaves followed by its boundary leaf."""
    if not leaves:
        raise FieldError("leaves", "a segment has at least its boundary leaf")
    return merkle_root(leaves)


def trace_root(segment_roots: Sequence[bytes]) -> bytes:
    """Return the root over the segment roots 0 .. upTo-1: what ``commit`` carries."""
    if not 0 < len(segment_roots) <= MAX_SEGMENTS:
        raise FieldError("segment_roots", f"a trace has 1 to {MAX_SEGMENTS} segments")
    return merkle_root(segment_roots)


def _uint(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError as error:
        raise FieldError("position", f"{value} does not fit in {size} bytes") from error


def _check_hashes(**values: bytes) -> None:
    for name, value in values.items():
        if len(value) != HASH_BYTES:
            raise FieldError(name, f"expected {HASH_BYTES} bytes, got {len(value)}")
