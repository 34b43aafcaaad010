"""Errors of looking at the machine.

::

    HardwareError (WorkerError)
    ├── DriverBroken        there is an NVIDIA driver, and it does not answer
    ├── ProbeFailed         the hardware class could not be measured
    └── UnstableHardware    two measurements differ: no verified job can run here
"""

from __future__ import annotations

from worker_agent.errors import WorkerError


class HardwareError(WorkerError):
    """This machine cannot be described."""


class DriverBroken(HardwareError):
    """The NVIDIA driver is installed and does not answer."""


class ProbeFailed(HardwareError):
    """The hardware class could not be measured."""


class UnstableHardware(HardwareError):
    """Two measurements of this machine differ; it computes no repeatable bits and may not list.

    Parameters
    ----------
    digests
        What was measured, as 0x-hex.
    """

    def __init__(self, digests: list[str]) -> None:
        first_line = (self.__doc__ or "").splitlines()[0]
        super().__init__(
            f"{first_line} Measured {', '.join(digests)}. Look for overclocking, failing memory, "
            "or a library that picks its algorithm by timing."
        )
        self.digests = digests
