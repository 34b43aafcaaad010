"""Merkle trees over lists, with inclusion and consistency proofs (RFC 6962), hashed with BLAKE3.

Preimages::

    leaf  = blake3(0x00 || entry)
    node  = blake3(0x01 || left || right)
    empty = blake3("")

The tree over n > 1 entries joins the tree over the first k and the tree over the rest, k being the
largest power of two below n. Source: RFC 6962, sections 2.1 to 2.1.2; RFC 9162, sections 2.1.3.2
and 2.1.4.2 for checking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from blake3 import blake3

from client_sdk.protocol.canonical import HASH_BYTES
from client_sdk.protocol.errors import ProofError

#: Longest proof that can lead to a root; a tree of 2**48 entries.
MAX_PROOF: Final = 48


def leaf_hash(entry: bytes | bytearray | memoryview) -> bytes:
    """Return the hash of one entry; preimage in the module's text."""
    return blake3(b"\x00").update(entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node; preimage in the module's text."""
    return blake3(b"\x01" + left + right).digest()


def merkle_root(entries: Iterable[bytes]) -> bytes:
    """Return the root of the tree over ``entries``."""
    return root_of_hashes([leaf_hash(entry) for entry in entries])


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree whose leaves have these hashes."""
    if not hashes:
        return blake3(b"").digest()
    level = list(hashes)
    # Joining neighbours and carrying an odd last node up gives the same tree as the split at the
    # largest power of two, without recursion.
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]
    return level[0]


class MerkleBuilder:
    """A tree that grows by one entry at a time, and tells its root at any size."""

    def __init__(self) -> None:
        #: Roots of the complete trees that make up the tree, largest first.
        self._peaks: list[bytes] = []
        self.size = 0

    def append(self, entry: bytes) -> None:
        """Add an entry at the end."""
        node, size = leaf_hash(entry), self.size
        while size % 2 == 1:
            node, size = node_hash(self._peaks.pop(), node), size // 2
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all entries so far."""
        if not self._peaks:
            return root_of_hashes(())
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def inclusion_proof(entries: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the proof that ``entries[index]`` is in the tree: siblings from the leaf upwards."""
    if not 0 <= index < len(entries):
        raise ProofError(f"entry {index} is not among {len(entries)}")
    proof: list[bytes] = []
    level = [leaf_hash(entry) for entry in entries]
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]
        index //= 2
    return tuple(proof)


def verify_inclusion(
    entry: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``entry`` stands at ``index`` of the tree of ``size`` entries under ``root``.

    Raises
    ------
    ProofError
        When the proof does not show it.
    """
    if not 0 <= index < size or size > 1 << MAX_PROOF:
        raise ProofError(f"entry {index} cannot be among {size}")
    node, last, siblings = leaf_hash(entry), size - 1, iter(proof)
    while last > 0:
        if index % 2 == 1:
            node = node_hash(_take(siblings), node)
        elif index < last:
            node = node_hash(node, _take(siblings))
        index, last = index // 2, last // 2
    if next(siblings, None) is not None:
        raise ProofError("the proof is too long")
    if node != root:
        raise ProofError


def consistency_proof(entries: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the tree over ``entries`` extends the tree over the first ones.

    Parameters
    ----------
    entries
        All entries of the new tree.
    old_size
        Number of entries of the old tree, 1 to ``len(entries)``.
    """
    if not 0 < old_size <= len(entries):
        raise ProofError(f"a tree of {len(entries)} entries does not extend one of {old_size}")
    hashes = [leaf_hash(entry) for entry in entries]
    proof: list[bytes] = []
    start, end, size, known = 0, len(hashes), old_size, True
    # Walks down the old tree's right edge; each turn leaves a sibling, gathered from root to leaf.
    while size != end - start:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if start + size <= split:
            proof.append(root_of_hashes(hashes[split:end]))
            end = split
        else:
            proof.append(root_of_hashes(hashes[start:split]))
            size, start, known = start + size - split, split, False
    if not known:
        proof.append(root_of_hashes(hashes[start:end]))
    return tuple(reversed(proof))


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree under ``new_root`` extends the tree under ``old_root``.

    Raises
    ------
    ProofError
        When the proof does not show it.
    """
    if not 0 < old_size <= new_size <= 1 << MAX_PROOF:
        raise ProofError(f"a tree of {new_size} entries does not extend one of {old_size}")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofError
        return
    siblings = iter(proof)
    index, last = old_size - 1, new_size - 1
    while index % 2 == 1:
        index, last = index // 2, last // 2
    # When the old tree is complete, its root is the first node and need not be in the proof.
    old = new = old_root if index == 0 else _take(siblings)
    while last > 0:
        if index % 2 == 1:
            sibling = _take(siblings)
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        elif index < last:
            new = node_hash(new, _take(siblings))
        index, last = index // 2, last // 2
    if next(siblings, None) is not None:
        raise ProofError("the proof is too long")
    if old != old_root or new != new_root:
        raise ProofError


def _take(siblings: Iterator[bytes]) -> bytes:
    sibling = next(siblings, None)
    if sibling is None:
        raise ProofError("the proof is too short")
    if len(sibling) != HASH_BYTES:
        raise ProofError("a hash of the proof has the wrong length")
    return sibling
