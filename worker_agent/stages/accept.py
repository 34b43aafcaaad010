"""Stage ``accept``: the machine is what its listing says. Our probe only, no code of the renter."""

from __future__ import annotations

from client_sdk.protocol.machine import MachineDocument
from worker_agent.errors import WorkerError
from worker_agent.hardware.classify import measure_class
from worker_agent.hardware.facts import read_facts
from worker_agent.stages.attempt import Attempt


class AcceptanceFailed(WorkerError):
    """The machine is not what its listing says."""


def accept(attempt: Attempt, document: MachineDocument) -> None:
    """Measure the hardware class again, in the sandbox that the job will run in.

    Skipped for metered jobs, whose results nobody compares, and in an attempt that goes on after
    a restart of the worker.

    Raises
    ------
    AcceptanceFailed
        The machine computes other bits than those of its class.
    HardwareError
        The probe could not run.
    """
    machinery = attempt.machinery
    if attempt.record.accepted or attempt.terms.metered:
        return
    facts = read_facts(machinery.context.folder("sandbox"))
    measured = measure_class(machinery.sandbox, facts, runs=1)
    if measured.digest != document.hardware_class:
        raise AcceptanceFailed(
            f"the probe gives 0x{measured.digest.hex()}, the listing says "
            f"0x{document.hardware_class.hex()}"
        )
    machinery.leases.update(attempt.lease_id, accepted=True)
