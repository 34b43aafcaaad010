"""Wheels of a job are found, held against the lock, and packed."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk import inputs, sealing
from client_sdk.errors import InputRejected
from client_sdk.jobfile import load_job_file
from client_sdk.protocol.bundle import unpack
from client_sdk.protocol.canonical import ZERO_HASH, blake3_digest
from client_sdk.wheels import pack_wheels
from tests.support.wheels import sha256, write_wheel

OTHER = "0" * 64
JOB = """\
name: digits
resources: {cpu: 1, memory: 1GB, disk: 1GB}
code: code
entry: train.py
image: {wheels: wheels.lock}
segments: {steps: 10, max: 2}
budget: 1.00
max_duration: 1h
"""


def lock(folder: Path, *lines: str) -> Path:
    path = folder / "wheels.lock"
    path.write_text("# my wheels\n" + "\n".join(lines) + "\n")
    return path


def test_when_each_line_has_its_wheel_then_list_and_wheels_are_packed(tmp_path: Path) -> None:
    near = write_wheel(tmp_path, "Foo_Bar", "1.0", {"foo.py": "x = 1"})
    below = write_wheel(tmp_path / "wheels", "baz", "2", {"baz.py": "x = 2"})
    write_wheel(tmp_path, "unlisted", "1", {"u.py": ""})
    path = lock(
        tmp_path,
        f"foo.bar==1.0.0 --hash=sha256:{OTHER} --hash=sha256:{sha256(near)}",
        f"baz==2 --hash=sha256:{sha256(below)}",
    )
    digest = pack_wheels(path, tmp_path / "wheels.tar")
    with (tmp_path / "wheels.tar").open("rb") as source:
        unpack(source, tmp_path / "out")
    packed = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    pinned = f"baz==2 --hash=sha256:{sha256(below)}\nfoo-bar==1 --hash=sha256:{sha256(near)}\n"
    assert packed == {
        "wheels.lock": pinned.encode(),
        f"{sha256(near)}.whl": near.read_bytes(),
        f"{sha256(below)}.whl": below.read_bytes(),
    }
    assert digest == blake3_digest(pinned.encode())
    path.write_text(path.read_text().replace("my wheels", "a comment binds nothing"))
    assert pack_wheels(path, tmp_path / "again.tar") == digest
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "wheels.tar").read_bytes()


def test_when_a_line_has_no_single_wheel_then_it_is_named_with_what_to_do(tmp_path: Path) -> None:
    changed = write_wheel(tmp_path, "changed", "1", {"a.py": ""})
    twice = write_wheel(tmp_path, "twice", "1", {"b.py": ""})
    twin = tmp_path / "wheels" / twice.name
    twin.parent.mkdir()
    twin.write_bytes(twice.read_bytes())
    path = lock(
        tmp_path,
        f"missing==1 --hash=sha256:{OTHER}",
        f"changed==1 --hash=sha256:{OTHER}",
        f"twice==1 --hash=sha256:{sha256(twice)}",
        f"changed2==1 --hash=sha256:{sha256(changed)}",
    )
    with pytest.raises(InputRejected) as caught:
        pack_wheels(path, tmp_path / "wheels.tar")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "3", "4", "5"]
    wants = ("pip download", "none of the hashes", "more than one wheel", "pip download")
    for line, text in zip(lines, wants, strict=True):
        assert line.startswith(str(path))
        assert text in line


@pytest.mark.parametrize("content", [b"a==1\n", b"\xff\xfe", b"#" * (1 << 20) + b"##"])
def test_when_the_lock_cannot_be_read_then_it_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wheels.lock"
    path.write_bytes(content)
    with pytest.raises(InputRejected, match=str(path)):
        pack_wheels(path, tmp_path / "wheels.tar")


def test_when_a_job_brings_wheels_then_its_hash_binds_them_and_they_are_sealed(
    tmp_path: Path,
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("import foo\n")
    (tmp_path / "code/a-1-py3-none-any.whl").write_text("travels as a wheel, or not at all")
    wheel = write_wheel(tmp_path, "foo", "1", {"foo.py": "x = 1"})
    lock(tmp_path, f"foo==1 --hash=sha256:{sha256(wheel)}")
    (tmp_path / "job.yaml").write_text(JOB)
    private = tmp_path / "private"
    private.mkdir()
    packed = inputs.pack(load_job_file(tmp_path / "job.yaml"), private)
    manifest = packed.manifest(b"\1" * 32)
    assert manifest.image_digest != ZERO_HASH
    assert packed.bundle_archive.num_files == 1
    sealed = inputs.seal(packed, manifest, private)
    address = sealed.addresses()["extra"]["wheels"]
    opened = private / "opened"
    sealing.decrypt_file(sealed.job_key, sealed.files[address], opened, b"extra:wheels")
    assert packed.wheels is not None
    assert opened.read_bytes() == packed.wheels.read_bytes()

    (tmp_path / "job.yaml").write_text(JOB.replace("image: {wheels: wheels.lock}\n", ""))
    plain = tmp_path / "plain"
    plain.mkdir()
    without = inputs.pack(load_job_file(tmp_path / "job.yaml"), plain)
    assert without.manifest(b"\1" * 32).image_digest == ZERO_HASH
    assert "extra" not in inputs.seal(without, without.manifest(b"\1" * 32), plain).addresses()
