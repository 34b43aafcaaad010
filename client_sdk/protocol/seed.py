"""Seeds that neither renter nor provider can choose.

Preimages (integers big-endian)::

    job seed    = first 53 bits of blake3("gridlease/seed/1" || leaseId || beacon)
    stream seed = first 53 bits of blake3("gridlease/stream/1" || u64 seed || u64 index || name)

53 bits, so that a seed is exact as a JSON number. The beacon is fixed only after the lease is
open; a successor lease goes on with the random state of its checkpoint and takes no new seed.
"""

from __future__ import annotations

from typing import Final

from client_sdk.protocol.canonical import HASH_BYTES, blake3_digest
from client_sdk.protocol.errors import FieldError

#: Bits of a seed.
SEED_BITS: Final = 53


def job_seed(lease_id: bytes, beacon: bytes) -> int:
    """Return the seed of a lease's job, 0 to 2**53 - 1; preimage in the module's text.

    Parameters
    ----------
    lease_id
        32 bytes.
    beacon
        32 random bytes published after the lease was opened.
    """
    if len(lease_id) != HASH_BYTES or len(beacon) != HASH_BYTES:
        raise FieldError("seed", "lease id and beacon have 32 bytes each")
    return _first_bits(blake3_digest(b"gridlease/seed/1" + lease_id + beacon))


def stream_seed(seed: int, name: str, index: int = 0) -> int:
    """Return the seed of one named random stream of a job, 0 to 2**53 - 1.

    Parameters
    ----------
    seed
        Result of :func:`job_seed`.
    name
        What the stream is for: ``"order"``, ``"dropout"``.
    index
        Which one of several: the epoch, the worker.
    """
    head = seed.to_bytes(8, "big") + index.to_bytes(8, "big")
    return _first_bits(blake3_digest(b"gridlease/stream/1" + head + name.encode()))


def _first_bits(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)
