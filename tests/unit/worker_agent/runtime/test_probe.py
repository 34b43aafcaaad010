"""The hardware-class probe gives the same digest again, and another for another thread count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

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


def test_when_the_program_that_replays_differs_then_the_class_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = probe.probe_digest(num_threads=1, device_name="cpu")
    monkeypatch.setattr(probe, "program_digest", lambda: bytes(32))
    assert probe.probe_digest(num_threads=1, device_name="cpu") != here


@pytest.mark.parametrize(
    "folder", ["client_sdk/protocol", "client_sdk/training", "worker_agent/runtime"]
)
def test_when_a_source_changes_then_the_programs_digest_changes(
    tmp_path: Path, folder: str
) -> None:
    source = tmp_path / folder / "deep" / "state.py"
    source.parent.mkdir(parents=True)
    source.write_text("a = 1\n")
    before = probe.program_digest(tmp_path)
    assert probe.program_digest(tmp_path) == before
    source.write_text("a = 2\n")
    changed = probe.program_digest(tmp_path)
    source.rename(source.with_name("states.py"))
    assert len({before, changed, probe.program_digest(tmp_path)}) == 3


def test_when_the_program_is_digested_then_it_has_sources() -> None:
    assert probe.program_digest() != probe.program_digest(Path("/nonexistent"))


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
