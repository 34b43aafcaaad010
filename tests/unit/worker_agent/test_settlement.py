from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.terms import Terms
from worker_agent.settlement import Facts, Move, MoveKind, committable, next_move

ADDRESS = "0x" + "11" * 20


@dataclass(frozen=True)
class Lease:
    paid: int = 0
    pending: int = 0
    opened_at: int = 1000
    committed_at: int = 0
    stopped_at: int = 0
    is_unretrievable: bool = False


def terms(**changes: Any) -> Terms:
    values: dict[str, Any] = {
        "renter": ADDRESS,
        "provider": ADDRESS,
        "operator": ADDRESS,
        "token": ADDRESS,
        "arbiter": ADDRESS,
        "listing_id": ZERO_HASH,
        "machine_hash": ZERO_HASH,
        "job_hash": ZERO_HASH,
        "price_per_segment": 5,
        "bond": 50,
        "segments": 10,
        "fee_bps": 0,
        "audit_bps": 0,
        "window": 20,
        "commit_grace": 15,
        "dispute_timeout": 20,
        "open_by": 2000,
        "first_commit_within": 100,
        "max_duration": 500,
        "min_segment_seconds": 2,
        "nonce": 1,
    }
    return Terms(**{**values, **changes})


def decide(lease: Lease, verified: int, now: int, *, ended: bool = False) -> Move:
    return next_move(terms(), lease, Facts(verified=verified, ended=ended, now=now))


NONE = Move(MoveKind.NONE)


@pytest.mark.parametrize(
    ("lease", "verified", "now", "ended", "expected"),
    [
        # The first segments are committed at once; too fast ones wait.
        (Lease(), 0, 1010, False, NONE),
        (Lease(), 3, 1010, False, Move(MoveKind.COMMIT, 3)),
        (Lease(), 3, 1005, False, Move(MoveKind.COMMIT, 2)),
        (Lease(), 3, 1001, False, NONE),
        (Lease(), 3, 1001, True, NONE),
        # At most one commit a window, while the job runs.
        (Lease(0, 3, 1000, 1010), 5, 1029, False, NONE),
        (Lease(0, 3, 1000, 1010), 5, 1030, False, Move(MoveKind.COMMIT, 5)),
        (Lease(0, 3, 1000, 1010), 3, 1030, False, Move(MoveKind.SETTLE)),
        (Lease(3, 3, 1000, 1010), 5, 1040, False, Move(MoveKind.COMMIT, 5)),
        (Lease(3, 3, 1000, 1010), 3, 1040, False, NONE),
        # The end does not wait for a window.
        (Lease(0, 3, 1000, 1010), 5, 1015, True, Move(MoveKind.COMMIT, 5)),
        (Lease(0, 5, 1000, 1015), 5, 1034, True, NONE),
        (Lease(0, 5, 1000, 1015), 5, 1035, True, Move(MoveKind.CLOSE)),
        (Lease(5, 5, 1000, 1015), 5, 1035, True, Move(MoveKind.CLOSE)),
        (Lease(), 0, 1010, True, Move(MoveKind.CLOSE)),
        # A stop leaves one commit: it waits for the running segment, but not too long.
        (Lease(0, 3, 1000, 1010, 1020), 5, 1025, False, NONE),
        (Lease(0, 3, 1000, 1010, 1020), 5, 1031, False, Move(MoveKind.COMMIT, 5)),
        (Lease(0, 3, 1000, 1010, 1020), 5, 1025, True, Move(MoveKind.COMMIT, 5)),
        (Lease(0, 3, 1000, 1020, 1020), 5, 1025, True, Move(MoveKind.COMMIT, 5)),
        (Lease(0, 5, 1000, 1025, 1020), 6, 1030, True, NONE),
        (Lease(0, 5, 1000, 1025, 1020), 6, 1045, True, Move(MoveKind.CLOSE)),
        # Deadlines: the first commit, and the end of the lease.
        (Lease(), 3, 1100, False, Move(MoveKind.COMMIT, 3)),
        (Lease(), 3, 1101, False, NONE),
        (Lease(3, 3, 1000, 1050), 5, 1501, False, NONE),
        (Lease(3, 3, 1000, 1050), 5, 1501, True, Move(MoveKind.CLOSE)),
        (Lease(0, 3, 1000, 1490), 5, 1495, False, NONE),
        (Lease(0, 3, 1000, 1490), 5, 1496, False, Move(MoveKind.COMMIT, 5)),
    ],
)
def test_when_a_lease_stands_so_then_this_is_sent(
    lease: Lease, verified: int, now: int, ended: bool, expected: Move
) -> None:
    assert decide(lease, verified, now, ended=ended) == expected


@pytest.mark.parametrize(("now", "kind"), [(1500, MoveKind.COMMIT), (1501, MoveKind.NONE)])
def test_when_the_first_commit_may_take_longer_than_the_lease_then_the_lease_ends_it(
    now: int, kind: MoveKind
) -> None:
    facts = Facts(verified=3, ended=False, now=now)
    assert next_move(terms(first_commit_within=600), Lease(), facts).kind is kind


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1050, Move(MoveKind.SETTLE)),
        (1059, Move(MoveKind.SETTLE)),
        (1060, Move(MoveKind.COMMIT, 2)),
    ],
)
def test_when_the_last_segment_is_too_fast_for_the_contract_then_the_lease_stays_open_for_it(
    now: int, expected: Move
) -> None:
    slow = terms(min_segment_seconds=30)
    facts = Facts(verified=2, ended=True, now=now)
    assert next_move(slow, Lease(0, 1, 1000, 1030), facts) == expected


def test_when_a_lease_is_stopped_then_the_segment_that_was_running_counts() -> None:
    assert committable(terms(), Lease(stopped_at=1010), 9, 1030) == 6


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    ("pending", "now", "expected"),
    [(4, 1119, NONE), (4, 1120, Move(MoveKind.CLOSE)), (2, 1101, Move(MoveKind.CLOSE))],
)
def test_when_checkpoints_cannot_be_fetched_then_the_lease_is_closed_and_nothing_committed(
    pending: int, now: int, expected: Move, ended: bool
) -> None:
    lease = Lease(paid=2, pending=pending, committed_at=1100, is_unretrievable=True)
    assert decide(lease, 9, now, ended=ended) == expected


@pytest.mark.parametrize(
    ("paid", "voucher", "verified", "ended", "gave_up", "expected"),
    [
        (0, 2, 3, False, False, NONE),
        (0, 2, 3, True, False, Move(MoveKind.SETTLE_VOUCHER, 2)),
        (2, 2, 3, True, False, NONE),
        (2, 2, 3, True, True, Move(MoveKind.CLOSE)),
        (2, 3, 3, True, False, Move(MoveKind.SETTLE_VOUCHER, 3)),
        (3, 3, 3, True, False, Move(MoveKind.CLOSE)),
        (0, 12, 9, False, False, Move(MoveKind.SETTLE_VOUCHER, 10)),
    ],
)
def test_when_a_lease_is_metered_then_only_vouchers_pay(
    paid: int, voucher: int, verified: int, ended: bool, gave_up: bool, expected: Move
) -> None:
    facts = Facts(verified=verified, ended=ended, now=1100, voucher=voucher, gave_up=gave_up)
    assert next_move(terms(window=0), Lease(paid, paid), facts) == expected


@pytest.mark.parametrize(
    ("lease", "expected"),
    [
        (Lease(), Move(MoveKind.REJECT)),
        (Lease(stopped_at=1005), Move(MoveKind.REJECT)),
        (Lease(0, 3, 1000, 1005), NONE),  # work was taken: a failed probe ends nothing any more
    ],
)
def test_when_a_failed_probe_is_signed_then_the_lease_is_ended_by_it(
    lease: Lease, expected: Move
) -> None:
    facts = Facts(verified=0, ended=True, now=1010, failed_probe=True)
    assert next_move(terms(), lease, facts) == expected


@pytest.mark.parametrize(
    ("lease", "expected"),
    [(Lease(), Move(MoveKind.REJECT)), (Lease(2, 2, 1000, 1005), Move(MoveKind.CLOSE))],
)
def test_when_a_failed_probe_of_a_metered_lease_is_signed_then_it_is_no_mere_close(
    lease: Lease, expected: Move
) -> None:
    facts = Facts(verified=0, ended=True, now=1010, failed_probe=True)
    assert next_move(terms(window=0), lease, facts) == expected


@given(
    verified=st.integers(0, 12),
    now=st.integers(1000, 1600),
    pending=st.integers(0, 10),
    committed=st.integers(0, 600),
    stopped=st.integers(0, 600),
    ended=st.booleans(),
)
def test_when_a_commit_is_sent_then_the_contract_takes_it(
    verified: int, now: int, pending: int, committed: int, stopped: int, ended: bool
) -> None:
    lease = Lease(
        paid=0,
        pending=pending,
        committed_at=1000 + committed if pending else 0,
        stopped_at=1000 + stopped if stopped and 1000 + stopped <= now else 0,
    )
    move = decide(lease, verified, now, ended=ended)
    if move.kind is MoveKind.COMMIT:
        assert pending < move.up_to <= min(verified, 10)
        assert not (lease.stopped_at and lease.committed_at > lease.stopped_at)
        limit = lease.stopped_at + 15 if lease.stopped_at else 1500
        assert now <= limit
        assert move.up_to <= committable(terms(), lease, verified, now)


def test_when_there_is_no_least_duration_then_all_verified_segments_count() -> None:
    free = replace(terms(), min_segment_seconds=0)
    assert committable(free, Lease(), 12, 1000) == 10
