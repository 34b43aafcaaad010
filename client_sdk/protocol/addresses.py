"""Account and contract addresses: text, checksummed as in EIP-55."""

from __future__ import annotations

import functools
import re
from typing import Final

from client_sdk.protocol.errors import OutOfRange, WrongType
from client_sdk.protocol.keccak import keccak256

#: The address that nobody holds: "none" or "any".
ZERO_ADDRESS: Final = "0x" + "0" * 40

_PATTERN: Final = re.compile(r"0x[0-9a-fA-F]{40}")


@functools.lru_cache(maxsize=4096)
def _checksummed(lower: str) -> str:
    digest = keccak256(lower[2:].encode("ascii")).hex()
    return "0x" + "".join(
        char.upper() if int(nibble, 16) >= 8 else char
        for char, nibble in zip(lower[2:], digest, strict=False)
    )


def checksum_address(value: object, path: str = "") -> str:
    """Return an address in its EIP-55 form.

    Parameters
    ----------
    value
        ``0x`` and 40 hexadecimal digits: all lower-case, all upper-case, or with a right checksum.
    path
        Where the value stands, for the error.

    Raises
    ------
    WrongType
        When it is not text.
    OutOfRange
        When it is not an address, or its checksum is wrong (a mistyped address).

    Notes
    -----
    Source: EIP-55.
    """
    if not isinstance(value, str):
        raise WrongType(path, "expected an address")
    if _PATTERN.fullmatch(value) is None:
        raise OutOfRange(path, "expected 0x and 40 hexadecimal digits")
    result = _checksummed(value.lower())
    digits = value[2:]
    if value != result and digits != digits.lower() and digits != digits.upper():
        raise OutOfRange(path, f"wrong checksum in address {value}: mistyped?")
    return result


def address_bytes(value: str) -> bytes:
    """Return the 20 bytes of an address."""
    return bytes.fromhex(checksum_address(value)[2:])


def same_address(left: str, right: str) -> bool:
    """Tell whether two texts name the same account, whatever the case of their letters."""
    return left.lower() == right.lower()


def is_zero_address(value: str) -> bool:
    """Tell whether this is the address that nobody holds."""
    return same_address(value, ZERO_ADDRESS)
