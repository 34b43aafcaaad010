"""The hash that contracts compute; apart, because the sandbox must not load it."""

from __future__ import annotations

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 hash of ``data`` (Ethereum's, not NIST SHA-3)."""
    return keccak.new(digest_bits=256, data=data).digest()
