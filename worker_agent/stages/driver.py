"""Drives the stages of one attempt and turns whatever ends it into a verdict with evidence."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any, Final

from client_sdk.chain.signing import sign
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.machine import MachineDocument
from client_sdk.protocol.states import AttemptState
from client_sdk.protocol.verdicts import Evidence, Verdict
from worker_agent.cheat import execute_or_cheat
from worker_agent.errors import BadArtifact, JobFailed, NetworkFailed, ProviderFault, StageTimeout
from worker_agent.execution import Outcome, OutcomeKind
from worker_agent.hardware.errors import HardwareError
from worker_agent.inputs import JobInputs
from worker_agent.sandbox.errors import SandboxError
from worker_agent.stages.accept import AcceptanceFailed, accept
from worker_agent.stages.attempt import Attempt
from worker_agent.stages.prepare import prepare

log = logging.getLogger(__name__)
_RETRY_S: Final = 2.0
_MAX_FAULTS: Final = 3


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a job's execution ended.

    ``details`` are public: numbers and words of ours, nothing that the job printed. ``text`` goes
    to the renter only, encrypted.
    """

    verdict: Verdict
    evidence: Evidence
    text: str = ""
    details: dict[str, Any] = field(default_factory=dict)


_STOPS: Final = {
    Verdict.RENTER_STOPPED: Evidence.STOP_EVENT,
    Verdict.EXPIRED: Evidence.DEADLINE,
    Verdict.BUDGET_EXHAUSTED: Evidence.LAST_VOUCHER,
}
"""Reasons for which an execution is asked to stop."""


def run_stages(attempt: Attempt, document: MachineDocument) -> Ending | None:
    """Run ``prepare``, ``accept``, ``execute`` and ``prove``; ``upload`` follows the verdict.

    Returns
    -------
    Ending | None
        ``None`` when the attempt was dropped.
    """
    try:
        _enter(attempt, AttemptState.PREPARING, "fetching and checking the inputs")
        inputs = _prepare_in_time(attempt)
        _enter(attempt, AttemptState.ACCEPTING, "measuring the machine")
        accept(attempt, document)
        _enter(attempt, AttemptState.EXECUTING, "starting the program")
        return _execute(attempt, inputs)
    except AcceptanceFailed as error:
        log.error("lease %s: %s", attempt.lease_id[:10], error)
        return _rejected(attempt, error)
    except JobFailed as error:
        details = {"exit_code": error.exit_code}
        return Ending(Verdict.JOB_FAILED, Evidence.EXIT_RECORD, str(error), details)
    except NetworkFailed as error:
        return Ending(Verdict.NETWORK_FAULT, Evidence.OPERATOR_STATEMENT, str(error))
    except (ProviderFault, BadArtifact, ProtocolError, SandboxError, HardwareError) as error:
        log.error("lease %s: %s", attempt.lease_id[:10], error)
        return Ending(Verdict.PROVIDER_FAULT, Evidence.OPERATOR_STATEMENT, str(error))


def _rejected(attempt: Attempt, error: AcceptanceFailed) -> Ending:
    """Sign the failure: with it anybody ends the lease, and the renter gets all its money back."""
    context, report = attempt.machinery.context, error.report
    signature = sign(report.statement, context.chain.domain, context.account)
    details = {"report": report.to_json(), "signature": to_hex(signature)}
    return Ending(Verdict.ACCEPTANCE_FAILED, Evidence.PROBE_DIGESTS, str(error), details)


def _enter(attempt: Attempt, state: AttemptState, text: str) -> None:
    attempt.machinery.leases.journal.note("attempt", attempt.attempt_id, state)
    attempt.frames.state(state.value, text)


def _prepare_in_time(attempt: Attempt) -> JobInputs:
    """Try again while the market is away, until the stage's deadline."""
    limit_s = attempt.machinery.context.settings.prepare_limit_s
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return prepare(attempt)
        except NetworkFailed as error:
            if attempt.control.cancelled or time.monotonic() > deadline:
                raise StageTimeout("prepare", limit_s) from error
            time.sleep(_RETRY_S)


def _execute(attempt: Attempt, inputs: JobInputs) -> Ending | None:
    """Execute until there is an outcome that is not this machine's own fault."""
    for fault in range(1, _MAX_FAULTS + 1):
        if attempt.control.cancelled:
            return None
        if attempt.control.stop_left_s is not None:
            return _stopped(attempt, "stopped before the program ran")
        try:
            outcome = execute_or_cheat(attempt, inputs)
        except SandboxError as error:
            outcome = Outcome(OutcomeKind.OUR_FAULT, str(error))
        if outcome.kind is not OutcomeKind.OUR_FAULT:
            return _ending_of(attempt, outcome)
        log.warning("lease %s: fault %d: %s", attempt.lease_id[:10], fault, outcome.text)
        time.sleep(_RETRY_S)
    raise ProviderFault("the sandbox failed again and again")


def _ending_of(attempt: Attempt, outcome: Outcome) -> Ending | None:
    if outcome.kind is OutcomeKind.CANCELLED:
        return None
    if outcome.kind is OutcomeKind.FINISHED:
        return _finished(attempt)
    if outcome.kind is OutcomeKind.STOPPED and attempt.control.stop_reason:
        return _stopped(attempt, outcome.text)
    text = outcome.text or "the program ended before its run did"
    details = {"exit_code": outcome.code, "hung": outcome.kind is OutcomeKind.HUNG}
    details["too_slow"] = outcome.kind is OutcomeKind.TOO_SLOW
    return Ending(Verdict.JOB_FAILED, Evidence.EXIT_RECORD, text, details)


def _finished(attempt: Attempt) -> Ending:
    rows = attempt.machinery.leases.segments(attempt.lease_id)
    details: dict[str, Any] = {"segments": len(rows)}
    if attempt.terms.metered:
        return Ending(Verdict.COMPLETED, Evidence.LAST_VOUCHER, details=details)
    if rows and (rows[-1].final or len(rows) >= attempt.terms.segments):
        details["final"] = rows[-1].final
        return Ending(Verdict.COMPLETED, Evidence.FINAL_COMMIT, details=details)
    text = "the program ended without finishing a segment"
    return Ending(Verdict.JOB_FAILED, Evidence.EXIT_RECORD, text, {"exit_code": 0})


def _stopped(attempt: Attempt, text: str) -> Ending:
    verdict = Verdict(attempt.control.stop_reason)
    rows = attempt.machinery.leases.segments(attempt.lease_id)
    return Ending(verdict, _STOPS[verdict], text, {"segments": len(rows)})
