"""The draw that decides which segments are audited, and by whom.

Preimage::

    randomness = blake3 XOF of ("gridlease/draw/1" || beacon || leaseId || root
                                || u32 first || u32 end)

read as 64-bit big-endian words. A number below n is the first word below the largest multiple of
n, modulo n: no remainder is favoured. Segments are drawn without replacement, then an auditor for
each, with replacement, from the eligible addresses in ascending order of their bytes. Market,
auditor and worker compute the same draw from the chain.

Registering is free, and a row can name only so many auditors. Of more than ``MAX_POOL`` those are
drawn from that have the lowest numbers::

    number = blake3("gridlease/pool/1" || beacon || leaseId || root || address)

So the accounts of a crowd have the share of the pool that they have of the registered, and nobody
holds a place for having come first. Whoever knows the registered auditors sees whether one was left
out whose number is below another's in the pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.canonical import HASH_BYTES
from client_sdk.protocol.errors import FieldError

MAX_POOL: Final = 256
"""Most auditors that a commit's audits are drawn from."""
_WORD: Final = 1 << 64


@dataclass(frozen=True, slots=True, order=True)
class Draw:
    """One audit: a segment and who re-executes it."""

    segment: int
    #: EIP-55.
    auditor: str


class _Words:
    """Endless uniform numbers from one seed."""

    def __init__(self, preimage: bytes) -> None:
        self._hasher = blake3(preimage)
        self._position = 0

    def below(self, bound: int) -> int:
        """Return a uniform number from 0 to ``bound - 1``."""
        limit = _WORD - _WORD % bound
        while True:
            word = int.from_bytes(self._hasher.digest(8, seek=self._position), "big")
            self._position += 8
            if word < limit:
                return word % bound


def pool_of(beacon: bytes, lease_id: bytes, root: bytes, auditors: Iterable[str]) -> list[str]:
    """Return those of the eligible auditors that a commit's audits are drawn from, in order."""
    seed = blake3(b"gridlease/pool/1" + beacon + lease_id + root)

    def number(address: str) -> bytes:
        hasher = seed.copy()
        hasher.update(bytes.fromhex(address[2:]))
        return hasher.digest()

    return sorted(sorted({address.lower() for address in auditors}, key=number)[:MAX_POOL])


def draw_audits(
    beacon: bytes,
    lease_id: bytes,
    root: bytes,
    first_segment: int,
    end_segment: int,
    auditors: Sequence[str],
    num_samples: int,
    exclude: Iterable[str] = (),
) -> list[Draw]:
    """Return the audits of one commit, by ascending segment.

    Parameters
    ----------
    beacon
        32 random bytes published after the commit was confirmed.
    lease_id
        The lease.
    root
        The root that the contract stores after the commit.
    first_segment, end_segment
        The commit covers ``first_segment .. end_segment - 1``.
    auditors
        Registered auditors of the hardware class, in any order.
    num_samples
        Segments to audit; all of them when there are fewer.
    exclude
        Addresses that may not audit this lease: its provider, operator and renter.

    Returns
    -------
    list[Draw]
        Empty when nobody is eligible.
    """
    if not len(beacon) == len(lease_id) == len(root) == HASH_BYTES:
        raise FieldError("draw", "beacon, lease id and root have 32 bytes each")
    if not 0 <= first_segment < end_segment < 1 << 32 or num_samples < 0:
        raise FieldError("draw", "expected 0 <= first_segment < end_segment and num_samples >= 0")
    barred = {address.lower() for address in exclude}
    eligible = sorted({address.lower() for address in auditors} - barred)
    if not eligible:
        return []
    words = _Words(
        b"gridlease/draw/1"
        + beacon
        + lease_id
        + root
        + first_segment.to_bytes(4, "big")
        + end_segment.to_bytes(4, "big")
    )
    segments = list(range(first_segment, end_segment))
    num_drawn = min(num_samples, len(segments))
    for i in range(num_drawn):
        j = i + words.below(len(segments) - i)
        segments[i], segments[j] = segments[j], segments[i]
    chosen = segments[:num_drawn]
    return sorted(
        Draw(segment, checksum_address(eligible[words.below(len(eligible))])) for segment in chosen
    )
