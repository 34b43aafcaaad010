"""GPUs of this machine, as the NVIDIA driver names them (NVML, package nvidia-ml-py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml

from worker_agent.hardware.errors import DriverBroken


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    memory_bytes: int
    uuid: str
    device_node: str
    """What a sandbox must be granted, such as ``/dev/nvidia0``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuInventory:
    """All GPUs of this machine; empty without a driver."""

    driver: str = ""
    gpus: tuple[Gpu, ...] = ()


@contextmanager
def _session(nvml: Any) -> Iterator[bool]:
    """Open NVML; yields False when this machine has no NVIDIA driver."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        absent = (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
        if error.value not in absent:
            raise DriverBroken(
                f"the NVIDIA driver does not answer ({error}): compare `nvidia-smi`; after an "
                "update of the driver the machine must be restarted"
            ) from error
        yield False
        return
    try:
        yield True
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def read_gpus(nvml: Any = pynvml) -> GpuInventory:
    """Return the GPUs of this machine.

    Parameters
    ----------
    nvml
        The module ``pynvml``, or what stands in for it.

    Raises
    ------
    DriverBroken
        When there is a driver and it fails.
    """
    with _session(nvml) as present:
        if not present:
            return GpuInventory()
        count = _asked(nvml, nvml.nvmlDeviceGetCount)
        gpus = []
        for index in range(count):
            handle = _asked(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
            minor = _asked(nvml, nvml.nvmlDeviceGetMinorNumber, handle)
            gpus.append(
                Gpu(
                    name=_text(_asked(nvml, nvml.nvmlDeviceGetName, handle)),
                    memory_bytes=int(_asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle).total),
                    uuid=_text(_asked(nvml, nvml.nvmlDeviceGetUUID, handle)),
                    device_node=f"/dev/nvidia{minor}",
                )
            )
        driver = _text(_asked(nvml, nvml.nvmlSystemGetDriverVersion))
        return GpuInventory(driver=driver, gpus=tuple(gpus))


def _asked(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return question(*arguments)
    except nvml.NVMLError as error:
        raise DriverBroken(f"the NVIDIA driver refuses a question: {error}") from error
