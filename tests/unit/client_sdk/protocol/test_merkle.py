"""Merkle trees against a naive reading of RFC 6962."""

from __future__ import annotations

import dataclasses

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.errors import ProofError
from client_sdk.protocol.merkle import (
    MAX_PROOF,
    MerkleBuilder,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    merkle_root,
    node_hash,
    root_of_hashes,
    verify_consistency,
    verify_inclusion,
)

ENTRIES = st.lists(st.binary(max_size=4), min_size=1, max_size=40)


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, with BLAKE3."""
    if not entries:
        return blake3(b"").digest()
    if len(entries) == 1:
        return blake3(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return blake3(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_path(m: int, entries: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*naive_path(m, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(m - k, entries[k:]), naive_root(entries[:k])]


def naive_subproof(m: int, entries: list[bytes], known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(entries):
        return [] if known else [naive_root(entries)]
    k = split(len(entries))
    if m <= k:
        return [*naive_subproof(m, entries[:k], known), naive_root(entries[k:])]
    return [*naive_subproof(m - k, entries[k:], False), naive_root(entries[:k])]


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_when_a_root_is_taken_then_the_naive_tree_agrees(entries):
    builder = MerkleBuilder()
    for size, entry in enumerate(entries):
        assert builder.root() == naive_root(entries[:size])
        builder.append(entry)
    assert merkle_root(entries) == naive_root(entries) == builder.root()
    assert root_of_hashes([leaf_hash(entry) for entry in entries]) == naive_root(entries)
    assert builder.size == len(entries)


@given(ENTRIES, st.data())
def test_when_an_entry_is_in_the_tree_then_its_proof_is_the_naive_one_and_holds(entries, data):
    index = data.draw(st.integers(0, len(entries) - 1))
    proof = inclusion_proof(entries, index)
    assert list(proof) == naive_path(index, entries)
    verify_inclusion(entries[index], index, len(entries), proof, merkle_root(entries))


@given(ENTRIES, st.data())
def test_when_anything_of_an_inclusion_proof_changes_then_it_does_not_hold(entries, data):
    size = len(entries)
    index = data.draw(st.integers(0, size - 1))
    proof, root = list(inclusion_proof(entries, index)), merkle_root(entries)
    other = data.draw(st.binary(max_size=5).filter(lambda entry: entry != entries[index]))
    bad = [
        (other, index, size, proof, root),
        (entries[index], index, size, [*proof, bytes(32)], root),
        (entries[index], index, size, proof, bytes(32)),
        (entries[index], size, size, proof, root),
        (entries[index], -1, size, proof, root),
        (entries[index], index, (1 << MAX_PROOF) + 1, proof, root),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        bad.append((entries[index], index, size, [*proof[:at], flipped, *proof[at + 1 :]], root))
        bad.append((entries[index], index, size, proof[:-1], root))
        bad.append((entries[index], index, size, [*proof[:-1], proof[-1][:31]], root))
    for arguments in bad:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)


@given(ENTRIES, st.data())
def test_when_a_tree_grows_then_its_consistency_proof_is_the_naive_one_and_holds(entries, data):
    old = data.draw(st.integers(1, len(entries)))
    proof = consistency_proof(entries, old)
    assert list(proof) == naive_subproof(old, entries, True)
    verify_consistency(old, merkle_root(entries[:old]), len(entries), merkle_root(entries), proof)


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=2, max_size=40), st.data())
def test_when_history_was_edited_then_no_consistency_proof_holds(entries, data):
    size = len(entries)
    old = data.draw(st.integers(1, size))
    at = data.draw(st.integers(0, old - 1))
    edited = [*entries[:at], entries[at] + b"!", *entries[at + 1 :]]
    roots = merkle_root(entries[:old]), merkle_root(edited)
    for proof in (consistency_proof(entries, old), consistency_proof(edited, old)):
        with pytest.raises(ProofError):
            verify_consistency(old, roots[0], size, roots[1], proof)


@given(ENTRIES.filter(lambda entries: len(entries) > 1), st.data())
def test_when_a_consistency_proof_has_another_length_then_it_does_not_hold(entries, data):
    size = len(entries)
    old = data.draw(st.integers(1, size - 1))
    proof = consistency_proof(entries, old)
    old_root, new_root = merkle_root(entries[:old]), merkle_root(entries)
    for bad in ([*proof, bytes(32)], proof[:-1]):
        with pytest.raises(ProofError):
            verify_consistency(old, old_root, size, new_root, bad)
    with pytest.raises(ProofError):
        verify_consistency(size, new_root, size, new_root, [bytes(32)])
    with pytest.raises(ProofError):
        verify_consistency(size, new_root, size, bytes(32), [])


@pytest.mark.parametrize(("old", "new"), [(0, 1), (2, 1), (1, (1 << MAX_PROOF) + 1)])
def test_when_sizes_make_no_sense_then_consistency_is_refused(old, new):
    with pytest.raises(ProofError):
        verify_consistency(old, bytes(32), new, bytes(32), [])


def test_when_a_position_is_outside_then_no_proof_is_made():
    for index in (-1, 1):
        with pytest.raises(ProofError):
            inclusion_proof([b"a"], index)
    for old in (0, 2):
        with pytest.raises(ProofError):
            consistency_proof([b"a"], old)


def test_when_a_node_is_offered_as_an_entry_then_its_hash_differs():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)


def test_when_a_proof_fails_then_the_default_message_is_the_rule():
    assert str(ProofError()) == "The proof does not lead to the root."
    assert not dataclasses.is_dataclass(ProofError)
