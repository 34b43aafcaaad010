"""A market's word for what a renter signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.chain.signing import sign
from client_sdk.protocol.terms import Voucher
from tests.fakes import parties
from tests.fakes.cases import SEGMENTS, Committed
from worker_agent.journal import Journal
from worker_agent.records import Leases
from worker_agent.vouchers import covered, refresh_voucher

Known = tuple[Committed, Leases]


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    lease = Committed.make(commit=False, window=0)
    leases = Leases(Journal(tmp_path / "journal.db"))
    leases.add(lease.record())
    yield lease, leases
    leases.journal.close()


def offer(known: Known, segments: int, key: Any = parties.RENTER, **changes: Any) -> int:
    """The market's newest voucher is this one; returns what the worker then takes as paid."""
    lease, _ = known
    voucher = replace(Voucher(lease_id=lease.lease_id, segments=segments), **changes)
    signature = "0x" + sign(voucher, lease.chain.domain, key).hex()
    shown = {"voucher": voucher.to_json(), "signature": signature}
    lease.market.vouchers[lease.lease_id.hex()] = shown
    return refresh(known)


def refresh(known: Known) -> int:
    lease, leases = known
    client = lease.market.connect(parties.OPERATOR.address)
    (record,) = leases.all()
    refresh_voucher(client, leases, record, lease.chain.domain)
    return covered(leases.all()[0])


def test_when_the_renter_signed_more_then_it_is_journaled(known: Known) -> None:
    assert refresh(known) == 0
    assert offer(known, 1) == 1
    assert offer(known, SEGMENTS) == SEGMENTS


def test_when_an_older_voucher_comes_then_the_newer_one_stays(known: Known) -> None:
    assert offer(known, 3) == 3
    assert offer(known, 2) == 3


@pytest.mark.parametrize("key", [parties.OPERATOR, parties.account("stranger")])
def test_when_the_renter_did_not_sign_it_then_it_pays_nothing(known: Known, key: Any) -> None:
    assert offer(known, 2, key) == 0


def test_when_it_is_of_another_lease_or_beyond_this_one_then_it_pays_nothing(
    known: Known,
) -> None:
    assert offer(known, 2, lease_id=b"\1" * 32) == 0
    assert offer(known, SEGMENTS + 1) == 0


@pytest.mark.parametrize("broken", [{}, {"voucher": 7}, {"signature": "0xzz"}])
def test_when_it_is_malformed_then_it_pays_nothing(known: Known, broken: dict[str, Any]) -> None:
    offer(known, 1)
    lease, _ = known
    row = lease.market.vouchers[lease.lease_id.hex()]
    lease.market.vouchers[lease.lease_id.hex()] = {**row, **broken} if broken else {"x": 1}
    assert refresh(known) == 1
