"""Reading and collecting what untrusted code left."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker_agent.sandbox import files
from worker_agent.sandbox.base import Caps, Collected
from worker_agent.sandbox.errors import UnsafePath

CAPS = Caps(total_bytes=10_000, num_files=10, depth=3)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def root(disk: Path) -> Iterator[int]:
    handle = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


def collect(root: int, tmp_path: Path, *patterns: str, caps: Caps = CAPS) -> Collected:
    return files.Collector(tmp_path / "taken", patterns, caps).collect(root, ".")


def reasons(result: Collected) -> dict[str, str]:
    return {refusal.path: refusal.why for refusal in result.refused}


def test_when_patterns_are_given_then_they_match_as_globs_do() -> None:
    def matches(pattern: str, path: str) -> bool:
        return files.compile_pattern(pattern).fullmatch(path) is not None

    assert matches("model/**", "model/a")
    assert matches("model/**", "model/a/b")
    assert not matches("model/**", "models/a")
    assert not matches("model/**", "model")
    assert matches("**/*.txt", "a.txt")
    assert matches("**/*.txt", "x/y/a.txt")
    assert matches("*.txt", "a.txt")
    assert not matches("*.txt", "x/a.txt")
    assert matches("a?c", "abc")
    assert not matches("a?c", "a/c")
    assert matches("a.b", "a.b")
    assert not matches("a.b", "axb")


@pytest.mark.parametrize("pattern", ["/etc/*", "../x", "a/../b"])
def test_when_a_pattern_leaves_the_disk_then_it_is_refused(pattern: str) -> None:
    with pytest.raises(UnsafePath):
        files.compile_pattern(pattern)


def test_when_outputs_are_traps_then_only_plain_files_are_taken(
    root: int, disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (disk / "plain").write_text("plain")
    (disk / "setuid").write_text("setuid")
    (disk / "setuid").chmod(0o4755)
    (disk / "link").symlink_to(tmp_path / "secret")
    (disk / "folder").symlink_to(tmp_path)
    (disk / "one").write_text("hard")
    (disk / "two").hardlink_to(disk / "one")
    os.mkfifo(disk / "pipe")
    # A socket's own name may have 107 bytes only; pytest's folders are longer.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{root}/socket")
    (disk / "line\nbreak").write_text("odd")
    os.close(os.open(os.fsencode(disk) + b"/\xff", os.O_CREAT, 0o600))
    (disk / "huge").write_text("")
    os.truncate(disk / "huge", 1 << 40)
    result = collect(root, tmp_path, "**")
    assert result.files == [Path("plain"), Path("setuid")]
    assert (tmp_path / "taken" / "setuid").stat().st_mode & 0o7777 == 0o600
    assert reasons(result) == {
        "link": "not a regular file",
        "folder": "not a regular file",
        "one": "a hard link",
        "two": "a hard link",
        "pipe": "not a regular file",
        "socket": "not a regular file",
        "'line\\nbreak'": "its name is not plain text",
        "'\\udcff'": "its name is not plain text",
        "huge": "over the size cap",
    }


def test_when_caps_are_reached_then_the_rest_is_refused(
    root: int, disk: Path, tmp_path: Path
) -> None:
    deep = disk / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "deep").write_text("deep")
    for index in range(12):
        (disk / f"f{index:02}").write_text("x")
    result = collect(root, tmp_path, "**")
    assert len(result.files) == 10
    assert reasons(result)["f10"] == "more than 10 files"
    assert reasons(result)["a/b/c"] == "deeper than 3 folders"


def test_when_bytes_run_out_then_smaller_files_are_still_taken(
    root: int, disk: Path, tmp_path: Path
) -> None:
    (disk / "a").write_bytes(b"x" * 900)
    (disk / "b").write_bytes(b"x" * 200)
    (disk / "c").write_bytes(b"x" * 100)
    result = collect(root, tmp_path, "**", caps=Caps(total_bytes=1000))
    assert result.files == [Path("a"), Path("c")]
    assert reasons(result) == {"b": "over the size cap"}


def test_when_there_are_endless_entries_then_the_walk_ends(
    root: int, disk: Path, tmp_path: Path
) -> None:
    for index in range(150):
        (disk / f"{index}").touch()
    result = collect(root, tmp_path, "nothing", caps=Caps(total_bytes=1, num_files=1))
    assert reasons(result) == {".": "too many entries"}


def test_when_the_folder_is_not_there_then_nothing_is_collected(root: int, tmp_path: Path) -> None:
    result = files.Collector(tmp_path / "taken", ["**"], CAPS).collect(root, "out/none")
    assert (result.files, result.refused) == ([], [])


def test_when_files_are_put_then_their_folders_are_made_and_nothing_is_replaced(
    root: int, disk: Path
) -> None:
    files.write_file(root, "a/b/c.txt", b"one", None)
    files.write_file(root, "a/b/d.txt", b"two", os.getuid())
    assert (disk / "a/b/c.txt").read_bytes() == b"one"
    assert (disk / "a/b/d.txt").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        files.write_file(root, "a/b/c.txt", b"again", None)
    with pytest.raises(UnsafePath):
        files.write_file(root, "../x", b"", None)


def test_when_a_file_is_too_large_then_no_part_of_it_is_kept(
    root: int, disk: Path, tmp_path: Path
) -> None:
    (disk / "f").write_bytes(b"x" * 100)
    assert files.read_file(root, "f", 100) == b"x" * 100
    with pytest.raises(UnsafePath, match="larger than 99"):
        files.read_file(root, "f", 99)
    assert files.copy_file(root, "f", tmp_path / "copy", 100) == 100
    with pytest.raises(UnsafePath):
        files.copy_file(root, "f", tmp_path / "other", 99)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "disk"]


def test_when_inputs_are_made_readable_then_links_are_left_alone(tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    (inputs / "deep").mkdir(parents=True, mode=0o700)
    (inputs / "deep" / "f").write_text("x")
    (inputs / "deep" / "f").chmod(0o600)
    (inputs / "deep" / "run").write_text("x")
    (inputs / "deep" / "run").chmod(0o700)
    other = tmp_path / "other"
    other.write_text("x")
    other.chmod(0o600)
    (inputs / "link").symlink_to(other)
    files.make_readable(inputs)
    modes = {path.name: path.stat().st_mode & 0o777 for path in inputs.rglob("*")}
    assert modes == {"deep": 0o755, "f": 0o644, "run": 0o755, "link": 0o600}
    with pytest.raises(UnsafePath):
        files.make_readable(inputs / "link")


@pytest.mark.parametrize("path", ["way/secret", "way/deeper/secret", "way"])
def test_when_a_folder_is_a_link_then_nothing_behind_it_is_read(
    root: int, disk: Path, tmp_path: Path, path: str
) -> None:
    behind = tmp_path / "home"
    (behind / "deeper").mkdir(parents=True)
    for folder in (behind, behind / "deeper"):
        (folder / "secret").write_text("secret")
    (disk / "way").symlink_to(behind)
    with pytest.raises(UnsafePath):
        files.read_file(root, path, 100)
    with pytest.raises(UnsafePath):
        files.copy_file(root, path, tmp_path / "copy", 100)
    with pytest.raises(UnsafePath):
        files.Collector(tmp_path / "taken", ["**"], CAPS).collect(root, "way")
    with pytest.raises(UnsafePath):
        files.list_dir(root, "way")
    assert not (tmp_path / "copy").exists()
