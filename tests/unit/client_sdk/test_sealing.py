"""Sealing: fixed vectors, round trips, and every way of tampering."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from client_sdk import sealing
from client_sdk.chain.errors import KeyTooOpen, WalletExists, WalletMissing, WalletUnreadable
from client_sdk.sealing import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    EncryptionKey,
    KeyInvalid,
    NotAuthentic,
    NotSealed,
)

KEY = bytes(range(32))
SALT = bytes(range(32, 64))
CHUNK = CHUNK_BYTES + TAG_BYTES


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 written out, so that the format does not rest on one library's word."""
    pseudo_random = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    output, block = b"", b""
    while len(output) < length:
        block = hmac.digest(
            pseudo_random, block + info + bytes([len(output) // 32 + 1]), hashlib.sha256
        )
        output += block
    return output[:length]


def test_when_sealed_with_a_fixed_salt_then_the_bytes_are_those_of_the_format() -> None:
    sealed = sealing._encrypt_with_salt(KEY, b"weights", b"checkpoint:3", SALT)
    derived = hkdf(KEY, SALT, b"gridlease/sealed/1\0checkpoint:3", 64)
    chunk = ChaCha20Poly1305(derived[:32]).encrypt(bytes(11) + b"\x01", b"weights", None)
    assert sealed == b"GLSEAL1\n" + SALT + derived[32:] + chunk
    assert blake3(sealed).hexdigest() == sealing.address(sealed)
    assert sealed.hex() == (
        "474c5345414c310a202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
        "cd5ba0b9e0038185500e1e444f092f72fd721742bcb10194f915bd865e2a7382"
        "96d5bb5daff3591316ebeadee4cca311c31c7074cc01da"
    )


def test_when_a_key_is_wrapped_with_fixed_keys_then_the_bytes_are_those_of_the_format() -> None:
    recipient, ephemeral = EncryptionKey(b"\x07" * 32), EncryptionKey(b"\x09" * 32)
    wrapped = sealing._wrap(KEY, recipient.public, b"job", ephemeral)
    shared = recipient.shared_secret(ephemeral.public)
    info = b"gridlease/wrapped-key/1\0" + ephemeral.public + recipient.public + b"job"
    kek = hkdf(shared, b"", info, 32)
    expected = ChaCha20Poly1305(kek).encrypt(bytes(12), KEY, b"job")
    assert wrapped == b"\x01" + ephemeral.public + expected
    assert wrapped.hex() == (
        "0157db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d421"
        "6395d6851934455b3f3329999945906442a88efb1f2f9b0d4ccc3b682b01e3ff1c099d4091376f75bd4d"
        "37047dba29ac"
    )


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_when_opened_with_its_key_and_place_then_it_is_what_was_sealed(
    content: bytes, aad: bytes
) -> None:
    key = sealing.new_job_key()
    sealed = sealing.encrypt(key, content, aad)
    assert sealing.decrypt(key, sealed, aad) == content
    assert sealed != sealing.encrypt(key, content, aad)


def test_when_the_same_is_sealed_twice_then_nothing_of_it_repeats(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"the same")
    for name in ("first", "second"):
        sealing.encrypt_file(KEY, tmp_path / "plain", tmp_path / name)
    sealed = [(tmp_path / name).read_bytes() for name in ("first", "second")]
    sealed += [sealing.encrypt(KEY, b"the same") for _ in range(2)]
    salts = {one[len(sealing.MAGIC) :][:32] for one in sealed}
    assert len(salts) == len({one[HEADER_BYTES:] for one in sealed}) == 4


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]
)
def test_when_sizes_lie_around_a_chunk_then_memory_and_files_agree(
    size: int, tmp_path: Path
) -> None:
    content = bytes(size)
    (tmp_path / "plain").write_bytes(content)
    found = sealing.encrypt_file(KEY, tmp_path / "plain", tmp_path / "sealed", b"a")
    sealed = (tmp_path / "sealed").read_bytes()
    assert found == sealing.address(sealed) == sealing.address_of_file(tmp_path / "sealed")
    assert sealing.decrypt(KEY, sealed, b"a") == content
    (tmp_path / "memory").write_bytes(sealing.encrypt(KEY, content, b"a"))
    sealing.decrypt_file(KEY, tmp_path / "memory", tmp_path / "opened", b"a")
    assert (tmp_path / "opened").read_bytes() == content
    assert len(sealed) == HEADER_BYTES + size + TAG_BYTES * max(1, -(-size // CHUNK_BYTES))


@given(st.data())
def test_when_any_byte_is_changed_or_cut_then_it_does_not_open(data: st.DataObject) -> None:
    sealed = sealing.encrypt(KEY, b"some weights", b"here")
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(sealed) - 1))
        changed = bytearray(sealed)
        changed[position] ^= data.draw(st.integers(1, 255))
    else:
        changed = bytearray(sealed[: data.draw(st.integers(0, len(sealed) - 1))])
    with pytest.raises((NotAuthentic, NotSealed)):
        sealing.decrypt(KEY, bytes(changed), b"here")


def test_when_whole_chunks_are_cut_swapped_or_added_then_it_does_not_open(tmp_path: Path) -> None:
    content = bytes(2 * CHUNK_BYTES) + b"end"
    sealed = sealing.encrypt(KEY, content)
    header, body = sealed[:HEADER_BYTES], sealed[HEADER_BYTES:]
    first, second, last = body[:CHUNK], body[CHUNK : 2 * CHUNK], body[2 * CHUNK :]
    forged = {
        "last chunk cut": header + first + second,
        "all chunks cut": header,
        "swapped": header + second + first + last,
        "repeated": header + first + first + second + last,
        "appended": sealed + last,
        "empty chunk appended": sealed + first,
    }
    for name, bad in forged.items():
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(NotAuthentic):
            sealing.decrypt(KEY, bad)
        with pytest.raises(NotAuthentic):
            sealing.decrypt_file(KEY, tmp_path / "bad", tmp_path / "opened")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"], name


def test_when_the_key_or_the_place_is_another_then_it_does_not_open() -> None:
    sealed = sealing.encrypt(KEY, b"x", b"manifest")
    with pytest.raises(NotAuthentic):
        sealing.decrypt(KEY, sealed, b"bundle")
    with pytest.raises(NotAuthentic):
        sealing.decrypt(bytes(32), sealed, b"manifest")
    with pytest.raises(KeyInvalid):
        sealing.encrypt(b"short", b"x")


def test_when_it_was_never_sealed_then_the_error_says_so() -> None:
    with pytest.raises(NotSealed, match="not sealed data"):
        sealing.decrypt(KEY, b"PK" + bytes(100))


@given(st.binary(max_size=40))
def test_when_a_key_is_wrapped_then_only_its_recipient_opens_it_for_its_use(aad: bytes) -> None:
    job_key, recipient = sealing.new_job_key(), EncryptionKey.generate()
    wrapped = sealing.wrap_key(job_key, recipient.public, aad)
    assert sealing.unwrap_key(wrapped, recipient, aad) == job_key
    assert wrapped != sealing.wrap_key(job_key, recipient.public, aad)
    with pytest.raises(NotAuthentic):
        sealing.unwrap_key(wrapped, EncryptionKey.generate(), aad)
    with pytest.raises(NotAuthentic):
        sealing.unwrap_key(wrapped, recipient, aad + b"!")


@given(st.integers(0, sealing.WRAPPED_BYTES - 1), st.integers(1, 255))
def test_when_a_wrapped_key_is_changed_then_it_does_not_open(position: int, flip: int) -> None:
    recipient = EncryptionKey(b"\x07" * 32)
    changed = bytearray(sealing.wrap_key(KEY, recipient.public))
    changed[position] ^= flip
    if position == 32 and flip == 128:
        return  # X25519 ignores this bit, but the key derivation does not; see the next test
    with pytest.raises((NotAuthentic, NotSealed, KeyInvalid)):
        sealing.unwrap_key(bytes(changed), recipient)


def test_when_the_ignored_bit_of_the_ephemeral_key_is_set_then_it_does_not_open() -> None:
    recipient = EncryptionKey(b"\x07" * 32)
    changed = bytearray(sealing.wrap_key(KEY, recipient.public))
    changed[32] ^= 128
    with pytest.raises(NotAuthentic):
        sealing.unwrap_key(bytes(changed), recipient)


def test_when_keys_are_malformed_then_they_are_refused() -> None:
    recipient = EncryptionKey.generate()
    for public in (b"", b"\x01" * 31, bytes(32)):  # all zero: the secret would be known
        with pytest.raises(KeyInvalid):
            sealing.wrap_key(KEY, public)
    with pytest.raises(KeyInvalid):
        sealing.wrap_key(b"short", recipient.public)
    with pytest.raises(KeyInvalid):
        EncryptionKey(b"short")
    with pytest.raises(NotSealed):
        sealing.unwrap_key(b"", recipient)


def test_when_saved_then_only_the_owner_reads_it_and_nothing_shows_it(tmp_path: Path) -> None:
    key, path = EncryptionKey.generate(), tmp_path / "keys" / "encryption.key"
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert EncryptionKey.load(path).public == key.public
    secret = path.read_text().strip()
    assert secret not in repr(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(WalletExists):
        key.save(path)
    path.chmod(0o644)
    with pytest.raises(KeyTooOpen):
        EncryptionKey.load(path)
    with pytest.raises(WalletMissing):
        EncryptionKey.load(tmp_path / "none")
    path.chmod(0o600)
    path.write_text("zz")
    with pytest.raises(WalletUnreadable):
        EncryptionKey.load(path)
