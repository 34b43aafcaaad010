from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.offers import Offer
from client_sdk.protocol.verification import Verification
from tests.fakes import parties
from tests.fakes.cases import Committed
from tests.fakes.chain import TOKEN, FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST
from worker_agent.errors import OrderRejected
from worker_agent.execution import Pace
from worker_agent.quotes import (
    Machine,
    Measured,
    check_manifest,
    check_order,
    make_terms,
    pace_of,
)

NOW = 1_700_000_000
GIB = 1 << 30
MEASURED = Measured(step_s=0.5, boundary_s=0.25, state_bytes=1000)
MACHINE = Machine(memory_bytes=2 * GIB, disk_bytes=2 * GIB, cpu_cores=2, gpu_name="", gpu_count=0)


@pytest.fixture
def chain() -> FakeChain:
    return FakeChain(parties.ARBITER.address)


@pytest.fixture
def job(tmp_path: Path, chain: FakeChain) -> parties.Job:
    return parties.make_job(tmp_path, FakeMarket(chain))


def offer(**changes: Any) -> Offer:
    made = Offer(
        provider=parties.OWNER.address,
        operator=parties.OPERATOR.address,
        token=TOKEN.address,
        arbiter=parties.ARBITER.address,
        listing_id=b"\1" * 32,
        machine_hash=b"\2" * 32,
        hardware_class=CLASS_DIGEST,
        encryption_key=b"\3" * 32,
        price_per_hour=3_600_000,
        fee_bps=100,
        audit_bps=300,
        max_segments=100,
        min_segment_seconds=0,
        verification=Verification.REPLAY.bit | Verification.METERED.bit,
        issued_at=NOW,
        expires_at=NOW + 600,
        nonce=7,
    )
    return replace(made, **changes)


def test_when_all_fits_then_terms_keep_the_offers_promises(
    tmp_path: Path, chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain)
    check_order(replace(order, min_bond=10**9), offer(), NOW, 10**9, order.budget)
    check_manifest(job.manifest, order, offer(), MACHINE, 3600)
    settings = parties.make_settings(tmp_path)
    terms = make_terms(order, offer(), job.manifest, MEASURED, settings, NOW, 10**12)
    # 4 steps of 0.5 s and 0.25 s of hashing, at a token an hour... rounded up once.
    assert terms.price_per_segment == 2250
    assert (terms.segments, terms.cost, terms.bond) == (5, 11_250, 11_250)
    assert (terms.window, terms.commit_grace, terms.dispute_timeout) == (20, 15, 64)
    assert terms.min_segment_seconds == 0  # at most half of what was measured
    assert terms.open_by == NOW + settings.open_within_s
    assert (terms.fee_bps, terms.audit_bps) == (100, 300)
    assert terms.machine_hash == offer().machine_hash


@pytest.mark.parametrize(
    ("caps", "refused"),
    [
        ({"max_window": 20}, None),
        ({"max_window": 19}, "max_window"),
        ({"max_window": 20, "min_bond_bps": 10_001}, "min_bond_bps"),
        ({"max_window": 19, "max_price_per_segment": 0}, None),
    ],
)
def test_when_others_may_open_an_order_then_our_terms_keep_its_caps(
    tmp_path: Path,
    chain: FakeChain,
    job: parties.Job,
    caps: dict[str, int],
    refused: str | None,
) -> None:
    wide = {"min_window": 15, "max_dispute_timeout": 600, "max_first_commit": 3600}
    changes = wide | {"max_price_per_segment": 2250} | caps
    order, _ = parties.make_order(job, offer(), chain, **changes)
    settings = parties.make_settings(tmp_path)
    if refused is None:
        assert make_terms(order, offer(), job.manifest, MEASURED, settings, NOW, 10**12)
        return
    with pytest.raises(OrderRejected, match=f"do not keep your {refused}") as found:
        make_terms(order, offer(), job.manifest, MEASURED, settings, NOW, 10**12)
    assert found.value.code == "unsupported"


def test_when_segments_are_long_then_the_periods_leave_time_for_audits(
    tmp_path: Path, chain: FakeChain, job: parties.Job
) -> None:
    slow = Measured(step_s=25.0, boundary_s=0.0, state_bytes=1000)
    order, _ = parties.make_order(job, offer(), chain)
    terms = make_terms(
        order, offer(), job.manifest, slow, parties.make_settings(tmp_path), NOW, 10**12
    )
    assert (terms.window, terms.dispute_timeout, terms.commit_grace) == (310, 1532, 160)
    assert terms.min_segment_seconds == 40
    assert terms.first_commit_within == 600


@pytest.mark.parametrize(
    ("input_bytes", "state_bytes", "timeout"),
    [
        (0, 250, 64),
        (20 * GIB, 0, 2 * 4295),  # 20 GiB at 10 MB/s, in a quarter of the time
        (200_000_000, 0, 2 * (32 + 20)),
        (0, 50_000_000, 4 * 5 * 20),  # five segments of 2.25 s, all unpaid at once
        (0, GIB, 2 * 1074),  # no checkpoint is larger than the disk
    ],
)
def test_when_inputs_are_large_then_a_dispute_leaves_time_to_upload_them(
    tmp_path: Path,
    chain: FakeChain,
    input_bytes: int,
    state_bytes: int,
    timeout: int,
) -> None:
    job = parties.make_job(tmp_path, FakeMarket(chain), disk_bytes=GIB)
    order, _ = parties.make_order(job, offer(), chain)
    settings = parties.make_settings(tmp_path, upload_bytes_per_s=10_000_000)
    measured = replace(MEASURED, input_bytes=input_bytes, state_bytes=state_bytes)
    terms = make_terms(order, offer(), job.manifest, measured, settings, NOW, 10**12)
    assert terms.dispute_timeout == timeout


@pytest.mark.parametrize(
    ("segments", "step_s", "num_checkpoints"),
    [
        (100, 0.5, 21),  # segments of 2 s, windows of 20 s
        (100, 25.0, 8),  # 100 s, 310 s
        (7, 25.0, 7),
        (100, 0.0, 100),  # it is the script that says how long its steps take
    ],
)
def test_when_many_segments_can_be_unpaid_then_a_dispute_leaves_time_for_all_their_checkpoints(
    tmp_path: Path, chain: FakeChain, segments: int, step_s: float, num_checkpoints: int
) -> None:
    disk_bytes = 40_000_000_000  # 4,000 s at 10 MB/s: longer than the runs
    job = parties.make_job(
        tmp_path, FakeMarket(chain), disk_bytes=disk_bytes, max_segments=segments
    )
    order, _ = parties.make_order(job, offer(), chain, max_duration_s=86_400)
    settings = parties.make_settings(tmp_path, upload_bytes_per_s=10_000_000)
    measured = Measured(step_s=step_s, boundary_s=0.0, state_bytes=disk_bytes)
    terms = make_terms(order, offer(), job.manifest, measured, settings, NOW, 10**12)
    assert terms.dispute_timeout == 4 * num_checkpoints * 4_000


@pytest.mark.parametrize("openable", [False, True])
def test_when_an_upload_takes_longer_than_disputes_may_last_then_the_order_is_declined(
    tmp_path: Path, chain: FakeChain, job: parties.Job, openable: bool
) -> None:
    caps = {"max_dispute_timeout": 400, "max_price_per_segment": 2250, "min_window": 15}
    wide = {"max_window": 20, "max_first_commit": 3600}
    order, _ = parties.make_order(job, offer(), chain, **(caps | wide if openable else {}))
    settings = parties.make_settings(tmp_path, upload_bytes_per_s=1_000)
    fits = 100_000 if openable else 1_943_000_000
    measured = replace(MEASURED, input_bytes=fits, state_bytes=0)
    assert make_terms(order, offer(), job.manifest, measured, settings, NOW, 10**12)
    large = replace(measured, input_bytes=fits + 2_000_000)
    with pytest.raises(OrderRejected, match="bring less, or allow longer") as refused:
        make_terms(order, offer(), job.manifest, large, settings, NOW, 10**12)
    assert refused.value.code == "too_large"


@pytest.mark.parametrize(("step_s", "first"), [(40.0, 600), (40.25, 603)])
def test_when_segments_are_very_long_then_the_first_commit_waits_for_three_and_the_start(
    tmp_path: Path, chain: FakeChain, job: parties.Job, step_s: float, first: int
) -> None:
    slow = Measured(step_s=step_s, boundary_s=0.0, state_bytes=1000)
    order, _ = parties.make_order(job, offer(), chain)
    settings = parties.make_settings(tmp_path)
    terms = make_terms(order, offer(), job.manifest, slow, settings, NOW, 10**12)
    assert terms.first_commit_within == first


def test_when_a_lease_is_short_then_its_first_commit_is_due_within_it(
    tmp_path: Path, chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain, max_duration_s=60)
    settings = parties.make_settings(tmp_path)
    terms = make_terms(order, offer(), job.manifest, MEASURED, settings, NOW, 10**12)
    assert (terms.max_duration, terms.first_commit_within) == (60, 60)


def test_when_an_order_wants_less_than_the_whole_job_then_no_more_is_sold(
    tmp_path: Path, chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain, segments=3)
    settings = parties.make_settings(tmp_path)
    terms = make_terms(order, offer(), job.manifest, MEASURED, settings, NOW, 10**12)
    assert (terms.segments, terms.bond) == (3, 6_750)


def test_when_a_renter_holds_less_than_its_budget_then_the_order_is_declined(
    chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain)
    with pytest.raises(OrderRejected, match="less than the budget") as refused:
        check_order(order, offer(), NOW, 10**9, order.budget - 1)
    assert refused.value.code == "unfunded"


def test_when_a_program_takes_longer_than_it_said_in_its_probe_then_it_gets_a_bounded_time() -> (
    None
):
    record = Committed.make().record(probe_s=20.0, segment_s=8.0)
    assert pace_of(record, 1.5) == Pace(setup_s=60 + 3 * 20, segment_s=12)


def test_when_the_job_is_metered_then_there_is_neither_window_nor_bond(
    tmp_path: Path, chain: FakeChain
) -> None:
    job = parties.make_job(tmp_path, FakeMarket(chain), verification=Verification.METERED)
    order, _ = parties.make_order(job, offer(), chain)
    check_manifest(job.manifest, order, offer(), MACHINE, 3600)
    terms = make_terms(
        order, offer(), job.manifest, MEASURED, parties.make_settings(tmp_path), NOW, 0
    )
    assert (terms.window, terms.bond, terms.price_per_segment) == (0, 0, 1000)
    assert terms.dispute_timeout == parties.make_settings(tmp_path).dispute_timeout_s


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"expires_at": NOW - 1}, "expired"),
        ({"listing_id": b"\4" * 32}, "not_mine"),
        ({"token": parties.RENTER.address}, "unsupported"),
        ({"arbiter": parties.RENTER.address}, "unsupported"),
        ({"max_price_per_hour": 3_599_999}, "over_budget"),
        ({"verification": Verification.RERUN.bit}, "unsupported"),
        ({"verification": 9}, "unsupported"),
        ({"min_bond": 10**9 + 1}, "over_budget"),
    ],
)
def test_when_an_order_breaks_the_offer_then_it_is_declined(
    chain: FakeChain, job: parties.Job, change: dict[str, Any], code: str
) -> None:
    order, _ = parties.make_order(job, offer(), chain, **change)
    with pytest.raises(OrderRejected) as refused:
        check_order(order, offer(), NOW, 10**9, 10**9)
    assert refused.value.code == code


def test_when_the_offer_has_lapsed_then_the_order_is_declined(
    chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain)
    with pytest.raises(OrderRejected, match="take a fresh one"):
        check_order(order, offer(expires_at=NOW), NOW, 10**9, 10**9)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"hardware_class": b"\5" * 32}, "wrong_class"),
        ({"memory_bytes": 2 * GIB + 1}, "too_large"),
        ({"disk_bytes": 2 * GIB + 1}, "too_large"),
        ({"threads": 3}, "too_large"),
        ({"gpu": "H200", "gpu_count": 1}, "too_large"),
    ],
)
def test_when_the_machine_is_too_small_then_the_order_is_declined(
    tmp_path: Path, chain: FakeChain, change: dict[str, Any], code: str
) -> None:
    job = parties.make_job(tmp_path, FakeMarket(chain), **change)
    order, _ = parties.make_order(job, offer(), chain)
    with pytest.raises(OrderRejected) as refused:
        check_manifest(job.manifest, order, offer(), MACHINE, 3600)
    assert refused.value.code == code


def test_when_manifest_and_order_differ_in_mode_or_last_too_long_then_it_is_declined(
    chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain, verification=Verification.METERED.bit)
    with pytest.raises(OrderRejected, match="different verification modes"):
        check_manifest(job.manifest, order, offer(), MACHINE, 3600)
    order, _ = parties.make_order(job, offer(), chain)
    with pytest.raises(OrderRejected, match="lasts at most"):
        check_manifest(job.manifest, order, offer(), MACHINE, 599)


@pytest.mark.parametrize(
    ("order_change", "offer_change", "free_stake", "code"),
    [
        ({"budget": 11_249}, {}, 10**12, "over_budget"),
        ({"max_duration_s": 11}, {}, 10**12, "too_long"),
        ({}, {"max_segments": 4}, 10**12, "too_long"),
        ({}, {}, 11_249, "busy"),
    ],
)
def test_when_money_or_time_do_not_suffice_then_the_order_is_declined(
    tmp_path: Path,
    chain: FakeChain,
    job: parties.Job,
    order_change: dict[str, Any],
    offer_change: dict[str, Any],
    free_stake: int,
    code: str,
) -> None:
    promised = offer(**offer_change)
    order, _ = parties.make_order(job, promised, chain, **order_change)
    settings = parties.make_settings(tmp_path)
    with pytest.raises(OrderRejected) as refused:
        make_terms(order, promised, job.manifest, MEASURED, settings, NOW, free_stake)
    assert refused.value.code == code


def test_when_a_segment_would_risk_too_much_unpaid_time_then_the_order_is_declined(
    tmp_path: Path, chain: FakeChain, job: parties.Job
) -> None:
    order, _ = parties.make_order(job, offer(), chain)
    settings = parties.make_settings(tmp_path, max_segment_s=2)
    with pytest.raises(OrderRejected, match="Segments last at most 2s here"):
        make_terms(order, offer(), job.manifest, MEASURED, settings, NOW, 10**12)


def test_when_a_metered_segment_is_too_short_then_the_order_is_declined(
    tmp_path: Path, chain: FakeChain
) -> None:
    job = parties.make_job(tmp_path, FakeMarket(chain), verification=Verification.METERED)
    promised = offer(min_segment_seconds=60)
    order, _ = parties.make_order(job, promised, chain)
    with pytest.raises(OrderRejected, match="60 s or more"):
        make_terms(order, promised, job.manifest, MEASURED, parties.make_settings(tmp_path), NOW, 0)
