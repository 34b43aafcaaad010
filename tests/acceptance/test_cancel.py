"""A renter stops a running job."""

from __future__ import annotations

import pytest

from client_sdk.protocol.verdicts import Verdict
from client_sdk.verify import load_receipt, verify
from tests.support.stack import DIGITS, Renter, Stack, finish, gridlease

pytestmark = pytest.mark.timeout(900)
STOP_AFTER_SEGMENTS = 3


def test_when_the_renter_cancels_then_finished_segments_are_paid_and_the_rest_comes_back(
    stack: Stack, renter: Renter
) -> None:
    before = renter.balance()
    job = renter.client.run(DIGITS)
    for update in job.watch():
        if update.status is not None and update.status.segments_done >= STOP_AFTER_SEGMENTS:
            break
    done = gridlease("cancel", job.id, environ=renter.environ(stack))
    assert done.returncode == 0, done.stderr
    at_stop = job.status().segments_done
    status = finish(job)

    account = status.account
    price = job.terms.price_per_segment
    assert status.verdict is Verdict.RENTER_STOPPED
    assert STOP_AFTER_SEGMENTS <= account.paid_segments <= at_stop + 1
    assert account.paid == account.paid_segments * price
    assert account.refunded == job.terms.cost - account.paid > 0
    renter.client.withdraw(job.terms.token, key="test")
    assert renter.balance() == before - account.paid

    job.artifacts()
    report = verify(
        load_receipt(job.receipt()),
        renter.client.chain,
        artifacts=renter.client.home.artifacts(job.id),
        record=job.record,
    )
    assert report.holds, report.findings
    last = account.paid_segments - 1
    assert any(f"state of segment {last}" in line for line in report.checks), report
    assert 0 < report.metrics["accuracy"] <= 1
