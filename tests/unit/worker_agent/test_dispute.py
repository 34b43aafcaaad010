"""When an answer in a dispute comes too late to be judged."""

from __future__ import annotations

from typing import Any

import pytest

from client_sdk.protocol.states import AuditState
from tests.fakes.cases import Committed
from worker_agent.dispute import Dispute
from worker_agent.exchange import AuditView

OTHER_ID = "aud_01M8498KNAF9QBYEWW1M2N52KV"
ASSIGNED, READY = AuditState.ASSIGNED, AuditState.INPUTS_READY
REPORTED, OPENED = AuditState.REPORTED, AuditState.OPENED


@pytest.fixture(scope="module")
def lease() -> Committed:
    return Committed.make()


@pytest.fixture
def dispute(lease: Committed) -> Dispute:
    return Dispute(lease.lease_id, 1000, 1100)


def row(lease: Committed, state: AuditState, **changes: Any) -> AuditView:
    return lease.view(state=state, **changes)


@pytest.mark.parametrize(
    ("looks", "late"),
    [
        ([(1000, ASSIGNED), (1049, ASSIGNED)], False),
        ([(1000, ASSIGNED), (1050, ASSIGNED)], True),
        # Pointed lower when half of the time was nearly over: half of the rest.
        ([(1048, ASSIGNED), (1073, ASSIGNED)], False),
        ([(1048, ASSIGNED), (1074, ASSIGNED)], True),
        # The opening's turn begins with the report; inputs that are no inputs begin no turn.
        ([(1000, ASSIGNED), (1060, REPORTED), (1079, OPENED)], False),
        ([(1060, REPORTED), (1080, OPENED)], True),
        ([(1000, ASSIGNED), (1049, READY), (1050, READY)], True),
        # Who looks for the first time gives the rest of the time its half.
        ([(1099, ASSIGNED)], True),
        ([(1098, ASSIGNED)], False),
    ],
)
def test_when_it_is_missing_after_half_of_the_time_that_was_left_then_it_is_late_for_good(
    lease: Committed, dispute: Dispute, looks: list[tuple[int, AuditState]], late: bool
) -> None:
    for now, state in looks:
        assert not dispute.is_late(row(lease, state))
        dispute.missed(row(lease, state), now)
    assert dispute.is_late(row(lease, OPENED)) is late
    assert not dispute.is_late(row(lease, OPENED, audit_id=OTHER_ID)), "of this row only"
    assert not dispute.is_late(row(lease, OPENED, market="http://other.test")), "nor of its like"


def test_when_one_market_has_the_data_then_they_are_not_missing_at_all_of_them(
    lease: Committed, dispute: Dispute
) -> None:
    here, there = row(lease, ASSIGNED), row(lease, ASSIGNED, audit_id=OTHER_ID)
    assert dispute.missed(here, 1000)
    dispute.found(there)
    assert not dispute.missed(here, 1001)
    assert dispute.missed(row(lease, ASSIGNED, segment=2, audit_id="x"), 1001), "another segment"
    assert dispute.missed(there, 1002)
