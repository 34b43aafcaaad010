"""Signatures of accounts: typed objects of the protocol (EIP-712) and login texts (EIP-191).

Only the form that the contracts accept is made and accepted: 65 bytes r || s || v, low s, v of 27
or 28. A second form of one signature would pass here and fail there.
"""

from __future__ import annotations

from typing import Final

from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_typing import Hash32

from client_sdk.chain.errors import SignatureInvalid
from client_sdk.protocol.eip712 import Domain, Typed, digest
from client_sdk.protocol.keccak import keccak256

SIGNATURE_BYTES: Final = 65
_RECOVERY_OFFSET: Final = 27


def sign(obj: Typed, domain: Domain, account: LocalAccount) -> bytes:
    """Sign a typed object for one escrow on one chain (EIP-712)."""
    return bytes(account.unsafe_sign_hash(Hash32(digest(obj, domain))).signature)


def recover(obj: Typed, domain: Domain, signature: bytes) -> str:
    """EIP-55 address of the key that signed `obj`.

    Any well-formed signature recovers to *some* address: compare it, or use `is_signed_by`.

    Raises
    ------
    SignatureInvalid
        Not a signature, or not in the one accepted form.
    """
    return recover_digest(digest(obj, domain), signature)


def is_signed_by(obj: Typed, domain: Domain, signature: bytes, address: str) -> bool:
    """Whether the key of `address` signed `obj`; malformed signatures are just not its."""
    try:
        return recover(obj, domain, signature).lower() == address.lower()
    except SignatureInvalid:
        return False


def split(signature: bytes) -> tuple[int, bytes, bytes]:
    """A 65-byte signature as `v`, `r`, `s`, as tokens take it (EIP-2612, EIP-3009)."""
    return signature[64], signature[:32], signature[32:64]


def sign_text(text: str, account: LocalAccount) -> bytes:
    """Sign a text as wallets do for a login (EIP-191, version `E`)."""
    return bytes(account.sign_message(encode_defunct(text=text)).signature)


def recover_text(text: str, signature: bytes) -> str:
    """EIP-55 address of the key that signed a text; errors as in `recover`."""
    message = text.encode()
    prefix = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode()
    return recover_digest(keccak256(prefix + message), signature)


def recover_digest(message_digest: bytes, signature: bytes) -> str:
    """EIP-55 address of the key that signed a digest; errors as in `recover`."""
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureInvalid(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    recovery = signature[64] - _RECOVERY_OFFSET
    if recovery not in (0, 1):
        raise SignatureInvalid(f"the signature ends in {signature[64]}, not in 27 or 28")
    if not 0 < s <= SECPK1_N // 2:  # EIP-2, and OpenZeppelin's ECDSA
        raise SignatureInvalid("the signature's s is in the upper half, or zero")
    try:
        key = Signature(vrs=(recovery, r, s)).recover_public_key_from_msg_hash(message_digest)
    except (BadSignature, ValueError):
        raise SignatureInvalid("no key can have made this signature") from None
    return str(key.to_checksum_address())
