"""Reading lock files, and the form of them that a job pins."""

from __future__ import annotations

import pytest

from client_sdk.protocol.canonical import blake3_digest
from client_sdk.protocol.errors import LockError
from client_sdk.protocol.wheels import (
    MAX_WHEELS,
    normal_name,
    normal_version,
    parse_lock,
    parse_pinned,
    parse_wheel_name,
    pinned_form,
)

A, B = "a" * 64, "b" * 64
LOCK = f"""# by pip-compile --generate-hashes
einops==0.8.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via -r requirements.in

Typing_Extensions==4.12.0  --hash=sha256:{B}  # why
"""


def test_when_pip_compile_wrote_the_lock_then_it_is_read() -> None:
    einops, typing = parse_lock(LOCK)
    assert (einops.name, einops.version, einops.line) == ("einops", "0.8", 2)
    assert einops.hashes == {A, B}
    assert (typing.name, typing.version, typing.line) == ("typing-extensions", "4.12", 7)
    assert typing.hashes == {B}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-r more.txt", "options"),
        ("--index-url https://pypi.org/simple", "options"),
        (f"-e . --hash=sha256:{A}", "options"),
        ("https://example.org/a-1-py3-none-any.whl", "pip download"),
        (f"a@https://example.org/a.whl --hash=sha256:{A}", "pip download"),
        (f'a==1; sys_platform=="win32" --hash=sha256:{A}', "remove the marker"),
        (f"a[extra]==1 --hash=sha256:{A}", "no extras"),
        (f"a>=1 --hash=sha256:{A}", "not name==version"),
        (f"a==1.* --hash=sha256:{A}", "not name==version"),
        (f"a==one --hash=sha256:{A}", "not name==version"),
        ("a==1", "no hash"),
        (f"a==1 --hash=sha512:{A}{A}", "not a SHA-256"),
        (f"a==1 --hash=sha256:{A[:-1]}", "not a SHA-256"),
        (f"a==1 --hash=sha256:{A.upper()}", "not a SHA-256"),
        (f"a==1 --hash=sha256:{A} --no-deps", "not a SHA-256"),
        (f"Torch==2.13.0 --hash=sha256:{A}", "comes from the worker's machine"),
        (f"safe_tensors==1 --hash=sha256:{A}\nsafe.tensors==1 --hash=sha256:{A}", "twice"),
        ("# nothing", "names no wheel"),
    ],
)
def test_when_a_line_is_of_another_kind_then_the_lock_is_refused(line: str, says: str) -> None:
    with pytest.raises(LockError, match=says):
        parse_lock(line)


def test_when_lines_are_refused_then_each_is_named_with_its_number() -> None:
    with pytest.raises(LockError) as caught:
        parse_lock(f"a==1\n\nb==1 --hash=sha256:{A}\n-r c\n", "dir/wheels.lock")
    first, second = str(caught.value).splitlines()
    assert first.startswith("dir/wheels.lock:1: ")
    assert second.startswith("dir/wheels.lock:4: ")


def test_when_there_are_too_many_wheels_then_the_lock_is_refused() -> None:
    lines = [f"p{number}==1 --hash=sha256:{A}" for number in range(MAX_WHEELS + 1)]
    assert len(parse_lock("\n".join(lines[:-1]))) == MAX_WHEELS
    with pytest.raises(LockError, match="more than"):
        parse_lock("\n".join(lines))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1.0", "1"),
        ("v1.0.0", "1"),
        ("2024.07.04", "2024.7.4"),
        ("1.0-alpha.1", "1.0a1"),
        ("1.0C2", "1rc2"),
        ("1.0-1", "1.0.post1"),
        ("1.0.rev2", "1.0post2"),
        ("1.0.DEV", "1.0.dev0"),
        ("1.0+ubuntu-1", "1.0+ubuntu.1"),
        ("0!1", "1"),
    ],
)
def test_when_versions_are_equal_then_so_are_their_spellings(first: str, second: str) -> None:
    assert normal_version(first) == normal_version(second) is not None


def test_when_versions_differ_then_so_do_their_spellings() -> None:
    texts = ["1", "1.1", "1!1", "1a1", "1b1", "1rc1", "1.post1", "1.dev1", "1a1.dev1", "1+a", "10"]
    assert len({normal_version(text) for text in texts}) == len(texts)
    assert normal_version("one") is None


def test_when_a_file_is_a_wheel_then_its_name_tells_package_and_version() -> None:
    assert normal_name("Foo._-Bar") == "foo-bar"
    assert parse_wheel_name("Foo_Bar-1.0-py3-none-any.whl") == ("foo-bar", "1")
    assert parse_wheel_name("foo-1.0-2-cp311-abi3-linux_x86_64.whl") == ("foo", "1")
    for name in ("foo-1.0.tar.gz", "foo-1.0.whl", "foo-x-py3-none-any.whl", "foo.whl"):
        assert parse_wheel_name(name) is None


def test_when_the_list_is_pinned_then_it_names_each_wheel_once_and_in_order() -> None:
    data = pinned_form([("b", "1", B), ("a", "2", A)])
    assert data == f"a==2 --hash=sha256:{A}\nb==1 --hash=sha256:{B}\n".encode()
    assert parse_pinned(data, blake3_digest(data)) == (A, B)


@pytest.mark.parametrize(
    "text",
    [
        LOCK,
        f"b==1 --hash=sha256:{B}\na==2 --hash=sha256:{A}\n",
        f"a==1.0 --hash=sha256:{A}\n",
        f"a==1 --hash=sha256:{A}",
        f"torch==1 --hash=sha256:{A}\n",
        f"a==1 --hash=sha256:{A} --hash=sha256:{B}\n",
        "\udcff",
    ],
)
def test_when_a_stranger_pins_another_form_then_it_is_refused(text: str) -> None:
    data = text.encode(errors="surrogateescape")
    with pytest.raises(LockError):
        parse_pinned(data, blake3_digest(data))


def test_when_the_digest_is_another_then_the_list_is_refused() -> None:
    data = pinned_form([("a", "1", A)])
    with pytest.raises(LockError, match="imageDigest"):
        parse_pinned(data, bytes(32))
