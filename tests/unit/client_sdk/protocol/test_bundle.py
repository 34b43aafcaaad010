"""Deterministic archives, and hostile ones."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol import bundle
from client_sdk.protocol.bundle import (
    CODE_EXCLUDES,
    BundleLimits,
    pack_file,
    pack_folder,
    unpack,
)
from client_sdk.protocol.canonical import blake3_digest
from client_sdk.protocol.errors import BundleError


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def packed(folder: Path, **options) -> bytes:
    out = io.BytesIO()
    archive = pack_folder(folder, out, **options)
    assert archive.hash == blake3_digest(out.getvalue())
    assert archive.size == len(out.getvalue())
    return out.getvalue()


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


FILES = {
    "train.py": b"print(1)\n",
    "model/net.py": b"x" * 1025,
    "empty": b"",
    "é/ü.txt": b"umlaut",
    "a" * 90 + "/" + "b" * 100: b"long",
}


def test_when_a_folder_is_packed_then_it_unpacks_to_the_same_files(tmp_path):
    data = packed(write(tmp_path / "in", FILES))
    archive = unpack(io.BytesIO(data), tmp_path / "out", expected_hash=blake3_digest(data))
    assert read(tmp_path / "out") == FILES
    assert (archive.num_files, archive.size) == (len(FILES), len(data))
    assert packed(tmp_path / "out") == data


def test_when_folders_hold_the_same_files_then_their_archives_are_equal(tmp_path):
    one = write(tmp_path / "one", FILES)
    other = write(tmp_path / "other", dict(reversed(FILES.items())))
    (other / "nothing").mkdir()
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    assert packed(one) == packed(other)
    (other / "train.py").chmod(0o755)
    assert packed(one) != packed(other)


def test_when_an_archive_is_made_then_tar_reads_it(tmp_path):
    source = write(tmp_path, FILES)
    (source / "train.py").chmod(0o700)
    with tarfile.open(fileobj=io.BytesIO(packed(source))) as tar:
        members = {member.name: member for member in tar.getmembers()}
        assert set(members) == set(FILES)
        assert all(member.isreg() and member.mtime == 0 for member in members.values())
        assert members["train.py"].mode == 0o755
        assert members["empty"].mode == 0o644
        assert tar.extractfile("model/net.py").read() == FILES["model/net.py"]


def test_when_a_file_is_executable_then_it_stays_so(tmp_path):
    source = write(tmp_path / "in", {"run.sh": b"#!/bin/sh\n", "plain": b""})
    (source / "run.sh").chmod(0o744)
    unpack(io.BytesIO(packed(source)), tmp_path / "out")
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/plain", os.X_OK)


def test_when_one_file_is_packed_then_it_has_the_name_it_was_given(tmp_path):
    write(tmp_path, {"digits.npz": b"data"})
    out = io.BytesIO()
    pack_file(tmp_path / "digits.npz", "digits", out)
    out.seek(0)
    unpack(out, tmp_path / "data")
    assert read(tmp_path / "data") == {"digits": b"data"}


def test_when_names_are_excluded_then_they_are_left_out_at_any_depth(tmp_path):
    junk = {".git/config": b"", "a/__pycache__/x.pyc": b"", "a/y.pyc": b"", ".venv/bin/python": b""}
    source = write(tmp_path / "in", junk | {"a/y.py": b"1"})
    unpack(io.BytesIO(packed(source, exclude=CODE_EXCLUDES)), tmp_path / "out")
    assert read(tmp_path / "out") == {"a/y.py": b"1"}


def test_when_a_link_stays_inside_then_its_file_is_packed(tmp_path):
    source = write(tmp_path / "in", {"a/real.txt": b"1"})
    (source / "link.txt").symlink_to("a/real.txt")
    unpack(io.BytesIO(packed(source)), tmp_path / "out")
    assert read(tmp_path / "out") == {"a/real.txt": b"1", "link.txt": b"1"}
    assert not (tmp_path / "out/link.txt").is_symlink()


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "folder", "missing", "link"])
def test_when_a_link_leads_elsewhere_then_the_folder_is_refused(tmp_path, target):
    write(tmp_path, {"secret": b"key"})
    source = write(tmp_path / "in", {"folder/x": b""})
    (source / "link").symlink_to(target)
    with pytest.raises(BundleError, match="link"):
        packed(source)


def test_when_a_folder_holds_a_pipe_then_it_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="neither"):
        packed(tmp_path)


def test_when_a_bound_is_passed_then_packing_stops(tmp_path):
    source = write(tmp_path, {"a": b"12345", "b/c/d": b"6"})
    for limits, reason in (
        (BundleLimits(num_files=1), "more than 1 files"),
        (BundleLimits(total_bytes=5), "more than 5 bytes"),
        (BundleLimits(depth=1), "deeper"),
    ):
        with pytest.raises(BundleError, match=reason):
            packed(source, limits=limits)
    assert packed(source, limits=BundleLimits(num_files=2, total_bytes=6, depth=2))


def test_when_a_path_cannot_be_written_then_packing_stops(tmp_path):
    with pytest.raises(BundleError, match="not a folder"):
        packed(tmp_path / "missing")
    for name in ("n" * 101, "tab\tname"):
        source = tmp_path / name[:3]
        with pytest.raises(BundleError):
            packed(write(source, {name: b""}))
    undecodable = tmp_path / "raw"
    undecodable.mkdir()
    Path(os.fsdecode(os.fsencode(undecodable) + b"/\xff")).write_bytes(b"")
    with pytest.raises(BundleError, match="UTF-8"):
        packed(undecodable)


def test_when_a_file_is_too_large_for_a_header_then_it_is_refused():
    with pytest.raises(BundleError, match="larger"):
        bundle._header("big", 1 << 33, False)
    assert len(bundle._header("big", (1 << 33) - 1, False)) == 512


def test_when_a_file_shrinks_while_it_is_packed_then_packing_stops(tmp_path, monkeypatch):
    write(tmp_path, {"a": b"12345"})
    real = os.fstat

    def lying(descriptor):
        status = list(real(descriptor))
        status[6] += 3
        return os.stat_result(status)

    monkeypatch.setattr(bundle.os, "fstat", lying)
    with pytest.raises(BundleError, match="changed"):
        packed(tmp_path)


# ------------------------------------------------------------------------------ hostile archives


def tar_of(*members: tuple[tarfile.TarInfo, bytes], fmt: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **changes):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), 0o644
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def ours(*files: tuple[str, bytes], end: bytes = bytes(1024)) -> bytes:
    parts = [
        bundle._header(name, len(content), False) + content + bytes(-len(content) % 512)
        for name, content in files
    ]
    return b"".join(parts) + end


HOSTILE = {
    "traversal": tar_of(member("../evil")),
    "deep traversal": tar_of(member("a/../../evil")),
    "absolute": tar_of(member("/tmp/evil")),
    "dot": tar_of(member("./a")),
    "symlink": tar_of(member("a", tarfile.SYMTYPE, linkname="/etc")),
    "hard link": tar_of(member("a", tarfile.LNKTYPE, linkname="/etc/passwd")),
    "character device": tar_of(member("a", tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": tar_of(member("a", tarfile.BLKTYPE)),
    "pipe": tar_of(member("a", tarfile.FIFOTYPE)),
    "folder": tar_of(member("a", tarfile.DIRTYPE)),
    "sparse": tar_of(member("a", tarfile.GNUTYPE_SPARSE)),
    "set uid": tar_of(member("a", mode=0o4755)),
    "owner": tar_of(member("a", uid=1)),
    "owner's name": tar_of(member("a", uname="root")),
    "time": tar_of(member("a", mtime=1)),
    "long name extension": tar_of(member("n" * 300), fmt=tarfile.GNU_FORMAT),
    "header extension": tar_of(
        member("a", pax_headers={"path": "../evil"}), fmt=tarfile.PAX_FORMAT
    ),
    "old type": ours(("a", b""))[:156] + b"\0" + ours(("a", b""))[157:],
    "empty": b"",
    "garbage": os.urandom(512) + bytes(1024),
    "cut in a header": ours(("a", b"1"))[:100],
    "cut in a file": ours(("a", b"1" * 600))[:700],
    "one end block": ours(("a", b"1"), end=bytes(512)),
    "broken end": ours(("a", b"1"), end=bytes(512) + b"x" * 512),
    "data after the end": ours(("a", b"1")) + b"x",
    "padding of tar": tar_of(member("a")),
    "hidden data": ours(("a", b"1"))[:600] + b"x" + ours(("a", b"1"))[601:],
    "twice": ours(("a", b"1"), ("a", b"2")),
    "out of order": ours(("b", b"1"), ("a", b"2")),
    "file as folder": ours(("a", b"1"), ("a/b", b"2")),
    "negative size": ours(("a", b""))[:124] + b"-0000000001" + ours(("a", b""))[135:],
    "size in base 256": ours(("a", b""))[:124] + b"\x80" + ours(("a", b""))[125:],
    "size of nines": ours(("a", b""))[:124] + b"00000000009" + ours(("a", b""))[135:],
    "name that is not UTF-8": b"\xff" + ours(("a", b""))[1:],
    "name with a newline": b"a\nb" + ours(("a", b""))[3:],
    "no name": ours(("a", b"")).replace(b"a", b"\0", 1),
    "name after its end": ours(("a", b""))[:50] + b"b" + ours(("a", b""))[51:],
}


# With headers as packing writes them: nothing but the path can be what is refused.
EVIL_PATHS = ["../evil", "a/../../evil", "..", "/tmp/evil", "a//evil", "./evil", "a/.", "e\nvil"]


@pytest.mark.parametrize("name", EVIL_PATHS)
def test_when_only_the_path_of_a_file_is_hostile_then_it_is_refused(tmp_path, name):
    with pytest.raises(BundleError, match="not a path that an archive can hold"):
        unpack(io.BytesIO(ours((name, b"1"))), tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_when_an_archive_holds_exactly_what_is_allowed_then_it_is_unpacked(tmp_path):
    data = ours(("a/b", b"1" * 600))
    limits = BundleLimits(num_files=1, total_bytes=600, depth=1)
    assert unpack(io.BytesIO(data), tmp_path / "out", limits=limits).num_files == 1


@pytest.mark.parametrize("kind", HOSTILE)
def test_when_an_archive_is_hostile_then_it_is_refused_and_nothing_stays(tmp_path, kind):
    with pytest.raises(BundleError):
        unpack(io.BytesIO(HOSTILE[kind]), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_when_a_bomb_is_unpacked_then_a_bound_stops_it_before_it_is_written(tmp_path):
    many = ours(*((f"{i:04}", b"") for i in range(20)))
    large = ours(("a", b"1" * 600))
    deep = ours(("a/" * 5 + "b", b""))
    claims_much = bundle._header("a", 1 << 32, False) + bytes(512)
    for data, limits in (
        (many, BundleLimits(num_files=19)),
        (large, BundleLimits(total_bytes=599)),
        (claims_much, BundleLimits(total_bytes=1 << 31)),
        (deep, BundleLimits(depth=4)),
    ):
        with pytest.raises(BundleError, match=r"more than|deeper"):
            unpack(io.BytesIO(data), tmp_path / "out", limits=limits)
    assert unpack(io.BytesIO(many), tmp_path / "out").num_files == 20


def test_when_the_hash_is_another_then_nothing_stays(tmp_path):
    data = ours(("a/b", b"1"), ("c", b"2"))
    with pytest.raises(BundleError, match="hash differs"):
        unpack(io.BytesIO(data), tmp_path / "out", expected_hash=bytes(32))
    assert list((tmp_path / "out").iterdir()) == []


def test_when_the_target_is_not_empty_then_it_is_left_alone(tmp_path):
    write(tmp_path, {"mine": b"1"})
    with pytest.raises(BundleError, match="not empty"):
        unpack(io.BytesIO(ours(("a", b""))), tmp_path)
    assert read(tmp_path) == {"mine": b"1"}


def test_when_any_bit_of_a_header_flips_then_the_header_is_refused():
    header = bundle._header("dir/file.txt", 1, False)
    for bit in range(len(header) * 8):
        flipped = bytearray(header)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BundleError):
            bundle._parse_header(bytes(flipped), bundle.DEFAULT_LIMITS)


@given(st.integers(0, 1024 + 512 - 1), st.integers(0, 7))
def test_when_one_bit_outside_the_content_flips_then_the_archive_is_refused(
    tmp_path_factory, position, bit
):
    data = bytearray(ours(("dir/file.txt", b"1")))
    if position == 512:  # the content itself: any bytes are an archive, of another hash
        position = 513
    data[position] ^= 1 << bit
    out = tmp_path_factory.mktemp("flip") / "out"
    original = blake3_digest(ours(("dir/file.txt", b"1")))
    with pytest.raises(BundleError):
        unpack(io.BytesIO(bytes(data)), out, expected_hash=original)


def test_when_a_source_gives_little_at_a_time_then_all_of_it_is_read(tmp_path):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    data = ours(("a", b"x" * 1000))
    assert unpack(Slow(data), tmp_path / "out").hash == blake3_digest(data)
    assert read(tmp_path / "out") == {"a": b"x" * 1000}
