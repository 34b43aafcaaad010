"""The verdict -> money table: total, consistent with the contract's causes of closing."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk.protocol.verdicts import (
    CAUSE_VERDICTS,
    CONSEQUENCES,
    DEFAULT_VERDICT,
    Bond,
    Caller,
    CloseCause,
    Evidence,
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
from contracts.codec import load_artifact

FORGE_TESTS = Path(__file__).parents[4] / "contracts" / "test"


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


TESTS = {
    Verdict.COMPLETED: {
        Function.SETTLE: "test_settle_whenThatWasAll_closes",
        Function.SETTLE_VOUCHER: "test_settleVoucher_whenItIsTheLastSegment_closes",
        Function.CLOSE: "test_close_givenAllSegmentsMatured_completes",
    },
    Verdict.RENTER_STOPPED: {
        Function.SETTLE_VOUCHER: "test_settleVoucher_givenStoppedLease_paysUntilClosed",
        Function.CLOSE: "test_close_givenFinalCommit_needsNoGrace",
    },
    Verdict.BUDGET_EXHAUSTED: {
        Function.SETTLE: "test_settle_whenWindowIsOver_pays",
        Function.SETTLE_VOUCHER: "test_settleVoucher_whenAllIsWell_pays",
        Function.CLOSE: "test_close_whenProviderCallsWithMaturedSegments_paysThem",
    },
    Verdict.JOB_FAILED: {
        Function.SETTLE_VOUCHER: "test_settleVoucher_whenSeveralCome_paysTheDifference",
        Function.CLOSE: "test_close_whenOperatorCallsEarly_refundsAll",
    },
    Verdict.PROVIDER_LOST: {
        Function.SETTLE_VOUCHER: "test_settleVoucher_givenExpiredLease_paysUntilClosed",
        Function.CLOSE: "test_close_givenNoCommitInTime_refundsAll",
    },
    Verdict.PROVIDER_FAULT: {
        Function.SETTLE_VOUCHER: "test_settleVoucher_whenAllIsWell_pays",
        Function.CLOSE: "test_close_givenUnretrievable_isForAnybodyOnceNothingWaits",
    },
    Verdict.NETWORK_FAULT: {
        Function.SETTLE_VOUCHER: "test_settleVoucher_whenAllIsWell_pays",
        Function.TIMEOUT_DISPUTE: "test_timeoutDispute_splitsBelowTheLowestAndRefundsTheRest",
        Function.CLOSE: "test_close_whenProviderCallsWithMaturedSegments_paysThem",
    },
    Verdict.ACCEPTANCE_FAILED: {
        Function.REJECT_MACHINE: "test_rejectMachine_withTheOperatorsSignature_refundsAll",
        Function.CLOSE: "test_close_whenProviderCallsEarly_refundsAll",
    },
    Verdict.PROOF_REJECTED: {
        Function.RULE: "test_rule_whenFraud_paysGoodSlashesAndRefunds",
    },
    Verdict.EXPIRED: {
        Function.SETTLE_VOUCHER: "test_settleVoucher_givenExpiredLease_paysUntilClosed",
        Function.CLOSE: "test_close_givenMaxDurationIsOver_paysAndRefunds",
    },
}
"""The contract's test of each way to end, with the money that the row promises."""

ON_CHAIN = {
    Evidence.FINAL_COMMIT: "Committed",
    Evidence.STOP_EVENT: "Stopped",
    Evidence.LAST_VOUCHER: "Settled",
    Evidence.PROBE_DIGESTS: "MachineRejected",
    Evidence.RULING: "Ruled",
    Evidence.ATTESTATION: "Unretrievable",
    Evidence.SILENCE: "Closed",
    Evidence.DEADLINE: "Closed",
}
"""Event that shows the evidence to everybody."""
SAID = {Evidence.EXIT_RECORD, Evidence.OPERATOR_STATEMENT}
"""What the worker says, and the contract cannot see."""


def test_when_a_row_names_a_function_then_the_contract_has_it_and_a_test_shows_its_money():
    assert {verdict: set(row.calls) for verdict, row in CONSEQUENCES.items()} == {
        verdict: set(tests) for verdict, tests in TESTS.items()
    }
    functions = load_artifact("LeaseEscrow").functions
    sources = "".join(path.read_text() for path in FORGE_TESTS.glob("*.t.sol"))
    for tests in TESTS.values():
        for function, name in tests.items():
            assert function in functions
            assert f"function {name}(" in sources, name


def test_when_a_row_names_evidence_then_an_event_or_the_worker_gives_it():
    assert ON_CHAIN.keys() | SAID == set(Evidence)
    known = {item.name for item in load_artifact("LeaseEscrow").events.values()}
    assert set(ON_CHAIN.values()) <= known
    for row in CONSEQUENCES.values():
        assert set(row.evidence) <= ON_CHAIN.keys() | SAID
        # What only the worker says never costs it its bond, and never gives it the bond of others.
        assert row.bond is Bond.FREED or not SAID & set(row.evidence)


def test_when_a_machine_is_rejected_on_chain_then_no_other_verdict_can_be_reported():
    for reported in (None, *Verdict):
        found = final_verdict(CloseCause.ACCEPTANCE_FAILED, reported)
        assert found is Verdict.ACCEPTANCE_FAILED


def test_when_checkpoints_are_missing_then_it_is_the_provider_s_ending():
    for reported in (None, *Verdict):
        found = final_verdict(CloseCause.UNRETRIEVABLE, reported)
        assert found in {Verdict.PROVIDER_FAULT, Verdict.PROVIDER_LOST}
    assert Evidence.ATTESTATION in CONSEQUENCES[Verdict.PROVIDER_FAULT].evidence


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


def test_when_work_was_taken_then_the_machine_has_not_failed_its_probe():
    for cause in (CloseCause.PROVIDER_CLOSED, CloseCause.COMPLETED):
        assert final_verdict(cause, Verdict.ACCEPTANCE_FAILED) is DEFAULT_VERDICT[cause]


def test_when_the_operator_reports_a_possible_verdict_then_it_stands():
    cause = CloseCause.PROVIDER_CLOSED
    assert final_verdict(cause, Verdict.JOB_FAILED) is Verdict.JOB_FAILED
    assert final_verdict(cause, None) is Verdict.PROVIDER_FAULT
    assert final_verdict(cause, Verdict.RENTER_STOPPED) is Verdict.PROVIDER_FAULT
