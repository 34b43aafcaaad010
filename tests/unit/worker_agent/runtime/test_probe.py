"""The hardware-class probe gives the same digest again, and another for another thread count."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

from worker_agent.runtime import probe


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    deterministic, num_threads = (
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    )
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(num_threads)


def test_when_the_probe_runs_twice_then_its_digests_are_equal() -> None:
    first = probe.probe_digest(num_threads=1, device_name="cpu")
    torch.rand(100)  # whatever the process did between must not matter
    second = probe.probe_digest(num_threads=1, device_name="cpu")

    assert first == second
    assert len(first) == 32


def test_when_the_program_runs_then_it_prints_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "1")

    assert probe.main(["--threads", "1", "--device", "cpu"]) == 0

    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    assert report["schema"] == "gridlease/hardware-probe/1"
    assert report["digest"] == "0x" + probe.probe_digest(num_threads=1, device_name="cpu").hex()
    assert (report["threads"], report["device"]) == (1, "cpu")
