from __future__ import annotations

from client_sdk.accounting import account_of
from contracts.events import (
    BondReturned,
    Challenged,
    CloseCause,
    Closed,
    Committed,
    DataDemanded,
    DisputeTimedOut,
    LateFraud,
    LatePaid,
    Opened,
    RelayerPaid,
    Ruled,
    Settled,
    Stopped,
    Unretrievable,
)
from tests.unit.client_sdk.test_policy import TERMS

LEASE = b"\x05" * 32
AUDITOR = "0x" + "7" * 40


class Log:
    """Numbers events as a chain does."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, kind, **values):
        self.count += 1
        place = {"block_number": self.count, "block_hash": b"", "log_index": 0}
        return kind(lease_id=LEASE, tx_hash=bytes([self.count]) * 32, **place, **values)


def opened(log):
    terms = TERMS.abi_tuple()
    return log(Opened, renter=TERMS.renter, provider=TERMS.provider, terms=terms)


def settled(log, paid, provider, treasury, pool):
    return log(
        Settled,
        paid_segments=paid,
        to_provider=provider,
        to_treasury=treasury,
        to_audit_pool=pool,
    )


def test_when_nothing_happened_then_nothing_moved():
    account = account_of(TERMS, [])
    assert (account.funded, account.paid, account.cause, account.movements) == (0, 0, None, ())


def test_when_somebody_sent_the_opening_then_its_fee_is_told_besides_the_lease():
    log = Log()
    account = account_of(TERMS, [opened(log), log(RelayerPaid, relayer=AUDITOR, amount=700)])
    assert (account.funded, account.relay_fee, account.held) == (TERMS.cost, 700, TERMS.cost)
    assert [(move.what, move.to, move.amount) for move in account.movements][1:] == [
        ("relay fee", AUDITOR, 700)
    ]


def test_when_a_lease_completes_then_paid_and_refunded_are_what_was_funded():
    log = Log()
    account = account_of(
        TERMS,
        [
            opened(log),
            log(Committed, up_to=10, trace_root=b"", root=b""),
            settled(log, 10, 9_700, 200, 100),
            log(Committed, up_to=20, trace_root=b"", root=b""),
            settled(log, 20, 9_700, 200, 100),
            log(Closed, cause=CloseCause.PROVIDER_CLOSED, paid_segments=20, refund=10_000),
        ],
    )
    assert account.funded == TERMS.cost == 30_000
    assert (account.paid, account.refunded, account.held) == (20_000, 10_000, 0)
    assert (account.paid_segments, account.committed_segments, account.num_commits) == (20, 20, 2)
    assert account.cause is CloseCause.PROVIDER_CLOSED
    assert [(move.what, move.amount) for move in account.movements] == [
        ("funded by the renter", 30_000),
        ("paid to the provider", 9_700),
        ("market fee", 200),
        ("auditors' share", 100),
        ("paid to the provider", 9_700),
        ("market fee", 200),
        ("auditors' share", 100),
        ("refund", 10_000),
    ]


def test_when_a_cheat_is_caught_then_the_slash_is_counted():
    log = Log()
    account = account_of(
        TERMS,
        [
            opened(log),
            log(Committed, up_to=10, trace_root=b"", root=b""),
            log(Challenged, challenger=AUDITOR, segment=3, bond=2_000),
            log(
                Ruled,
                fraud=True,
                good_segments=0,
                slashed_to_renter=28_000,
                challenger=AUDITOR,
                slashed_to_challenger=2_000,
                bonds_to_provider=0,
                bonds_to_audit_pool=0,
            ),
            log(BondReturned, challenger=AUDITOR, amount=2_000),
            log(Closed, cause=CloseCause.FRAUD, paid_segments=0, refund=30_000),
        ],
    )
    assert (account.slashed, account.refunded, account.paid) == (28_000, 30_000, 0)
    assert account.challenged
    assert account.cause is CloseCause.FRAUD


def test_when_the_arbiter_says_honest_then_nothing_is_slashed():
    log = Log()
    account = account_of(
        TERMS,
        [
            opened(log),
            log(
                Ruled,
                fraud=False,
                good_segments=3,
                slashed_to_renter=0,
                challenger=AUDITOR,
                slashed_to_challenger=0,
                bonds_to_provider=1_000,
                bonds_to_audit_pool=1_000,
            ),
        ],
    )
    assert (account.slashed, account.held) == (0, 30_000)


def test_when_fraud_is_proved_after_the_end_then_the_slash_is_counted():
    log = Log()
    account = account_of(
        TERMS,
        [
            opened(log),
            log(DataDemanded, demander=AUDITOR, segment=3, bond=2_000),
            log(Unretrievable, good_segments=0),
            log(BondReturned, challenger=AUDITOR, amount=2_000),
            log(Closed, cause=CloseCause.UNRETRIEVABLE, paid_segments=0, refund=30_000),
            log(LateFraud, good_segments=0, slashed_to_renter=400, owed=100),
            log(LatePaid, slashed_to_renter=100, owed=0),
        ],
    )
    assert (account.slashed, account.refunded, account.paid) == (500, 30_000, 0)
    assert account.challenged
    assert [(m.to, m.amount) for m in account.movements[-3:]] == [
        (TERMS.renter, 30_000),
        (TERMS.renter, 400),
        (TERMS.renter, 100),
    ]


def test_when_the_renter_stops_then_the_time_is_kept():
    log = Log()
    account = account_of(TERMS, [opened(log), log(Stopped, stopped_at=77)])
    assert account.stopped_at == 77


def test_when_a_dispute_times_out_then_its_split_is_paid():
    log = Log()
    split = log(
        DisputeTimedOut,
        lowest_segment=3,
        to_provider=1_000,
        to_treasury=20,
        to_audit_pool=0,
    )
    account = account_of(TERMS, [opened(log), split])
    assert account.paid == 1_020
    assert account.held == 28_980
