"""On a GPU: the driver's facts are what the listing says, and the class can be measured."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from client_sdk.protocol.machine import Isolation, MachineDocument
from tests.gpu.conftest import ROOT
from worker_agent.hardware.classify import HardwareClass, measure_class, parse_report
from worker_agent.hardware.document import machine_document
from worker_agent.hardware.facts import read_facts
from worker_agent.hardware.nvml import read_gpus
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.gpu


def test_when_nvml_is_read_then_name_memory_and_uuid_are_those_that_torch_sees() -> None:
    gpus = read_gpus().gpus
    assert len(gpus) >= torch.cuda.device_count()
    seen = torch.cuda.get_device_properties(0)
    (gpu,) = [gpu for gpu in gpus if gpu.uuid == f"GPU-{seen.uuid}"]

    assert gpu.name == seen.name
    # NVML counts what the driver keeps for itself too.
    assert seen.total_memory <= gpu.memory_bytes < seen.total_memory * 1.05
    assert Path(gpu.device_node).is_char_device()


def test_when_nvml_is_read_then_the_driver_is_the_one_that_the_kernel_runs() -> None:
    version = Path("/proc/driver/nvidia/version").read_text()
    found = re.search(r"\b(\d+\.\d+(\.\d+)?)\b", version)
    assert found is not None
    assert read_gpus().driver == found[1]


def test_when_a_machine_with_a_gpu_is_described_then_its_document_names_the_gpu(
    tmp_path: Path,
) -> None:
    facts = read_facts(tmp_path)
    assert facts.device == "cuda"
    assert facts.offered_gpus
    measured = HardwareClass(
        digest=b"d" * 32, torch=torch.__version__, device="cuda", threads=1, seconds=1.0
    )
    document = machine_document(facts, measured, Isolation.STRONG, encryption_key=b"k" * 32)

    assert MachineDocument.from_bytes(document.canonical()) == document
    assert document.gpu_name == torch.cuda.get_device_name(0)
    assert document.gpu_count == len(facts.offered_gpus)
    assert document.gpu_memory_bytes > 2**30
    assert document.driver == read_gpus().driver


def probe(device: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "worker_agent.runtime.probe", "--device", device],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    return parse_report(ended.stdout)


@pytest.fixture(scope="module")
def digests() -> list[str]:
    """The class of this GPU, measured twice at the same time without a sandbox, and the CPU's."""
    with ThreadPoolExecutor() as pool:
        return [str(report["digest"]) for report in pool.map(probe, ("cuda", "cuda", "cpu"))]


def test_when_the_probe_runs_twice_on_the_gpu_then_its_digests_are_equal(
    digests: list[str],
) -> None:
    assert digests[0] == digests[1]


def test_when_the_probe_runs_on_gpu_and_cpu_then_each_has_a_class_of_its_own(
    digests: list[str],
) -> None:
    assert digests[0] != digests[2]


def test_when_the_class_is_measured_in_the_sandbox_then_it_is_that_of_the_bare_gpu(
    digests: list[str], tmp_path: Path
) -> None:
    sandbox = detect(SandboxSettings(state_dir=tmp_path, allow_weak=True))
    try:
        measured = measure_class(sandbox, read_facts(tmp_path), runs=1)
    finally:
        sandbox.close()

    assert measured.device == "cuda"
    assert f"0x{measured.digest.hex()}" == digests[0]
