"""State hash, leaves and roots: golden vectors, an independent reading, and every bit counts."""

from __future__ import annotations

import json
import math
import struct

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol import statehash
from client_sdk.protocol.canonical import canonical_json
from client_sdk.protocol.errors import CanonicalError, FieldError
from client_sdk.protocol.merkle import merkle_root
from client_sdk.protocol.statehash import ITEM_BYTES, StateHasher
from client_sdk.protocol.trace import (
    MAX_METRICS,
    boundary_leaf,
    indices_digest,
    metrics_digest,
    segment_root,
    segment_salt,
    state_hash,
    step_leaf,
    trace_root,
)

LEASE = bytes(range(32))
SALT = bytes(range(32, 64))
A, B = b"\xaa" * 32, b"\xbb" * 32


def naive_stream(tensors, meta) -> bytes:
    """The stream of the module's text, built in one piece."""
    body = canonical_json(meta)
    stream = b"gridlease/state/1\n" + struct.pack(">Q", len(body)) + body
    for name, dtype, shape, raw in sorted(tensors, key=lambda entry: entry[0].encode()):
        head = json.dumps(
            {"dtype": dtype, "name": name, "shape": list(shape)},
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()
        stream += b"\x01" + struct.pack(">Q", len(head)) + head
        stream += struct.pack(">Q", len(raw)) + raw
    return stream + b"\x00" + struct.pack(">Q", len(tensors))


def naive_state_hash(tensors, meta, chunk: int) -> bytes:
    stream = naive_stream(tensors, meta)
    return merkle_root([stream[i : i + chunk] for i in range(0, len(stream), chunk)])


@st.composite
def states(draw):
    names = draw(st.lists(st.text("abé.0", min_size=1, max_size=4), unique=True, max_size=4))
    tensors = []
    for name in names:
        dtype = draw(st.sampled_from(sorted(ITEM_BYTES)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        size = math.prod(shape) * ITEM_BYTES[dtype]
        tensors.append((name, dtype, shape, draw(st.binary(min_size=size, max_size=size))))
    meta = draw(st.dictionaries(st.text("xyz", max_size=3), st.integers(-9, 9), max_size=3))
    return tensors, meta


@given(states(), st.sampled_from([1, 7, 64]))
def test_when_a_state_is_hashed_then_the_naive_stream_agrees_at_any_chunk_size(state, chunk):
    tensors, meta = state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statehash, "CHUNK_BYTES", chunk)
        assert state_hash(tensors, meta) == naive_state_hash(tensors, meta, chunk)
        assert state_hash(reversed(tensors), meta) == naive_state_hash(tensors, meta, chunk)


@given(states().filter(lambda state: any(entry[3] for entry in state[0])), st.data())
def test_when_one_bit_of_a_tensor_flips_then_the_state_hash_changes(state, data):
    tensors, meta = state
    full = [i for i, entry in enumerate(tensors) if entry[3]]
    at = data.draw(st.sampled_from(full))
    name, dtype, shape, raw = tensors[at]
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    changed = [*tensors[:at], (name, dtype, shape, flipped), *tensors[at + 1 :]]
    assert state_hash(changed, meta) != state_hash(tensors, meta)


def test_when_name_type_shape_or_meta_differ_then_the_state_hash_changes():
    raw = bytes(16)
    variants = [
        ([("w", "float32", (2, 2), raw)], {}),
        ([("v", "float32", (2, 2), raw)], {}),
        ([("w", "int32", (2, 2), raw)], {}),
        ([("w", "float32", (4,), raw)], {}),
        ([("w", "float32", (4, 1), raw)], {}),
        ([("w", "float32", (2, 2), raw)], {"step": 1}),
        ([("w", "float32", (2, 2), raw)], {"step": 1.5}),
        ([("w", "float32", (2, 2), raw), ("x", "uint8", (0,), b"")], {}),
        ([], {}),
    ]
    assert len({state_hash(*variant) for variant in variants}) == len(variants)


def test_when_the_state_is_the_known_one_then_the_hash_is_the_known_one():
    tensors = [
        ("model.weight", "float32", (2, 3), struct.pack("<6f", 0, 1, -1, 0.5, 1e-8, 3e38)),
        ("optimizer.momentum", "bfloat16", (2,), b"\x80\x3f\x00\x00"),
        ("rng.torch", "uint8", (4,), b"\x01\x02\x03\x04"),
        ("step", "int64", (), struct.pack("<q", 7)),
    ]
    meta = {"cursor": {"epoch": 1, "position": 96}, "lr": 0.05, "names": ["a", "b"]}
    assert state_hash(tensors, meta).hex() == GOLDEN["state"]
    assert state_hash([], {}).hex() == GOLDEN["empty state"]


def test_when_a_state_is_larger_than_a_chunk_then_threads_and_slices_do_not_matter():
    raw = bytes(range(256)) * (statehash.CHUNK_BYTES // 256) + b"tail"
    shape = (len(raw),)
    meta = {"n": 1}
    whole = state_hash([("a", "uint8", shape, raw), ("b", "uint8", (3,), b"xyz")], meta)
    hasher = StateHasher(meta, num_threads=2)
    hasher.add("a", "uint8", shape, memoryview(bytearray(raw)))
    hasher.add("b", "uint8", (3,), bytearray(b"xyz"))
    assert hasher.digest() == whole
    tensors = [("a", "uint8", shape, raw), ("b", "uint8", (3,), b"xyz")]
    assert naive_state_hash(tensors, meta, statehash.CHUNK_BYTES) == whole


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (("w", "torch.float32", (1,), bytes(4)), "unknown element type"),
        (("w", "float32", (2,), bytes(4)), "where its shape"),
        (("w", "float32", (-1,), b""), "non-negative"),
        (("w", "float32", (True,), bytes(4)), "non-negative"),
        (("w", "float32", (1.0,), bytes(4)), "non-negative"),
        (("a", "uint8", (0,), b""), "ascending"),
        (("A", "uint8", (0,), b""), "ascending"),
    ],
)
def test_when_a_tensor_is_malformed_then_it_is_refused(entry, reason):
    hasher = StateHasher({})
    hasher.add("a", "uint8", (1,), b"x")
    with pytest.raises(FieldError, match=reason):
        hasher.add(*entry)


def test_when_meta_has_no_canonical_form_then_it_is_refused():
    with pytest.raises(CanonicalError):
        state_hash([], {"lr": math.nan})


def test_when_leaves_are_the_known_ones_then_the_hashes_are_the_known_ones():
    salt = segment_salt(b"s" * 32, LEASE, 3)
    indices = indices_digest([0, 5, 2**62, -1])
    metrics = metrics_digest({"loss": 0.25, "accuracy": 1.0})
    step = step_leaf(LEASE, 3, 150, indices, metrics, salt)
    boundary = boundary_leaf(LEASE, 3, 200, A, salt, False)
    root = segment_root([step, boundary])
    found = {
        "salt": salt,
        "indices": indices,
        "metrics": metrics,
        "step": step,
        "boundary": boundary,
        "segment": root,
        "trace": trace_root([A, B, root]),
    }
    assert {name: value.hex() for name, value in found.items()} == {
        name: GOLDEN[name] for name in found
    }


GOLDEN = {
    "state": "68880b560faa325ad406a050f2d86efbc9c6218b568834346b11240fe0fae1ec",
    "empty state": "2a8a097ae3e2506647ea7dd90caca17d1e30c58686e962c147d41f52204d4899",
    "salt": "9469fda0d3702b8f516d3c0700ea90c25de1915ba75d1b9605c7c0f76faccfc9",
    "indices": "48fa7933b59698f1066ed715b333e3b5ded5a7d3794d3b1c44112b48af06aa9d",
    "metrics": "b38a4d4936431d6616a9bc2423d07ebae503eada5c9039c014cf09c0b268129b",
    "step": "2842c6ae9f7e01f19e806ae8b1de2279d015acb826c7f714cf6903428f1efb85",
    "boundary": "918503b22824b3ed9dcaaf22e848abdfe820f5c8953380a8f704b88309c26d19",
    "segment": "03f62862caba36b23ea35eb5c19d02174f49bab186d5e3e6445aa1f878215313",
    "trace": "43a78c0b348cc517a407c2b8aed5bb1a306e382fb4db25d8b99ba091bc3c18ec",
}


def test_when_preimages_are_written_out_then_the_leaves_are_their_hashes():
    position = struct.pack(">IQ", 3, 150)
    step = blake3(b"gridlease/step/1" + LEASE + position + A + B + SALT).digest()
    assert step_leaf(LEASE, 3, 150, A, B, SALT) == step
    boundary = blake3(b"gridlease/boundary/1" + LEASE + position + b"\1" + A + SALT).digest()
    assert boundary_leaf(LEASE, 3, 150, A, SALT, True) == boundary
    salt = blake3(b"gridlease/salt/1" + SALT + LEASE + struct.pack(">I", 3)).digest()
    assert segment_salt(SALT, LEASE, 3) == salt
    values = struct.pack(">Qqq", 2, 5, -6)
    assert indices_digest(iter([5, -6])) == blake3(b"gridlease/indices/1" + values).digest()
    packed = b"".join(
        [struct.pack(">I", 2), b"\0\1a", struct.pack(">d", 2.0), b"\0\2ab", struct.pack(">d", -0.0)]
    )
    assert metrics_digest({"ab": -0.0, "a": 2}) == blake3(b"gridlease/metrics/1" + packed).digest()


@given(st.integers(0, 5), st.data())
def test_when_one_bit_of_a_leaf_s_input_flips_then_the_leaf_changes(field, data):
    arguments = [LEASE, 3, 150, A, B, SALT]
    changed = list(arguments)
    if isinstance(arguments[field], int):
        changed[field] ^= 1 << data.draw(st.integers(0, 31))
    else:
        raw = int.from_bytes(arguments[field], "big") ^ 1 << data.draw(st.integers(0, 255))
        changed[field] = raw.to_bytes(32, "big")
    assert step_leaf(*changed) != step_leaf(*arguments)
    if field != 4:
        before = [LEASE, 3, 150, A, SALT, False]
        after = [*changed[:4], changed[5], False]
        assert boundary_leaf(*after) != boundary_leaf(*before)
    assert boundary_leaf(LEASE, 3, 150, A, SALT, True) != boundary_leaf(
        LEASE, 3, 150, A, SALT, False
    )


def test_when_nan_differs_in_its_bits_only_then_metrics_are_equal():
    other = struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]
    assert metrics_digest({"loss": math.nan}) == metrics_digest({"loss": other})
    assert metrics_digest({"loss": 0.0}) != metrics_digest({"loss": -0.0})
    assert metrics_digest({"loss": math.inf}) != metrics_digest({"loss": -math.inf})


@pytest.mark.parametrize(
    "call",
    [
        lambda: indices_digest([2**63]),
        lambda: indices_digest(["1"]),
        lambda: metrics_digest({str(i): 0.0 for i in range(MAX_METRICS + 1)}),
        lambda: metrics_digest({"x" * 70_000: 0.0}),
        lambda: segment_salt(b"short", LEASE, 0),
        lambda: segment_salt(SALT, LEASE, -1),
        lambda: step_leaf(LEASE, 2**32, 0, A, B, SALT),
        lambda: step_leaf(LEASE, 0, 0, A, B, SALT[:-1]),
        lambda: boundary_leaf(LEASE, 0, 2**64, A, SALT, False),
        lambda: boundary_leaf(LEASE, 0, 0, A + b"\0", SALT, False),
        lambda: segment_root([]),
        lambda: trace_root([]),
        lambda: trace_root([A] * 65_536),
    ],
)
def test_when_a_trace_input_does_not_fit_then_it_is_refused(call):
    with pytest.raises(FieldError):
        call()
