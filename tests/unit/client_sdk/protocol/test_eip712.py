"""Signed types: digests, JSON form, bounds. eth_account is the independent implementation."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from eth_abi import encode
from eth_account._utils.encode_typed_data.encoding_and_hashing import hash_domain
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.addresses import (
    ZERO_ADDRESS,
    address_bytes,
    checksum_address,
    is_zero_address,
    same_address,
)
from client_sdk.protocol.authorizations import ReceiveWithAuthorization
from client_sdk.protocol.canonical import canonical_json, parse_json
from client_sdk.protocol.consents import Challenge, FailedProbe, Opening, Revocation, Stop
from client_sdk.protocol.eip712 import (
    Domain,
    Typed,
    digest,
    members_of,
    struct_hash,
    typed_data,
)
from client_sdk.protocol.errors import FieldError, MessageError, OutOfRange, WrongType
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.messages import AuditorKey, AuditReport, Progress
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.rulings import AuditVerdict, Rejection, Retrieval, Verdict
from client_sdk.protocol.terms import Terms, Voucher, chained_root
from client_sdk.protocol.verification import (
    Verification,
    verification_mask,
    verifications_in,
)

ROOT = Path(__file__).parents[4]
CONSENTS = [Opening, Stop, Challenge, FailedProbe, Revocation]
KINDS = [
    *CONSENTS,
    ReceiveWithAuthorization,
    Terms,
    Voucher,
    Offer,
    Order,
    Progress,
    AuditReport,
    AuditorKey,
    Verdict,
    Retrieval,
    Rejection,
    AuditVerdict,
]
HASHES = st.binary(min_size=32, max_size=32)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
NAMES = st.sampled_from(["Gridlease", "USD Coin"])
DOMAINS = st.builds(Domain, st.integers(0, 2**64 - 1), ADDRESSES, NAMES, st.sampled_from("12"))


def values_of(solidity: str) -> st.SearchStrategy:
    if solidity == "address":
        return ADDRESSES
    if solidity == "bytes32":
        return HASHES
    if solidity == "bool":
        return st.booleans()
    bits = int(solidity.removeprefix("uint"))
    return st.integers(0, 2**bits - 1) | st.just(2**bits - 1)


def objects_of(kind: type[Typed]) -> st.SearchStrategy:
    return st.builds(
        kind, **{m.attribute: values_of(m.solidity) for m in members_of(kind.EIP712_TYPE)}
    )


OBJECTS = st.one_of([objects_of(kind) for kind in KINDS])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flagged(Typed):
    EIP712_TYPE = "Flagged(bool flag,uint256 number)"
    SCHEMA = "test/flagged/1"

    flag: bool
    number: int


@given(OBJECTS | objects_of(Flagged), DOMAINS)
def test_when_an_object_is_hashed_then_eth_account_agrees(obj, domain):
    message = encode_typed_data(full_message=typed_data(obj, domain))
    assert digest(obj, domain) == bytes(_hash_eip191_message(message))
    assert struct_hash(obj) == bytes(message.body)
    assert domain.separator == bytes(hash_domain(domain.to_json()))


@given(OBJECTS | objects_of(Flagged))
def test_when_an_object_travels_as_json_then_it_arrives_equal(obj):
    data = canonical_json(obj.to_json())
    assert type(obj).from_json(parse_json(data)) == obj


@given(OBJECTS, DOMAINS, st.data())
def test_when_any_bit_of_any_field_flips_then_the_digest_changes(obj, domain, data):
    member = data.draw(st.sampled_from(members_of(obj.EIP712_TYPE)))
    value = getattr(obj, member.attribute)
    if member.solidity == "address":
        raw = int.from_bytes(address_bytes(value), "big") ^ 1 << data.draw(st.integers(0, 159))
        changed = "0x" + raw.to_bytes(20, "big").hex()
    elif member.solidity == "bytes32":
        raw = int.from_bytes(value, "big") ^ 1 << data.draw(st.integers(0, 255))
        changed = raw.to_bytes(32, "big")
    else:
        changed = value ^ 1 << data.draw(st.integers(0, member.bits - 1))
    other = dataclasses.replace(obj, **{member.attribute: changed})
    assert digest(other, domain) != digest(obj, domain)


@given(objects_of(Terms), DOMAINS, DOMAINS)
def test_when_the_domain_differs_then_the_lease_id_differs(terms, one, other):
    assert (terms.lease_id(one) == terms.lease_id(other)) == (one == other)
    assert terms.lease_id(one) == digest(terms, one)


@given(objects_of(Terms))
def test_when_terms_are_encoded_for_the_contract_then_the_struct_hash_is_over_those_words(terms):
    kinds = [m.solidity for m in members_of(Terms.EIP712_TYPE)]
    words = encode(kinds, terms.abi_tuple())
    assert struct_hash(terms) == keccak256(keccak256(Terms.EIP712_TYPE.encode()) + words)


@pytest.mark.parametrize("kind", [*KINDS, Flagged])
def test_when_a_type_is_declared_then_members_and_attributes_are_the_same_in_order(kind):
    members = [member.attribute for member in members_of(kind.EIP712_TYPE)]
    assert sorted(members) == sorted(field.name for field in dataclasses.fields(kind))
    assert kind.EIP712_TYPE.startswith(kind.__name__ + "(")
    assert re.fullmatch(r"(gridlease|test)/[a-z-]+/1", kind.SCHEMA)


def test_when_terms_are_the_known_ones_then_the_lease_id_is_the_known_one(make_terms):
    domain = Domain(31337, "0x" + "0a" * 20)
    assert make_terms().lease_id(domain).hex() == GOLDEN_LEASE_ID
    assert domain.separator.hex() == GOLDEN_SEPARATOR
    assert make_terms().cost == 7_500_000
    assert not make_terms().metered
    assert make_terms(window=0).metered


GOLDEN_LEASE_ID = "8791b5173412fcc5aa6544256d4afe22a8524678eb00af55521a9277f4d707e4"
GOLDEN_SEPARATOR = "79648002f381f750d69846fac1a6f5f55d81e503817ea4d2150803ce3117a162"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("segments", 2**16),
        ("segments", -1),
        ("segments", True),
        ("segments", "5"),
        ("listing_id", b"\x06" * 31),
        ("listing_id", "0x" + "06" * 32),
        ("renter", "0x01"),
        ("renter", 5),
        ("renter", "0xAbababababababababababababababababababab"),
    ],
)
def test_when_a_value_does_not_fit_then_no_object_is_made(make_terms, field, value):
    with pytest.raises(FieldError) as caught:
        make_terms(**{field: value})
    assert caught.value.field == field


def test_when_a_flag_is_not_a_boolean_then_no_object_is_made():
    with pytest.raises(FieldError):
        Flagged(flag=1, number=1)


def test_when_a_domain_does_not_fit_then_it_is_refused():
    with pytest.raises(FieldError):
        Domain(2**64, ZERO_ADDRESS)
    with pytest.raises(FieldError):
        Domain(1, "0x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("extra", 1),
        ("segments", "30"),
        ("segments", 65_536),
        ("bond", 5),
        ("bond", "-5"),
        ("bond", str(2**96)),
        ("renter", None),
        ("renter", "0x" + "ab" * 19),
        ("job_hash", "08" * 32),
        ("schema", "gridlease/offer/1"),
    ],
)
def test_when_json_of_terms_is_tampered_with_then_it_is_refused(make_terms, key, value):
    body = make_terms().to_json() | {key: value}
    with pytest.raises(MessageError) as caught:
        Terms.from_json(body, "terms")
    assert caught.value.path == f"terms.{key}"


def test_when_a_key_is_missing_then_json_is_refused(make_terms):
    for key in make_terms().to_json():
        body = make_terms().to_json()
        del body[key]
        with pytest.raises(MessageError):
            Terms.from_json(body)


def test_when_an_object_has_a_rule_of_its_own_then_json_that_breaks_it_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Even(Typed):
        EIP712_TYPE = "Even(uint8 number)"
        SCHEMA = "test/even/1"

        number: int

        def __post_init__(self):
            super().__post_init__()
            if self.number % 2:
                raise FieldError("number", "odd")

    assert Even.from_json({"schema": "test/even/1", "number": 2}).number == 2
    with pytest.raises(OutOfRange, match="odd"):
        Even.from_json({"schema": "test/even/1", "number": 1})


def test_when_addresses_differ_in_case_only_then_objects_are_equal(make_terms):
    upper = "0x" + "ab".upper() * 20
    assert make_terms(renter=upper) == make_terms(renter=upper.lower().replace("0X", "0x"))
    assert same_address(upper, upper.lower())
    assert is_zero_address(ZERO_ADDRESS)
    assert not is_zero_address(upper)


@pytest.mark.parametrize(
    "address",
    [  # EIP-55, test cases
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_when_the_checksum_is_right_then_the_address_is_accepted(address):
    assert checksum_address(address) == address
    assert checksum_address(address.lower()) == address
    with pytest.raises(OutOfRange, match="checksum"):
        checksum_address("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


def test_when_an_address_is_not_text_then_it_is_refused():
    with pytest.raises(WrongType):
        checksum_address(b"\0" * 20)


def test_when_commits_are_chained_then_the_contract_s_encoding_is_hashed():
    packed = encode(["bytes32", "uint16", "bytes32"], [b"\1" * 32, 7, b"\2" * 32])
    assert chained_root(b"\1" * 32, 7, b"\2" * 32) == keccak256(packed)


def test_when_the_contract_s_interface_is_read_then_its_terms_are_ours():
    artifact = json.loads((ROOT / "contracts/abi/LeaseEscrow.json").read_text())
    (function,) = (item for item in artifact["abi"] if item.get("name") == "open")
    members = [(item["type"], item["name"]) for item in function["inputs"][0]["components"]]
    assert members == [(m.solidity, m.name) for m in members_of(Terms.EIP712_TYPE)]
    source = (ROOT / "contracts/src/escrow/LeaseTypes.sol").read_text()
    assert Voucher.EIP712_TYPE in source
    joined = "".join(re.findall(r'"([^"]*)"', source))
    for kind in (Terms, Order, *CONSENTS):
        assert kind.EIP712_TYPE in joined
    (function,) = (item for item in artifact["abi"] if item.get("name") == "orderDigest")
    members = [(item["type"], item["name"]) for item in function["inputs"][0]["components"]]
    assert members == [(m.solidity, m.name) for m in members_of(Order.EIP712_TYPE)]


def test_when_an_authorization_is_typed_then_it_is_the_one_of_eip_3009():
    known = "d099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8"
    assert keccak256(ReceiveWithAuthorization.EIP712_TYPE.encode()).hex() == known


def test_when_the_quorum_s_source_is_read_then_its_rulings_are_ours():
    source = (ROOT / "contracts/src/ArbiterQuorum.sol").read_text()
    for kind in (Verdict, Retrieval, Rejection, AuditVerdict):
        assert f'"{kind.EIP712_TYPE}"' in source


def test_when_keccak_is_taken_then_it_is_ethereum_s():
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == empty


@given(objects_of(Offer), objects_of(Order), DOMAINS)
def test_when_offers_and_orders_are_read_then_time_and_modes_are_plain(offer, order, domain):
    assert offer.offer_id(domain) == digest(offer, domain)
    assert order.order_digest(domain) == digest(order, domain)
    for item in (offer, order):
        assert item.expired(item.expires_at)
        assert not item.expired(item.expires_at - 1)
        assert verification_mask(item.verifications) == item.verification & 15


def test_when_modes_make_a_mask_then_the_mask_gives_them_back():
    assert [mode.bit for mode in Verification] == [1, 2, 4, 8]
    assert verifications_in(verification_mask(Verification)) == set(Verification)
    assert verifications_in(0b1_0000_1000) == {Verification.METERED}
