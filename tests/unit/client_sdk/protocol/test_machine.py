"""The machine document."""

from __future__ import annotations

import json

import pytest

from client_sdk.protocol.errors import FieldError, MessageError, OutOfRange
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.machine import MAX_DOCUMENT_BYTES, Isolation, MachineDocument


def make_machine(**changes) -> MachineDocument:
    values = {
        "cpu_name": "AMD EPYC 9354",
        "cpu_count": 2,
        "memory_bytes": 8 << 30,
        "disk_bytes": 64 << 30,
        "torch": "2.13.0+cpu",
        "isolation": Isolation.STRONG,
        "hardware_class": b"\x01" * 32,
        "encryption_key": b"\x02" * 32,
    }
    return MachineDocument(**(values | changes))


GPU = {"gpu_name": "RTX_4090", "gpu_count": 2, "gpu_memory_bytes": 24 << 30, "driver": "560.1"}


@pytest.mark.parametrize("changes", [{}, GPU, {"download_mbps": 900, "upload_mbps": 0}])
def test_when_a_document_is_listed_then_its_bytes_and_hash_give_it_back(changes):
    machine = make_machine(**changes)
    assert MachineDocument.from_bytes(machine.canonical()) == machine
    assert machine.machine_hash() == keccak256(machine.canonical())
    assert len(machine.canonical()) <= MAX_DOCUMENT_BYTES


def test_when_bytes_are_not_canonical_then_they_are_refused():
    with pytest.raises(OutOfRange, match="canonical"):
        MachineDocument.from_bytes(json.dumps(make_machine().to_json()).encode())


def test_when_any_field_differs_then_the_hash_differs():
    base = make_machine(**GPU, download_mbps=1, upload_mbps=1)
    changes = GPU | {"download_mbps": 1, "upload_mbps": 1}
    hashes = {base.machine_hash()}
    for key, value in base.to_json().items():
        if key in ("schema", "isolation"):
            continue
        old = getattr(base, key)
        new = (
            old + 1 if isinstance(value, int) else old + "x" if isinstance(old, str) else b"\7" * 32
        )
        hashes.add(make_machine(**(changes | {key: new})).machine_hash())
    hashes.add(make_machine(**(changes | {"isolation": Isolation.WEAK})).machine_hash())
    assert len(hashes) == len(base.to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware_class": b"short"},
        {"encryption_key": bytes(33)},
        {"gpu_name": "RTX_4090"},
        {"gpu_count": 1},
        {"cpu_name": "é"},
        {"region": "x" * 97},
        {"cpu_name": '"' * 96, "torch": '"' * 96, "region": '"' * 96, "driver": '"' * 96},
    ],
)
def test_when_a_document_does_not_hold_together_then_it_is_not_made(changes):
    with pytest.raises(FieldError):
        make_machine(**changes)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("isolation", "medium"),
        ("cpu_count", 0),
        ("gpu_count", 1),
        ("region", "x" * 97),
        ("download_mbps", -1),
        ("hardware_class", "0x"),
        ("extra", 1),
        ("torch", None),
    ],
)
def test_when_json_of_a_document_is_hostile_then_it_is_refused(key, value):
    with pytest.raises(MessageError):
        MachineDocument.from_json(make_machine().to_json() | {key: value})


def test_when_bytes_are_too_many_then_they_are_refused():
    with pytest.raises(OutOfRange, match="largest"):
        MachineDocument.from_bytes(b" " * (MAX_DOCUMENT_BYTES + 1))
