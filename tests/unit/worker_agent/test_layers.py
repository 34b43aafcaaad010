"""Wheels of strangers become layers, or nothing."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk.protocol.canonical import blake3_digest
from client_sdk.protocol.errors import LockError
from client_sdk.protocol.wheels import pinned_form
from tests.support.wheels import sha256, write_wheel
from worker_agent import layers
from worker_agent.errors import NoRoom
from worker_agent.layers import check_wheels, link_layer, remove_unfinished, unpack_wheels

DIGEST = b"\7" * 32
LINK, DEVICE = 0o120777 << 16, 0o020666 << 16


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def entry(name: str, mode: int = 0, kind: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename, info.external_attr, info.compress_type = name, mode, kind
    return info


def one(name: str, mode: int = 0, kind: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(entry(name, mode, kind), "content")

    return write


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry("a.py"), "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(entry("a.py"), "2")


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.bin", bytes(20 << 20))


def patched(offset: int, new: bytes, kind: bytes = b"PK\5\6") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        one("a.py")(path)
        data = bytearray(path.read_bytes())
        start = data.rindex(kind) + offset
        data[start : start + len(new)] = new
        path.write_bytes(data)

    return write


def with_zip64(path: Path) -> None:
    one("a.py")(path)
    data = path.read_bytes()
    path.write_bytes(data[:-22] + b"PK\6\7" + bytes(16) + data[-22:])


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "traversal": (one("../a.py"), "inside"),
    "inner traversal": (one("a/../../b.py"), "inside"),
    "absolute": (one("/etc/a.py"), "inside"),
    "dot": (one("a/./b.py"), "inside"),
    "backslash": (one("a\\b.py"), "inside"),
    "NUL": (one("a.py\0.txt"), "inside"),
    "newline": (one("a\n.py"), "inside"),
    "long part": (one("a" * 256), "inside"),
    "long path": (one("/".join(["a" * 200] * 6)), "inside"),
    "deep": (one("a/" * 25 + "b.py"), "deeper"),
    "link": (one("a.py", LINK), "regular"),
    "device": (one("a.py", DEVICE), "regular"),
    "lzma": (one("a.py", 0, zipfile.ZIP_LZMA), "another way"),
    "encrypted": (patched(8, b"\1\0", b"PK\1\2"), "encrypted"),
    "standard library": (one("json/__init__.py"), "hide"),
    "torch": (one("torch/__init__.py"), "hide"),
    "runtime": (one("worker_agent/runtime/script.py"), "hide"),
    "extension module": (one("numpy.cpython-311-x86_64-linux-gnu.so"), "hide"),
    "site": (one("sitecustomize.py"), "hide"),
    "hidden in data": (one("a-1.data/purelib/torch.py"), "hide"),
    "traversal in data": (one("a-1.data/purelib/../a.py"), "inside"),
    "unknown data": (one("a-1.data/other/a.py"), "no place"),
    "file as data": (one("a-1.data"), "no place"),
    "twice": (twice, "comes twice"),
    "bomb": (bomb, "times its size"),
    "comment": (patched(20, b"\1\0"), "comment"),
    "large directory": (patched(12, struct.pack("<I", 9 << 20)), "table of contents"),
    "wrong directory": (patched(12, struct.pack("<I", 1)), "as a zip"),
    "zip64": (with_zip64, "64-bit"),
    "longer than said": (patched(24, struct.pack("<I", 3), b"PK\1\2"), "as a zip"),
    "shorter than said": (patched(24, struct.pack("<I", 99), b"PK\1\2"), "zip"),
    "no zip": (lambda path: path.write_bytes(b"#!/bin/sh\n" * 9) and None, "not a zip"),
    "empty": (lambda path: path.write_bytes(b"") and None, "not a zip"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_when_a_wheel_breaks_a_rule_then_no_layer_is_made(tmp_path: Path, kind: str) -> None:
    write, says = HOSTILE[kind]
    wheel = tmp_path / f"{'f' * 64}.whl"
    write(wheel)
    with pytest.raises(LockError, match=f"wheel ffff.*{says}"):
        link_layer(tmp_path / "layers", DIGEST, [wheel], tmp_path / "image")
    assert list((tmp_path / "layers").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [wheel.name, "layers"]


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_FILES", 4), ("MAX_LAYER_BYTES", 100), ("MAX_DEPTH", 0)]
)
def test_when_wheels_pass_a_bound_together_then_they_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    wheels = [write_wheel(tmp_path, pkg, "1", {f"{pkg}/m.py": "x = 1"}) for pkg in ("a", "b")]
    monkeypatch.setattr(layers, name, value)
    with pytest.raises(LockError, match=r"more than|deeper"):
        unpack_wheels(wheels, tmp_path / "out")


def test_when_the_disk_has_no_room_then_nothing_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, "a", "1", {"a.py": ""})
    monkeypatch.setattr(layers, "_SPARE_BYTES", shutil.disk_usage(tmp_path).total)
    with pytest.raises(NoRoom, match="no room"):
        unpack_wheels([wheel], tmp_path)
    assert list(tmp_path.iterdir()) == [wheel]


def test_when_two_wheels_write_the_same_file_then_they_are_refused(tmp_path: Path) -> None:
    first = write_wheel(tmp_path, "a", "1", {"shared/a.py": "", "both.py": "1"})
    second = write_wheel(tmp_path, "b", "1", {"shared/b.py": "", "both.py": "1"})
    below = write_wheel(tmp_path, "c", "1", {"both.py/c.py": ""})
    for wheels in ([first, second], [first, below]):
        with pytest.raises(LockError, match="in another wheel too"):
            unpack_wheels(wheels, tmp_path / f"out-{len(wheels[1].name)}-{wheels[1].name}")


def test_when_wheels_are_fine_then_their_packages_lie_in_the_layer(tmp_path: Path) -> None:
    files = {
        "a/__init__.py": "",
        "a-1.data/purelib/a/pure.py": "",
        "a-1.data/platlib/a/plat.so": "",
        "a-1.data/scripts/run": "#!python",
        "a-1.data/headers/a.h": "",
        "a-1.data/data/etc/a.conf": "",
    }
    wheels = [
        write_wheel(tmp_path, "a", "1", files),
        write_wheel(tmp_path, "b", "1", {"a/plugin/b.py": "", "b.pth": "import os"}),
    ]
    link_layer(tmp_path / "layers", DIGEST, wheels, tmp_path / "image")
    found = tree(tmp_path / "image")
    assert {name for name in found if ".dist-info/" not in name} == {
        "a/__init__.py",
        "a/pure.py",
        "a/plat.so",
        "a/plugin/b.py",
        "b.pth",
    }
    assert "a-1.dist-info/METADATA" in found
    assert (tmp_path / "image").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "image/a/pure.py").stat().st_mode & 0o777 == 0o644


def test_when_a_layer_is_there_then_jobs_share_it_and_survive_its_end(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "a", "1", {"a.py": "x = 1"})
    folder = tmp_path / "layers"
    link_layer(folder, DIGEST, [wheel], tmp_path / "one")
    link_layer(folder, DIGEST, [], tmp_path / "two")  # the wheels are not looked at again
    files = [base / "a.py" for base in (tmp_path / "one", tmp_path / "two", folder / DIGEST.hex())]
    assert len({path.stat().st_ino for path in files}) == 1
    shutil.rmtree(folder / DIGEST.hex())
    assert (tmp_path / "one/a.py").read_text() == "x = 1"


def test_when_unpacking_is_killed_then_the_half_layer_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, "a", "1", {"a.py": "x = 1", "b.py": "x = 2"})
    folder = tmp_path / "layers"

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(layers.os, "sync", die)
        patch.setattr(layers.shutil, "rmtree", lambda *_, **__: None)  # a killed program cleans not
        with pytest.raises(Killed):
            link_layer(folder, DIGEST, [wheel], tmp_path / "image")
    (left,) = folder.iterdir()
    assert left.name.startswith(".")
    remove_unfinished(folder)
    assert list(folder.iterdir()) == []
    link_layer(folder, DIGEST, [wheel], tmp_path / "image")
    assert {"a.py", "b.py"} < tree(tmp_path / "image")


def test_when_layers_outgrow_their_bound_then_the_longest_unused_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "KEPT_BYTES", 20_000)
    folder = tmp_path / "layers"
    for number in range(3):
        wheel = write_wheel(tmp_path / str(number), "a", "1", {"a.py": "x" * 9_000})
        link_layer(folder, bytes([number]) * 32, [wheel], tmp_path / f"image-{number}")
    kept = {path.name[:2] for path in folder.iterdir()}
    assert "02" in kept
    assert "00" not in kept
    assert (tmp_path / "image-0/a.py").stat().st_size == 9_000


def make_packed(folder: Path) -> bytes:
    wheel = write_wheel(folder.parent, "a", "1", {"a.py": ""})
    folder.mkdir()
    (folder / f"{sha256(wheel)}.whl").write_bytes(wheel.read_bytes())
    lock = pinned_form([("a", "1", sha256(wheel))])
    (folder / "wheels.lock").write_bytes(lock)
    return blake3_digest(lock)


def test_when_list_and_wheels_are_the_pinned_ones_then_they_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    (wheel,) = check_wheels(folder, make_packed(folder))
    assert wheel.parent == folder


def test_when_anything_differs_from_the_list_then_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    digest = make_packed(folder)
    (wheel,) = folder.glob("*.whl")
    with pytest.raises(LockError, match="imageDigest"):
        check_wheels(folder, DIGEST)
    (folder / "more.whl").write_bytes(b"")
    with pytest.raises(LockError, match="not those"):
        check_wheels(folder, digest)
    (folder / "more.whl").unlink()
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(LockError, match="does not have its hash"):
        check_wheels(folder, digest)
    wheel.unlink()
    with pytest.raises(LockError, match="not those"):
        check_wheels(folder, digest)
    (folder / "wheels.lock").unlink()
    with pytest.raises(LockError, match="without a"):
        check_wheels(folder, digest)
