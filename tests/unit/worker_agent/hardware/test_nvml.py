"""GPUs, asked of a driver that answers, is missing, or is broken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from worker_agent.hardware.errors import DriverBroken
from worker_agent.hardware.nvml import Gpu, GpuInventory, read_gpus


class DriverError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class Driver:
    """Stands in for the module pynvml."""

    NVMLError = DriverError
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_DRIVER_NOT_LOADED = 9

    def __init__(self, failure: int | None = None, *, count_fails: bool = False) -> None:
        self.failure = failure
        self.count_fails = count_fails
        self.open = 0

    def nvmlInit(self) -> None:
        if self.failure is not None:
            raise DriverError(self.failure)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        if self.count_fails:
            raise DriverError(15)
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"NVIDIA H200" if handle == 0 else "NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=150_754_820_096 - handle)

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetMinorNumber(self, handle: int) -> int:
        return 3 - handle

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"


def test_when_the_driver_answers_then_the_gpus_are_named_with_their_nodes() -> None:
    driver = Driver()
    assert read_gpus(driver) == GpuInventory(
        driver="580.95.05",
        gpus=(
            Gpu(
                name="NVIDIA H200",
                memory_bytes=150_754_820_096,
                uuid="GPU-0",
                device_node="/dev/nvidia3",
            ),
            Gpu(
                name="NVIDIA H200",
                memory_bytes=150_754_820_095,
                uuid="GPU-1",
                device_node="/dev/nvidia2",
            ),
        ),
    )
    assert driver.open == 0


@pytest.mark.parametrize("value", [9, 12])
def test_when_there_is_no_driver_then_there_are_no_gpus(value: int) -> None:
    assert read_gpus(Driver(value)) == GpuInventory()


def test_when_the_driver_is_broken_then_it_is_not_taken_for_a_machine_without_gpus() -> None:
    with pytest.raises(DriverBroken, match="restarted"):
        read_gpus(Driver(18))
    driver = Driver(count_fails=True)
    with pytest.raises(DriverBroken, match="error 15"):
        read_gpus(driver)
    assert driver.open == 0


def test_when_this_machine_is_asked_then_it_answers() -> None:
    inventory = read_gpus()
    assert bool(inventory.gpus) == bool(inventory.driver)
