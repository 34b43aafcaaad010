"""This machine's hardware class, measured in its real sandbox."""

from __future__ import annotations

from pathlib import Path

from worker_agent.hardware.classify import measure_class
from worker_agent.hardware.document import machine_document
from worker_agent.hardware.facts import read_facts
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings


def test_when_this_machine_is_measured_then_it_can_be_listed(tmp_path: Path) -> None:
    sandbox = detect(SandboxSettings(state_dir=tmp_path, allow_weak=True))
    try:
        facts = read_facts(tmp_path)
        measured = measure_class(sandbox, facts)
        isolation = sandbox.isolation
    finally:
        sandbox.close()
    assert len(measured.digest) == 32
    document = machine_document(facts, measured, isolation, encryption_key=b"k" * 32)
    assert type(document).from_bytes(document.canonical()) == document
