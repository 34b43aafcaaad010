"""Seeds and the audit draw: fixed, uniform, and depending on everything they should."""

from __future__ import annotations

from collections import Counter

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.canonical import canonical_json
from client_sdk.protocol.draw import MAX_POOL, Draw, draw_audits, pool_of
from client_sdk.protocol.errors import FieldError
from client_sdk.protocol.seed import SEED_BITS, job_seed, stream_seed

LEASE, BEACON, ROOT = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
AUDITORS = ["0x" + f"{i:02x}" * 20 for i in range(1, 6)]
HASHES = st.binary(min_size=32, max_size=32)


def draw(**changes):
    values = {
        "beacon": BEACON,
        "lease_id": LEASE,
        "root": ROOT,
        "first_segment": 10,
        "end_segment": 30,
        "auditors": AUDITORS,
        "num_samples": 3,
        "exclude": (),
    }
    return draw_audits(**(values | changes))


def test_when_seeds_are_the_known_ones_then_they_stay_so():
    seed = job_seed(LEASE, BEACON)
    assert (seed, stream_seed(seed, "order"), stream_seed(seed, "order", 1)) == GOLDEN_SEEDS


GOLDEN_SEEDS = (2557733375137390, 3294768480995917, 8607446076136598)


@given(HASHES, HASHES, st.text(max_size=8), st.integers(0, 2**40))
def test_when_a_seed_is_made_then_it_is_exact_in_json_and_depends_on_all(lease, beacon, name, i):
    seed = job_seed(lease, beacon)
    assert 0 <= seed < 2**SEED_BITS
    assert canonical_json(seed)
    if lease != beacon:
        assert job_seed(beacon, lease) != seed
    stream = stream_seed(seed, name, i)
    assert 0 <= stream < 2**SEED_BITS
    assert stream not in {stream_seed(seed, name + "x", i), stream_seed(seed, name, i + 1)}


def test_when_a_seed_s_input_is_short_then_it_is_refused():
    for arguments in ((LEASE[1:], BEACON), (LEASE, BEACON[1:])):
        with pytest.raises(FieldError):
            job_seed(*arguments)


def test_when_the_draw_is_the_known_one_then_it_stays_so():
    assert [(item.segment, item.auditor) for item in draw()] == GOLDEN_DRAW


GOLDEN_DRAW = [
    (12, "0x0101010101010101010101010101010101010101"),
    (18, "0x0505050505050505050505050505050505050505"),
    (22, "0x0101010101010101010101010101010101010101"),
]


@given(HASHES, st.integers(0, 100), st.integers(1, 40), st.integers(0, 50), st.integers(0, 5))
def test_when_audits_are_drawn_then_segments_are_distinct_and_inside(beacon, first, n, k, barred):
    exclude = [address.upper().replace("0X", "0x") for address in AUDITORS[:barred]]
    draws = draw(
        beacon=beacon, first_segment=first, end_segment=first + n, num_samples=k, exclude=exclude
    )
    if barred == len(AUDITORS):
        assert draws == []
        return
    segments = [item.segment for item in draws]
    assert segments == sorted(set(segments))
    assert len(segments) == min(k, n)
    assert all(first <= segment < first + n for segment in segments)
    assert {item.auditor.lower() for item in draws} <= set(AUDITORS[barred:])


def test_when_order_or_case_of_the_auditors_differ_then_the_draw_is_the_same():
    shuffled = [AUDITORS[2], *AUDITORS, "0x" + AUDITORS[4][2:].upper()]
    assert draw(auditors=shuffled) == draw()


def test_when_a_pool_holds_all_then_all_are_in_it_in_order():
    shuffled = [AUDITORS[2], *reversed(AUDITORS), "0x" + AUDITORS[4][2:].upper()]
    assert pool_of(BEACON, LEASE, ROOT, shuffled) == AUDITORS
    assert pool_of(BEACON, LEASE, ROOT, []) == []


def test_when_more_are_registered_than_a_pool_holds_then_the_lowest_numbers_are_in_it():
    crowd = [f"0x{i:040x}" for i in range(MAX_POOL + 50)]
    pool = pool_of(BEACON, LEASE, ROOT, crowd)
    assert pool == sorted(pool)
    assert len(pool) == MAX_POOL

    def number(address):
        parts = b"gridlease/pool/1" + BEACON + LEASE + ROOT + bytes.fromhex(address[2:])
        return blake3(parts).digest()

    left_out = set(crowd) - set(pool)
    assert max(map(number, pool)) < min(map(number, left_out))


def test_when_pools_are_made_of_a_crowd_then_nobody_holds_a_place():
    crowd = [f"0x{i:040x}" for i in range(2 * MAX_POOL)]
    pools = Counter()
    for i in range(100):
        pools.update(pool_of(i.to_bytes(32, "big"), LEASE, ROOT, crowd))
    # Each is in half of them; five standard deviations.
    assert all(25 < pools[address] < 75 for address in crowd)


def test_when_any_input_differs_then_the_draw_differs():
    other = b"\x09" * 32
    base = draw(num_samples=20)
    for change in ({"beacon": other}, {"lease_id": other}, {"root": other}):
        assert draw(num_samples=20, **change) != base


def test_when_many_draws_are_made_then_segments_and_auditors_are_even():
    counts, auditors = Counter(), Counter()
    for i in range(2000):
        for item in draw(beacon=i.to_bytes(32, "big"), num_samples=2):
            counts[item.segment] += 1
            auditors[item.auditor] += 1
    # 4000 draws over 20 segments and 5 auditors; five standard deviations.
    assert set(counts) == set(range(10, 30))
    assert all(abs(count - 200) < 70 for count in counts.values())
    assert all(abs(count - 800) < 130 for count in auditors.values())


@pytest.mark.parametrize(
    "change",
    [
        {"beacon": b""},
        {"root": LEASE[:31]},
        {"first_segment": 30},
        {"first_segment": -1},
        {"end_segment": 2**32},
        {"num_samples": -1},
    ],
)
def test_when_the_draw_makes_no_sense_then_it_is_refused(change):
    with pytest.raises(FieldError):
        draw(**change)


def test_when_draws_are_sorted_then_by_segment():
    assert sorted([Draw(2, "a"), Draw(1, "b")]) == [Draw(1, "b"), Draw(2, "a")]


def test_when_a_word_would_favour_a_remainder_then_the_next_is_taken(monkeypatch):
    from client_sdk.protocol import draw as module

    class Fixed:
        def __init__(self, preimage):
            self.words = [2**64 - 1, 5]

        def digest(self, size, seek):
            return self.words[seek // 8].to_bytes(8, "big")

    monkeypatch.setattr(module, "blake3", Fixed)
    assert module._Words(b"").below(3) == 2
    assert module._Words(b"").below(1) == 0
