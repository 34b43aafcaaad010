"""Stage ``accept``: the machine is what its listing says. Our probe only, no code of the renter."""

from __future__ import annotations

import time

from client_sdk.protocol.machine import MachineDocument
from client_sdk.protocol.probe_report import ProbeReport
from worker_agent.errors import ProviderFault, WorkerError
from worker_agent.hardware.classify import measure_class
from worker_agent.hardware.facts import read_facts
from worker_agent.stages.attempt import Attempt


class AcceptanceFailed(WorkerError):
    """The machine is not what its listing says.

    Parameters
    ----------
    message:
        What differs.
    report:
        What was found, for the operator to sign.
    """

    def __init__(self, message: str, report: ProbeReport) -> None:
        super().__init__(message)
        self.report = report


def accept(attempt: Attempt, document: MachineDocument) -> None:
    """Measure the hardware class again, in the sandbox that the job will run in.

    Skipped for metered jobs, whose results nobody compares. An attempt that goes on after a
    restart of the worker is not measured again, but given up when the machine is no longer the one
    of the terms: another release or driver could compute other bits, and cost the bond.

    Raises
    ------
    AcceptanceFailed
        The machine computes other bits than those of its class, or is another than was signed for.
    ProviderFault
        The machine was changed in the middle of the job.
    HardwareError
        The probe could not run.
    """
    machinery = attempt.machinery
    if attempt.terms.metered:
        return
    changed = document.machine_hash() != attempt.terms.machine_hash
    if changed and attempt.record.accepted:
        raise ProviderFault("the machine was changed since the job began")
    if changed:
        raise AcceptanceFailed(
            "the machine was changed since the terms were signed",
            _report(attempt, document, None),
        )
    if attempt.record.accepted:
        return
    facts = read_facts(machinery.context.folder("sandbox"))
    measured = measure_class(machinery.sandbox, facts, runs=1)
    if measured.digest != document.hardware_class:
        raise AcceptanceFailed(
            f"the probe gives 0x{measured.digest.hex()}, the listing says "
            f"0x{document.hardware_class.hex()}",
            _report(attempt, document, measured.digest),
        )
    machinery.leases.update(attempt.lease_id, accepted=True)


def _report(attempt: Attempt, document: MachineDocument, measured: bytes | None) -> ProbeReport:
    return ProbeReport(
        lease_id=attempt.record.digest,
        machine_hash=attempt.terms.machine_hash,
        document=document,
        measured_class=measured,
        at=int(time.time()),
    )
