"""The job manifest: what jobHash pins."""

from __future__ import annotations

import dataclasses
import json

import pytest

from client_sdk.protocol.canonical import ZERO_HASH, blake3_digest, canonical_json
from client_sdk.protocol.errors import FieldError, MessageError, OutOfRange
from client_sdk.protocol.jobspec import Audit, JobSpec
from client_sdk.protocol.manifest import DataItem, DataKind, JobManifest, data_root
from client_sdk.protocol.merkle import merkle_root
from client_sdk.protocol.verification import Verification

SPEC = {
    "name": "digits",
    "resources": {"cpu": 2, "memory": "1GiB", "disk": "2GiB"},
    "entry": "train.py",
    "args": ["--epochs", "3"],
    "data": {"b": "x", "a": "y"},
    "env": {"MODE": "full"},
    "segments": {"steps": 50, "max": 30},
    "budget": "5.00",
    "outputs": {"paths": ["model/**"]},
    "evaluate": {"entry": "evaluate.py"},
}
CLASS = b"\x03" * 32
ITEMS = [
    DataItem(name="b", kind=DataKind.FILE, hash=b"\x0b" * 32, size=5),
    DataItem(name="a", kind=DataKind.FOLDER, hash=b"\x0a" * 32, size=1024),
]


def make_manifest(**changes) -> JobManifest:
    manifest = JobManifest.from_spec(
        JobSpec.from_dict(SPEC),
        bundle_hash=b"\x01" * 32,
        data=ITEMS,
        hardware_class=CLASS,
        blinding=b"\x04" * 32,
    )
    return dataclasses.replace(manifest, **changes)


def test_when_a_manifest_is_made_of_a_spec_then_everything_that_decides_bits_is_in_it():
    manifest = make_manifest()
    assert manifest.threads == 2
    assert manifest.deterministic
    assert manifest.hardware_class == CLASS
    assert [item.name for item in manifest.data] == ["a", "b"]
    assert manifest.job_hash() == blake3_digest(manifest.canonical())
    assert manifest.data_root == merkle_root(
        [canonical_json(item.to_json()) for item in manifest.data]
    )
    assert data_root(ITEMS) == manifest.data_root
    assert not manifest.metered


def test_when_a_manifest_travels_then_only_the_bytes_that_were_named_are_accepted():
    manifest = make_manifest()
    data = manifest.canonical()
    assert JobManifest.from_bytes(data, manifest.job_hash()) == manifest
    with pytest.raises(OutOfRange, match="jobHash"):
        JobManifest.from_bytes(data + b" ", manifest.job_hash())
    spaced = json.dumps(manifest.to_json()).encode()
    with pytest.raises(OutOfRange, match="canonical"):
        JobManifest.from_bytes(spaced, blake3_digest(spaced))


def test_when_a_job_is_metered_then_no_class_is_pinned():
    spec = JobSpec.from_dict(
        SPEC | {"verification": "metered", "segments": {"seconds": 60, "max": 5}, "data": {}}
    )
    manifest = JobManifest.from_spec(
        spec, bundle_hash=b"\x01" * 32, data=[], hardware_class=CLASS, blinding=b"\x04" * 32
    )
    assert manifest.metered
    assert manifest.hardware_class == ZERO_HASH
    assert not manifest.deterministic
    assert JobManifest.from_json(manifest.to_json()) == manifest


CHANGES = {
    "name": "other",
    "bundle_hash": b"\x09" * 32,
    "data": (ITEMS[0],),
    "entry": "other.py",
    "args": ("--epochs", "4"),
    "env": {"MODE": "part"},
    "image_digest": b"\x09" * 32,
    "segment_steps": 51,
    "max_segments": 31,
    "threads": 3,
    "deterministic": False,
    "precision": "bfloat16",
    "hardware_class": b"\x09" * 32,
    "gpu": "A100",
    "gpu_count": 1,
    "memory_bytes": 1,
    "disk_bytes": 1,
    "max_duration_s": 1,
    "output_paths": (),
    "keep_s": 1,
    "evaluate": "",
    "audit": Audit.NAMED,
    "auditors": ("0x" + "01" * 20,),
    "blinding": b"\x09" * 32,
}


def test_when_any_field_changes_then_the_job_hash_changes():
    fields = {field.name for field in dataclasses.fields(JobManifest)}
    assert fields == set(CHANGES) | {"verification", "segment_seconds"}
    hashes = {make_manifest().job_hash()}
    for key, value in CHANGES.items():
        changed = make_manifest(**{key: value})
        hashes.add(changed.job_hash())
        assert JobManifest.from_json(changed.to_json()) == changed
    metered = {"verification": Verification.METERED, "segment_steps": 0}
    hashes.add(make_manifest(**metered, segment_seconds=5).job_hash())
    hashes.add(make_manifest(**metered, segment_seconds=6).job_hash())
    assert len(hashes) == len(CHANGES) + 3


@pytest.mark.parametrize("field", ["name", "kind", "hash", "size"])
def test_when_a_data_item_changes_then_the_data_root_changes(field):
    value = {"name": "c", "kind": DataKind.FILE, "hash": b"\x0c" * 32, "size": 6}[field]
    changed = dataclasses.replace(ITEMS[1], **{field: value})
    assert data_root([changed]) != data_root([ITEMS[1]])


@pytest.mark.parametrize(
    "changes",
    [
        {"data": tuple(ITEMS)},
        {"data": (ITEMS[0], ITEMS[0])},
        {"bundle_hash": b""},
        {"segment_steps": 0},
        {"segment_seconds": 5},
        {"verification": Verification.METERED},
    ],
)
def test_when_fields_do_not_hold_together_then_no_manifest_is_made(changes):
    with pytest.raises(FieldError):
        make_manifest(**changes)


def test_when_data_is_packed_for_other_names_then_no_manifest_is_made():
    with pytest.raises(FieldError):
        JobManifest.from_spec(
            JobSpec.from_dict(SPEC),
            bundle_hash=CLASS,
            data=ITEMS[:1],
            hardware_class=CLASS,
            blinding=CLASS,
        )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("entry", "../x.py"),
        ("entry", "/x.py"),
        ("entry", "x\\y.py"),
        ("entry", ""),
        ("entry", "x.sh"),
        ("entry", "x\0.py"),
        ("evaluate", "x.sh"),
        ("args", ["a\0"]),
        ("args", [5]),
        ("args", ["a"] * 257),
        ("env", {"LD_PRELOAD": "x"}),
        ("env", {"1": "x"}),
        ("env", {"A": 1}),
        ("data", [5]),
        ("data", [{"name": "../x", "kind": "file", "hash": "0x" + "00" * 32, "size": 1}]),
        ("data", [{"name": "x", "kind": "link", "hash": "0x" + "00" * 32, "size": 1}]),
        ("data_root", "0x" + "00" * 32),
        ("verification", "trust"),
        ("segment_steps", 0),
        ("max_segments", 0),
        ("threads", 0),
        ("output_paths", ["/etc/*"]),
        ("auditors", ["0x12"]),
        ("audit", "all"),
        ("precision", ""),
        ("gpu_count", 65),
        ("blinding", None),
        ("extra", 1),
    ],
)
def test_when_json_of_a_manifest_is_hostile_then_it_is_refused(key, value):
    with pytest.raises(MessageError):
        JobManifest.from_json(make_manifest().to_json() | {key: value})
