"""The verdict -> money table: total, consistent with the contract's causes of closing."""

from __future__ import annotations

import pytest

from client_sdk.protocol.verdicts import (
    CAUSE_VERDICTS,
    CONSEQUENCES,
    DEFAULT_VERDICT,
    Bond,
    Caller,
    CloseCause,
    Family,
    Function,
    Pay,
    Refund,
    Retry,
    Verdict,
    close_cause,
    final_verdict,
)
from contracts import events


def test_when_the_tables_are_read_then_every_verdict_and_cause_has_a_row():
    assert set(CONSEQUENCES) == set(Verdict)
    assert set(CAUSE_VERDICTS) == set(DEFAULT_VERDICT) == set(CloseCause)
    assert set().union(*CAUSE_VERDICTS.values()) == set(Verdict)
    for cause, verdict in DEFAULT_VERDICT.items():
        assert verdict in CAUSE_VERDICTS[cause]


def test_when_the_contract_numbers_its_causes_then_ours_are_the_same():
    ours = [cause.name for cause in CloseCause]
    assert ours == [cause.name for cause in events.CloseCause]
    for cause in events.CloseCause:
        assert close_cause(cause).name == cause.name


@pytest.mark.parametrize("verdict", list(Verdict))
def test_when_a_row_is_read_then_it_is_complete_and_consistent(verdict):
    row = CONSEQUENCES[verdict]
    assert row.evidence
    assert row.calls
    assert row.text.endswith(".")
    assert (row.bond is Bond.SLASHED) == (verdict is Verdict.PROOF_REJECTED)
    assert (row.renter is Refund.UNPAID_AND_BOND) == (row.bond is Bond.SLASHED)
    assert (row.renter is Refund.ALL) == (row.provider is Pay.NOTHING)
    assert (Function.RULE in row.calls) == (verdict is Verdict.PROOF_REJECTED)
    if row.family is not Family.NETWORK:
        assert row.retry is Retry.NO
    else:
        assert row.retry is not Retry.NO


def test_when_a_renter_must_get_out_then_nobody_but_the_arbiter_of_a_fraud_is_needed():
    for verdict, row in CONSEQUENCES.items():
        open_to_all = {Caller.ANYONE, Caller.PROVIDER_FIRST} & set(row.calls.values())
        assert open_to_all or verdict is Verdict.PROOF_REJECTED


def test_when_a_renter_s_code_fails_then_only_finished_segments_are_paid():
    assert CONSEQUENCES[Verdict.JOB_FAILED].provider is Pay.COMMITTED


def test_when_fraud_was_ruled_then_no_other_verdict_can_be_reported():
    for reported in (None, *Verdict):
        assert final_verdict(CloseCause.FRAUD, reported) is Verdict.PROOF_REJECTED
    for cause in set(CloseCause) - {CloseCause.FRAUD}:
        assert final_verdict(cause, Verdict.PROOF_REJECTED) is DEFAULT_VERDICT[cause]


def test_when_the_operator_reports_a_possible_verdict_then_it_stands():
    cause = CloseCause.PROVIDER_CLOSED
    assert final_verdict(cause, Verdict.JOB_FAILED) is Verdict.JOB_FAILED
    assert final_verdict(cause, None) is Verdict.PROVIDER_FAULT
    assert final_verdict(cause, Verdict.RENTER_STOPPED) is Verdict.PROVIDER_FAULT
