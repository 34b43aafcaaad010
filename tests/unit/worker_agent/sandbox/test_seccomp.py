"""The shipped filter bytes, judged by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest

from worker_agent.sandbox import seccomp

NAMES = tuple(seccomp.ARCHITECTURES)
Judge = Callable[..., int]


def run(program: bytes, data: bytes) -> int:
    """Interpret a filter as the kernel does."""
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator = position = 0
    while True:
        code, when_true, when_false, value = instructions[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            position += value
        elif code == 0x15:
            position += when_true if accumulator == value else when_false
        elif code == 0x35:
            position += when_true if accumulator >= value else when_false
        elif code == 0x06:
            return value
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def number(name: str, architecture: str) -> int:
    numbers = seccomp.read_source()["numbers"][name]
    found = numbers[list(seccomp.ARCHITECTURES).index(architecture)]
    assert found is not None
    return int(found)


@pytest.fixture(params=NAMES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def judge(architecture: str) -> Judge:
    program = seccomp.filter_bytes(architecture)

    def ask(call: str | int, *arguments: int, arch: int | None = None) -> int:
        nr = call if isinstance(call, int) else number(call, architecture)
        padded = [*arguments, *[0] * (6 - len(arguments))]
        arch = seccomp.ARCHITECTURES[architecture] if arch is None else arch
        return run(program, struct.pack("<IIQ6Q", nr, arch, 0, *padded))

    return ask


def refused(name: str) -> int:
    return 0x00050000 | int(getattr(errno, name))


def test_when_the_source_is_assembled_then_it_gives_the_shipped_bytes(architecture: str) -> None:
    program = seccomp.assemble(seccomp.read_source(), architecture)
    assert seccomp.encode(program) == seccomp.filter_bytes(architecture), (
        "run `python -m worker_agent.sandbox.seccomp`"
    )
    # The kernel refuses longer filters.
    assert len(program) <= 4096


def test_when_a_call_is_listed_then_the_filter_gives_its_answer(
    judge: Judge, architecture: str
) -> None:
    source = seccomp.read_source()
    column = list(seccomp.ARCHITECTURES).index(architecture)
    for name in source["allow"]:
        if source["numbers"][name][column] is not None:
            assert judge(name) == seccomp.ALLOW, name
    for name in source["refuse"]:
        if source["numbers"][name][column] is not None:
            assert judge(name) == refused("EPERM"), name


def test_when_a_call_is_not_listed_then_it_does_not_exist(judge: Judge, architecture: str) -> None:
    source = seccomp.read_source()
    column = list(seccomp.ARCHITECTURES).index(architecture)
    known = {numbers[column] for numbers in source["numbers"].values()}
    clone3 = 435
    assert clone3 not in known
    for nr in {*range(1000), 0x3FFFFFFF} - known:
        assert judge(nr) == refused("ENOSYS"), nr


def test_when_the_lists_are_read_then_each_call_is_in_exactly_one() -> None:
    source = seccomp.read_source()
    lists = [source["allow"], source["refuse"], list(source["conditional"])]
    names = [name for names in lists for name in names]
    assert len(names) == len(set(names))
    assert set(names) == set(source["numbers"])


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("clone", (17,), "ALLOW"),
        ("clone", (0x3D0F00,), "ALLOW"),
        ("clone", (0x10000000 | 17,), "EPERM"),
        ("clone", (0x00020000,), "EPERM"),
        ("socket", (1, 1, 0), "ALLOW"),
        ("socket", (2, 1, 6), "ALLOW"),
        ("socket", (10, 2, 0), "ALLOW"),
        ("socket", (16, 3, 0), "ALLOW"),
        ("socket", (16, 3, 9), "EAFNOSUPPORT"),
        ("socket", (40, 1, 0), "EAFNOSUPPORT"),
        ("socket", (38, 5, 0), "EAFNOSUPPORT"),
        ("socket", (17, 3, 0), "EAFNOSUPPORT"),
        ("socketpair", (1, 1, 0), "ALLOW"),
        ("socketpair", (40, 1, 0), "EAFNOSUPPORT"),
        ("ioctl", (0, 0x5401), "ALLOW"),
        ("ioctl", (0, 0x5412), "EPERM"),
        ("ioctl", (0, 0x1_0000_5412), "EPERM"),
        ("ioctl", (0, 0x541C), "EPERM"),
        ("personality", (0xFFFFFFFF,), "ALLOW"),
        ("personality", (0x0040000,), "EPERM"),
        ("mknodat", (0, 0, 0o010600), "ALLOW"),
        ("mknodat", (0, 0, 0o060600), "EPERM"),
        ("mknodat", (0, 0, 0o020600), "EPERM"),
    ],
)
def test_when_arguments_decide_then_the_filter_looks_at_them(
    judge: Judge, call: str, arguments: tuple[int, ...], answer: str
) -> None:
    assert judge(call, *arguments) == seccomp.action(answer)


def test_when_another_abi_is_used_then_the_process_is_killed(
    judge: Judge, architecture: str
) -> None:
    i386 = 0x40000003
    assert judge("read", arch=i386) == seccomp.KILL
    others = set(seccomp.ARCHITECTURES) - {architecture}
    assert judge("read", arch=seccomp.ARCHITECTURES[others.pop()]) == seccomp.KILL
    if architecture == "x86_64":
        assert judge(0x40000000 + 39) == seccomp.KILL


def test_when_there_is_no_filter_for_a_processor_then_it_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="x86_64, aarch64"):
        seccomp.filter_bytes("riscv64")
