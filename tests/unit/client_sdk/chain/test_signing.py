"""Signatures: made and accepted in one form only."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.constants import SECPK1_N
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.chain import signing
from client_sdk.chain.errors import SignatureInvalid
from client_sdk.chain.wallet import account_from
from client_sdk.protocol.eip712 import Domain, typed_data
from client_sdk.protocol.terms import Voucher

ACCOUNT = account_from(b"\x11" * 32)
DOMAIN = Domain(31337, "0x1234567890123456789012345678901234567890")
VOUCHER = Voucher(lease_id=b"\x05" * 32, segments=7)
SIGNATURE = signing.sign(VOUCHER, DOMAIN, ACCOUNT)


def test_when_an_object_is_signed_then_its_signer_is_recovered() -> None:
    assert len(SIGNATURE) == 65
    assert signing.recover(VOUCHER, DOMAIN, SIGNATURE) == ACCOUNT.address
    assert signing.is_signed_by(VOUCHER, DOMAIN, SIGNATURE, ACCOUNT.address.lower())


def test_when_a_wallet_signs_the_typed_data_then_the_signature_is_the_same() -> None:
    signed = Account.sign_typed_data(ACCOUNT.key, full_message=typed_data(VOUCHER, DOMAIN))
    assert bytes(signed.signature) == SIGNATURE


def test_when_object_domain_or_signature_differ_then_it_is_somebody_elses() -> None:
    other_domain = Domain(1, DOMAIN.verifying_contract)
    other = Voucher(lease_id=b"\x05" * 32, segments=8)
    assert not signing.is_signed_by(other, DOMAIN, SIGNATURE, ACCOUNT.address)
    assert not signing.is_signed_by(VOUCHER, other_domain, SIGNATURE, ACCOUNT.address)
    assert not signing.is_signed_by(VOUCHER, DOMAIN, SIGNATURE[:-1], ACCOUNT.address)


def test_when_the_second_form_of_a_signature_is_given_then_it_is_refused() -> None:
    r, s, v = SIGNATURE[:32], int.from_bytes(SIGNATURE[32:64], "big"), SIGNATURE[64]
    twin = r + (SECPK1_N - s).to_bytes(32, "big") + bytes([55 - v])
    with pytest.raises(SignatureInvalid, match="upper half"):
        signing.recover(VOUCHER, DOMAIN, twin)
    with pytest.raises(SignatureInvalid, match="27 or 28"):
        signing.recover(VOUCHER, DOMAIN, SIGNATURE[:64] + bytes([v - 27]))
    with pytest.raises(SignatureInvalid, match="65 bytes, not 64"):
        signing.recover(VOUCHER, DOMAIN, SIGNATURE[:64])


@pytest.mark.parametrize(
    "signature",
    [
        bytes(64) + b"\x1b",
        b"\xff" * 32 + b"\x01" * 32 + b"\x1b",
        bytes(32) + b"\x01" * 32 + b"\x1c",
    ],
)
def test_when_no_key_can_have_signed_then_it_is_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        signing.recover(VOUCHER, DOMAIN, signature)


@given(st.binary(min_size=64, max_size=66))
def test_when_a_signature_is_random_then_it_is_refused_or_a_strangers(signature: bytes) -> None:
    assert not signing.is_signed_by(VOUCHER, DOMAIN, signature, ACCOUNT.address)


@pytest.mark.parametrize("text", ["", "log in", "zeile\nzwei \u20ac", "x" * 1000])
def test_when_a_text_is_signed_then_its_signer_is_recovered(text: str) -> None:
    signature = signing.sign_text(text, ACCOUNT)
    assert signing.recover_text(text, signature) == ACCOUNT.address
    assert Account.recover_message(encode_defunct(text=text), signature=signature) == (
        ACCOUNT.address
    )
    assert signing.recover_text(text + " ", signature) != ACCOUNT.address
