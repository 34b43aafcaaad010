"""Encryption of a job's artifacts, and of the job's key for those who may read them.

Sealed data, after the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015)::

    "GLSEAL1\\n" || salt (32) || commitment (32) || chunk 0 || chunk 1 || ...
    key || commitment = HKDF-SHA256(job key, salt, "gridlease/sealed/1" || 0 || aad), 64 bytes
    chunk i           = ChaCha20-Poly1305(key, nonce = i (11 bytes) || last (1 byte), 1 MiB of data)

Wrapped keys::

    1 (1 byte) || ephemeral public key (32) || ChaCha20-Poly1305(kek, nonce 0, job key, aad)
    kek = HKDF-SHA256(X25519(ephemeral, recipient), no salt,
                      "gridlease/wrapped-key/1" || 0 || ephemeral public || recipient public || aad)

*Covered:* secrecy and authenticity of content; chunks dropped, swapped, repeated or appended, and
truncation at any byte; data moved to another place (`aad`); two keys that open one ciphertext to
different plaintexts (the commitment). *Not covered:* the length of the data is visible; who holds a
job's key can also write under it, so content is checked against `jobHash`; no forward secrecy for a
recipient whose private key leaks.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from client_sdk.chain.errors import WalletUnreadable
from client_sdk.chain.keyfiles import read_private, write_new

CHUNK_BYTES: Final = 1024 * 1024
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
MAGIC: Final = b"GLSEAL1\n"
HEADER_BYTES: Final = len(MAGIC) + 2 * KEY_BYTES
WRAPPED_BYTES: Final = 1 + KEY_BYTES + KEY_BYTES + TAG_BYTES

_WRAP_VERSION: Final = 1
_COUNTER_BYTES: Final = 11
_ZERO_NONCE: Final = bytes(12)


class SealingError(Exception):
    """The data cannot be opened."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class NotSealed(SealingError):
    """This is not sealed data, or was cut within its first bytes."""


class NotAuthentic(SealingError):
    """Wrong key, wrong place, or the data was changed or cut."""


class KeyInvalid(SealingError):
    """This is not an encryption key."""


def new_job_key() -> bytes:
    """Make a job's key: 32 random bytes."""
    return os.urandom(KEY_BYTES)


def encrypt(key: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Seal data in memory; two calls never give the same bytes.

    Parameters
    ----------
    aad:
        Where the data belongs; opening it as anything else fails. Not part of the result.
    """
    return _encrypt_with_salt(key, plaintext, aad, os.urandom(KEY_BYTES))


def decrypt(key: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
    """Open sealed data.

    Raises
    ------
    NotSealed, NotAuthentic, KeyInvalid
    """
    cipher = _open_header(key, sealed[:HEADER_BYTES], aad)
    size = CHUNK_BYTES + TAG_BYTES
    starts = range(HEADER_BYTES, max(len(sealed), HEADER_BYTES + 1), size)
    return b"".join(
        _open_chunk(cipher, index, start + size >= len(sealed), sealed[start : start + size])
        for index, start in enumerate(starts)
    )


def encrypt_file(key: bytes, source: Path, target: Path, aad: bytes = b"") -> str:
    """Seal a file into another, which appears only when it is whole.

    Returns
    -------
    Address of the ciphertext.
    """
    salt = os.urandom(KEY_BYTES)
    cipher, header = _cipher(key, salt, aad)
    digest = blake3(header)
    with source.open("rb") as reader, _replacing(target) as writer:
        writer.write(header)
        for index, (chunk, is_last) in enumerate(_chunks(reader, CHUNK_BYTES)):
            sealed = cipher.encrypt(_nonce(index, is_last), chunk, None)
            digest.update(sealed)
            writer.write(sealed)
    return digest.hexdigest()


def decrypt_file(key: bytes, source: Path, target: Path, aad: bytes = b"") -> None:
    """Open a sealed file into another, which appears only when all of it is authentic.

    Raises
    ------
    NotSealed, NotAuthentic, KeyInvalid
    """
    with source.open("rb") as reader:
        cipher = _open_header(key, reader.read(HEADER_BYTES), aad)
        with _replacing(target) as writer:
            for index, (chunk, is_last) in enumerate(_chunks(reader, CHUNK_BYTES + TAG_BYTES)):
                writer.write(_open_chunk(cipher, index, is_last, chunk))


def address(ciphertext: bytes) -> str:
    """Address of an artifact: BLAKE3 of its ciphertext, in hex."""
    return blake3(ciphertext).hexdigest()


def address_of_file(path: Path) -> str:
    """Address of an artifact on disk."""
    digest = blake3()
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class EncryptionKey:
    """The private key to which job keys are wrapped (X25519); never shown."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        if len(private) != KEY_BYTES:
            raise KeyInvalid(f"a private encryption key has {KEY_BYTES} bytes, not {len(private)}")
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public: Final = self._private.public_key().public_bytes_raw()
        """32 bytes, as in offers and machine documents."""

    def __repr__(self) -> str:
        return f"EncryptionKey(public=0x{self.public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not pickled")

    @classmethod
    def generate(cls) -> EncryptionKey:
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def load(cls, path: Path) -> EncryptionKey:
        """Read a key file of `save`.

        Raises
        ------
        WalletError
            Missing, readable by others, or not a key file.
        """
        try:
            return cls(bytes.fromhex(read_private(path).decode("ascii").strip()))
        except (ValueError, KeyInvalid):
            raise WalletUnreadable(f"{path} is not an encryption key file") from None

    def save(self, path: Path) -> None:
        """Write the key as hex with mode 0600; an existing file is refused (`WalletExists`)."""
        write_new(path, self._private.private_bytes_raw().hex() + "\n")

    def shared_secret(self, public: bytes) -> bytes:
        """X25519 with somebody's public key.

        Raises
        ------
        KeyInvalid
            Not a public key, or one of the few that give a known secret.
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise KeyInvalid("this is not a public encryption key") from None


def wrap_key(job_key: bytes, recipient_public: bytes, aad: bytes = b"") -> bytes:
    """Encrypt a job's key so that only the recipient can open it.

    Parameters
    ----------
    recipient_public:
        Recipient's X25519 key, 32 bytes.
    aad:
        What the key is for; the recipient must know it.

    Raises
    ------
    KeyInvalid
        One of the keys is not a key.
    """
    _check_key(job_key)
    return _wrap(job_key, recipient_public, aad, EncryptionKey.generate())


def unwrap_key(wrapped: bytes, own_key: EncryptionKey, aad: bytes = b"") -> bytes:
    """Open a wrapped job key.

    Raises
    ------
    NotSealed, NotAuthentic, KeyInvalid
    """
    if len(wrapped) != WRAPPED_BYTES or wrapped[0] != _WRAP_VERSION:
        raise NotSealed(f"a wrapped key has {WRAPPED_BYTES} bytes and starts with 1")
    ephemeral = wrapped[1 : 1 + KEY_BYTES]
    kek = _kek(own_key.shared_secret(ephemeral), ephemeral, own_key.public, aad)
    try:
        return ChaCha20Poly1305(kek).decrypt(_ZERO_NONCE, wrapped[1 + KEY_BYTES :], aad)
    except InvalidTag:
        raise NotAuthentic("the key was wrapped for somebody else, or for another use") from None


def _wrap(job_key: bytes, recipient: bytes, aad: bytes, ephemeral: EncryptionKey) -> bytes:
    kek = _kek(ephemeral.shared_secret(recipient), ephemeral.public, recipient, aad)
    # A fixed nonce is safe: every wrap has its own ephemeral key, and with it its own kek.
    sealed = ChaCha20Poly1305(kek).encrypt(_ZERO_NONCE, job_key, aad)
    return bytes([_WRAP_VERSION]) + ephemeral.public + sealed


def _kek(shared: bytes, ephemeral: bytes, recipient: bytes, aad: bytes) -> bytes:
    info = b"gridlease/wrapped-key/1\0" + ephemeral + recipient + aad
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(shared)


def _encrypt_with_salt(key: bytes, plaintext: bytes, aad: bytes, salt: bytes) -> bytes:
    cipher, header = _cipher(key, salt, aad)
    starts = range(0, max(len(plaintext), 1), CHUNK_BYTES)
    chunks = (
        cipher.encrypt(
            _nonce(index, start + CHUNK_BYTES >= len(plaintext)),
            plaintext[start : start + CHUNK_BYTES],
            None,
        )
        for index, start in enumerate(starts)
    )
    return b"".join((header, *chunks))


def _cipher(key: bytes, salt: bytes, aad: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    """The cipher of one sealing, and its header."""
    _check_key(key)
    info = b"gridlease/sealed/1\0" + aad
    derived = HKDF(SHA256(), 2 * KEY_BYTES, salt=salt, info=info).derive(key)
    return ChaCha20Poly1305(derived[:KEY_BYTES]), MAGIC + salt + derived[KEY_BYTES:]


def _open_header(key: bytes, header: bytes, aad: bytes) -> ChaCha20Poly1305:
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        raise NotSealed()
    cipher, expected = _cipher(key, header[len(MAGIC) : len(MAGIC) + KEY_BYTES], aad)
    if not hmac.compare_digest(header, expected):
        raise NotAuthentic("wrong key, or sealed for another place")
    return cipher


def _open_chunk(cipher: ChaCha20Poly1305, index: int, is_last: bool, chunk: bytes) -> bytes:
    try:
        return cipher.decrypt(_nonce(index, is_last), chunk, None)
    except (InvalidTag, ValueError):
        raise NotAuthentic(f"chunk {index} was changed, or the data was cut") from None


def _nonce(index: int, is_last: bool) -> bytes:
    return index.to_bytes(_COUNTER_BYTES, "big") + bytes([is_last])


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bool]]:
    """Chunks of a file, each with whether it is the last; one empty chunk for an empty file."""
    current = file.read(size)
    while True:
        following = file.read(size) if len(current) == size else b""
        yield current, not following
        if not following:
            return
        current = following


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise KeyInvalid(f"a job key has {KEY_BYTES} bytes, not {len(key)}")


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A file for writing that takes the target's place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
