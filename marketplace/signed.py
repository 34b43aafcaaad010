"""Signed objects from strangers: read strictly, then held against the account that must sign."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from client_sdk.chain.errors import ChainError
from client_sdk.chain.signing import recover
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.eip712 import Domain, Typed
from client_sdk.protocol.errors import ProtocolError
from marketplace.errors import MessageRefused, SignatureRefused

T = TypeVar("T", bound=Typed)
_SIGNATURE_BYTES = 65


def read(kind: type[T], value: Mapping[str, Any]) -> T:
    """Return the object that a stranger's JSON describes.

    Raises
    ------
    MessageRefused
        A key is missing or unknown, or a value does not fit.
    """
    try:
        return kind.from_json(dict(value))
    except ProtocolError as error:
        raise MessageRefused(f"{kind.__name__}: {error}") from error


def signature_bytes(text: str) -> bytes:
    """Return the bytes of a 65-byte signature that is written as 0x-hex."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != _SIGNATURE_BYTES:
        raise SignatureRefused("A signature is 65 bytes, written as 0x and hexadecimal digits.")
    return raw


async def require_signer(obj: Typed, domain: Domain, signature: str, address: str) -> None:
    """Check that an account signed this object for this contract.

    Raises
    ------
    SignatureRefused
        It did not.
    """
    raw = signature_bytes(signature)
    try:
        # Recovery takes milliseconds of plain Python: not on the event loop.
        signer = await asyncio.to_thread(recover, obj, domain, raw)
    except (ChainError, ProtocolError, ValueError) as error:
        raise SignatureRefused from error
    if not same_address(signer, address):
        raise SignatureRefused(
            f"Signed by {signer}; this must be signed by {address} for chain {domain.chain_id} "
            f"and contract {domain.verifying_contract}."
        )
