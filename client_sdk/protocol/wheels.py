"""The hash-locked list of wheels that a job brings: its two forms, and names of wheels.

A renter's lock file is what ``pip-compile --generate-hashes`` writes: lines
``name==version --hash=sha256:<hex>`` with one hash or more, comments, lines continued by ``\\``,
and nothing else. It may allow several wheels of one package (one for each platform). What a job
pins is therefore the *pinned* form: ascending names, one line and one hash for each wheel::

    name==version --hash=sha256:<hex>\\n

``imageDigest = blake3(pinned form)``: it binds every byte of every wheel. Source: PEP 503 (names),
PEP 440 (versions), PEP 427 (names of wheel files).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from client_sdk.protocol.canonical import blake3_digest
from client_sdk.protocol.errors import LockError

#: Packages of the worker's machine; they make up its hardware class and cannot be replaced.
MACHINE_PACKAGES: Final = frozenset({"torch", "numpy", "safetensors", "blake3", "gridlease"})
#: Most wheels of a job.
MAX_WHEELS: Final = 256
#: Most bytes of all wheels of a job together.
MAX_PACKED_BYTES: Final = 3 << 30
#: Largest lock file, in bytes.
MAX_LOCK_BYTES: Final = 1 << 20
#: Name of the pinned form in the archive of a job's wheels.
LOCK_NAME: Final = "wheels.lock"

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PIN: Final = re.compile(rf"({_NAME})==([A-Za-z0-9._+!-]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_VERSION: Final = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|rc|c)[-_.]?(?P<pre_n>\d*))?"
    r"(?:-(?P<post_implied>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_n>\d*))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_n>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
_PRE: Final = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_LINE: Final = "write name==version --hash=sha256:<64 hexadecimal digits>"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedWheel:
    """One line of a lock."""

    #: Normalised.
    name: str
    #: Normalised.
    version: str
    #: SHA-256 of the wheels that may be used, in hexadecimal digits.
    hashes: frozenset[str]
    #: Where its line starts, counted from 1.
    line: int


def normal_name(name: str) -> str:
    """Return the one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def normal_version(version: str) -> str | None:
    """Return one spelling for all versions that are equal; ``None`` when it is not a version."""
    found = _VERSION.fullmatch(version.lower())
    if found is None:
        return None
    numbers = [str(int(number)) for number in found["release"].split(".")]
    while len(numbers) > 1 and numbers[-1] == "0":
        numbers.pop()
    text = f"{int(found['epoch'] or 0)}!" if int(found["epoch"] or 0) else ""
    text += ".".join(numbers)
    if found["pre"]:
        text += f"{_PRE.get(found['pre'], found['pre'])}{int(found['pre_n'] or 0)}"
    if found["post"] or found["post_implied"]:
        text += f".post{int(found['post_implied'] or found['post_n'] or 0)}"
    if found["dev"]:
        text += f".dev{int(found['dev_n'] or 0)}"
    return text + (f"+{re.sub('[-_]', '.', found['local'])}" if found["local"] else "")


def parse_wheel_name(file_name: str) -> tuple[str, str] | None:
    """Return name and version, both normalised, of a wheel's file name; ``None`` for another."""
    parts = file_name.removesuffix(".whl").split("-")
    if not file_name.endswith(".whl") or len(parts) not in (5, 6):
        return None
    version = normal_version(parts[1])
    return None if version is None else (normal_name(parts[0]), version)


def parse_lock(text: str, file: str = LOCK_NAME) -> tuple[LockedWheel, ...]:
    """Read a lock file.

    Parameters
    ----------
    file
        How to call it in messages.

    Raises
    ------
    LockError
        With every refused line as ``file:line: what is wrong; what to do``.
    """
    wheels: dict[str, LockedWheel] = {}
    problems: list[str] = []
    for number, line in _logical_lines(text):
        try:
            wheel = _parse_line(line, number)
            if wheel.name in wheels:
                raise LockError(f"{wheel.name} comes twice; keep one line for each package")
            wheels[wheel.name] = wheel
        except LockError as error:
            problems.append(f"{file}:{number}: {error}")
    if not wheels and not problems:
        problems.append(f"{file}:1: names no wheel; {_LINE}, or leave image out of the job")
    if len(wheels) > MAX_WHEELS:
        problems.append(f"{file}:1: names more than {MAX_WHEELS} wheels; bring fewer")
    if problems:
        raise LockError("\n".join(problems))
    return tuple(wheels.values())


def pinned_form(wheels: Iterable[tuple[str, str, str]]) -> bytes:
    """Return the bytes that a job pins, from (name, version, SHA-256) of each wheel."""
    lines = [f"{name}=={version} --hash=sha256:{digest}\n" for name, version, digest in wheels]
    return "".join(sorted(lines)).encode()


def parse_pinned(data: bytes, image_digest: bytes) -> tuple[str, ...]:
    """Return the SHA-256 of each wheel of a pinned lock that a stranger made.

    Raises
    ------
    LockError
        When it is not the one that ``imageDigest`` names, or not in the pinned form.
    """
    if blake3_digest(data) != image_digest:
        raise LockError("the list of wheels is not the one that imageDigest names")
    try:
        wheels = parse_lock(data.decode())
    except UnicodeDecodeError as error:
        raise LockError("the list of wheels is not text") from error
    pins = [(wheel.name, wheel.version, min(wheel.hashes)) for wheel in wheels]
    if pinned_form(pins) != data:
        raise LockError("the list of wheels is not in its pinned form")
    return tuple(digest for _, _, digest in pins)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines joined at a backslash, without comments, each with the number of its first."""
    start, held = 1, ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw).rstrip()
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        if (held + line).strip():
            yield start, (held + line).strip()
        held = ""
    if held.strip():
        yield start, held.strip()


def _parse_line(line: str, number: int) -> LockedWheel:
    pin, *rest = line.split()
    _refuse_other_kinds(line, pin)
    found = _PIN.fullmatch(pin)
    version = normal_version(found[2]) if found else None
    if found is None or version is None:
        raise LockError(f"{pin[:80]!r} is not name==version; {_LINE}")
    if not rest:
        raise LockError("there is no hash; take it from pip hash or pip-compile --generate-hashes")
    hashes = [_HASH.fullmatch(word) for word in rest]
    if not all(hashes):
        wrong = next(word for word, hit in zip(rest, hashes, strict=True) if hit is None)
        raise LockError(f"{wrong[:80]!r} is not a SHA-256 hash; {_LINE}")
    name = normal_name(found[1])
    if name in MACHINE_PACKAGES:
        raise LockError(f"{name} comes from the worker's machine; remove this line")
    digests = frozenset(hit[1] for hit in hashes if hit)
    return LockedWheel(name=name, version=version, hashes=digests, line=number)


def _refuse_other_kinds(line: str, pin: str) -> None:
    """Say what to do about lines that other tools accept."""
    if pin.startswith("-"):
        raise LockError(f"options such as {pin[:40]!r} are not read; {_LINE}")
    if "://" in line or "@" in line:
        raise LockError(f"no addresses; put the wheel beside the lock (pip download) and {_LINE}")
    if ";" in line:
        raise LockError("no markers; remove the marker, or the line if it is not for Linux")
    if "[" in pin:
        raise LockError("no extras; name the packages that the extra brings, each on a line")
