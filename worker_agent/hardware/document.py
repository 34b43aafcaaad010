"""The machine document that a provider lists."""

from __future__ import annotations

import re

from client_sdk.protocol.machine import Isolation, MachineDocument
from worker_agent.hardware.classify import HardwareClass
from worker_agent.hardware.facts import MachineFacts
from worker_agent.sandbox.base import GIB, MIB

_DISK_SHARE = 2
"""Half of what is free is offered: the inputs and checkpoints of jobs lie beside their disks."""
_MEMORY_RESERVE = GIB
"""What the machine keeps for itself, the worker included."""
_DISK_STEP = 8 * GIB
"""Free disk changes all the time; the document, and with it the listing, should not."""


def _down(value: int, step: int) -> int:
    """Round down to a multiple of ``step``, unless that leaves nothing."""
    return value // step * step or value


def _plain(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:96]


def machine_document(
    facts: MachineFacts,
    measured: HardwareClass,
    isolation: Isolation,
    *,
    encryption_key: bytes,
    region: str = "",
) -> MachineDocument:
    """Return the document of this machine.

    Parameters
    ----------
    facts
        What the machine has.
    measured
        Its hardware class.
    isolation
        What its sandbox enforces.
    encryption_key
        32 bytes, X25519 public key that job keys are wrapped to.
    region
        Where the machine stands, as the provider says.
    """
    memory = facts.memory_bytes
    gpus = [gpu for gpu in facts.inventory.gpus if gpu.name == facts.gpu_name]
    return MachineDocument(
        gpu_name=_plain(facts.gpu_name),
        gpu_count=len(gpus),
        gpu_memory_bytes=min((gpu.memory_bytes for gpu in gpus), default=0),
        cpu_name=_plain(facts.cpu_name),
        cpu_count=facts.cpu_count,
        memory_bytes=_down(max(memory - _MEMORY_RESERVE, memory // 2), MIB),
        disk_bytes=_down(facts.disk_bytes // _DISK_SHARE, _DISK_STEP),
        region=_plain(region),
        driver=_plain(facts.inventory.driver),
        torch=_plain(measured.torch),
        isolation=isolation,
        hardware_class=measured.digest,
        encryption_key=encryption_key,
    )
