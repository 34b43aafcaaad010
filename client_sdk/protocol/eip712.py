"""Typed structured data that accounts sign and the contract re-hashes (EIP-712).

Preimages::

    typeHash   = keccak256(EIP712_TYPE)                        the type string, as text
    structHash = keccak256(typeHash || encode(member) ...)     32 bytes for each member, in order
    separator  = keccak256(keccak256("EIP712Domain(string name,string version,uint256 chainId,
                 address verifyingContract)") || keccak256(name) || keccak256(version)
                 || chainId || verifyingContract)             "Gridlease" and "1", unless named
    digest     = keccak256(0x19 || 0x01 || separator || structHash)

Covered: flat structs of ``address``, ``bytes32``, ``bool`` and ``uintN`` members; all values are
checked when an object is made, so that every object that exists can be signed.
Not covered: signatures themselves (``client_sdk.chain``); nested structs and dynamic members.
"""

from __future__ import annotations

import functools
import keyword
import re
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from client_sdk.protocol.addresses import address_bytes, checksum_address
from client_sdk.protocol.canonical import HASH_BYTES, to_hex
from client_sdk.protocol.errors import FieldError, OutOfRange, ProtocolError
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.wire import JsonObject, Reader

DOMAIN_NAME: Final = "Gridlease"
DOMAIN_VERSION: Final = "1"
_DOMAIN_TYPE: Final = (
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
#: Widest unsigned integer that travels as a JSON number; wider ones are decimal text.
_MAX_JSON_BITS: Final = 48
_STRUCT: Final = re.compile(r"(\w+)\((.*)\)")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a struct."""

    #: Type in Solidity: ``address``, ``bytes32``, ``bool`` or ``uintN``.
    solidity: str
    #: Name in the type string, in camel case.
    name: str
    #: Name of the attribute and of the JSON key, in snake case; `_` after a word of Python's.
    attribute: str

    @property
    def bits(self) -> int:
        """Width of a ``uintN`` in bits."""
        return int(self.solidity.removeprefix("uint"))


@functools.cache
def members_of(type_string: str) -> tuple[Member, ...]:
    """Return the members of a flat struct's type string, in order."""
    match = _STRUCT.fullmatch(type_string)
    assert match is not None, type_string
    pairs = [part.split(" ") for part in match.group(2).split(",")]
    return tuple(Member(kind, name, _attribute(name)) for kind, name in pairs)


def _attribute(name: str) -> str:
    snake = _HUMP.sub(r"_\1", name).lower()
    return f"{snake}_" if keyword.iskeyword(snake) else snake


@dataclass(frozen=True, slots=True)
class Domain:
    """The contract on a chain that signatures are meant for.

    A signature made for one chain or contract is worthless at every other.
    """

    chain_id: int
    #: Address of the contract that reads the signature, EIP-55.
    verifying_contract: str
    #: What the contract calls itself; tokens have names of their own.
    name: str = DOMAIN_NAME
    version: str = DOMAIN_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain_id", _encodable_uint("chain_id", self.chain_id, 64))
        address = _checked("verifying_contract", self.verifying_contract, "address")
        object.__setattr__(self, "verifying_contract", address)

    @property
    def separator(self) -> bytes:
        """Hash of the domain; preimage in the module's text."""
        return _separator(self.chain_id, self.verifying_contract, self.name, self.version)

    def to_json(self) -> JsonObject:
        """Return the domain as wallets expect it."""
        return {
            "name": self.name,
            "version": self.version,
            "chainId": self.chain_id,
            "verifyingContract": self.verifying_contract,
        }


@functools.lru_cache(maxsize=256)
def _separator(chain_id: int, verifying_contract: str, name: str, version: str) -> bytes:
    return keccak256(
        keccak256(_DOMAIN_TYPE.encode())
        + keccak256(name.encode())
        + keccak256(version.encode())
        + chain_id.to_bytes(HASH_BYTES, "big")
        + address_bytes(verifying_contract).rjust(HASH_BYTES, b"\0")
    )


@dataclass(frozen=True, kw_only=True)
class Typed:
    """Base of the objects that accounts sign.

    A subclass is a frozen dataclass whose attributes are the members of ``EIP712_TYPE`` in snake
    case. Values are checked, and addresses brought to their EIP-55 form, when an object is made.
    """

    #: The EIP-712 type string: the one definition of members, order and widths.
    EIP712_TYPE: ClassVar[str]
    #: Value of the JSON key ``schema``.
    SCHEMA: ClassVar[str]

    def __post_init__(self) -> None:
        for member in members_of(self.EIP712_TYPE):
            value = _checked(member.attribute, getattr(self, member.attribute), member.solidity)
            object.__setattr__(self, member.attribute, value)

    def abi_tuple(self) -> tuple[str | int | bytes | bool, ...]:
        """Return the members in order, as a contract call takes them."""
        return tuple(getattr(self, m.attribute) for m in members_of(self.EIP712_TYPE))

    def to_json(self) -> JsonObject:
        """Return the JSON form: ``schema`` and the members in snake case."""
        body: JsonObject = {"schema": self.SCHEMA}
        for member in members_of(self.EIP712_TYPE):
            body[member.attribute] = _to_json(getattr(self, member.attribute), member)
        return body

    @classmethod
    def from_json(cls, value: object, path: str = "") -> Self:
        """Return the object that a stranger's JSON describes.

        Raises
        ------
        MessageError
            When a key is unknown or missing, or a value has the wrong type or does not fit.
        """
        reader = Reader(value, path)
        reader.schema(cls.SCHEMA)
        values = {m.attribute: _from_json(reader, m) for m in members_of(cls.EIP712_TYPE)}
        reader.finish()
        try:
            return cls(**values)
        except FieldError as error:
            raise OutOfRange(reader.at(error.field), str(error)) from error


def struct_hash(obj: Typed) -> bytes:
    """Return the EIP-712 hash of the object alone; preimage in the module's text."""
    encoded = [
        _encode(getattr(obj, member.attribute), member.solidity)
        for member in members_of(obj.EIP712_TYPE)
    ]
    return keccak256(keccak256(obj.EIP712_TYPE.encode()) + b"".join(encoded))


def digest(obj: Typed, domain: Domain) -> bytes:
    """Return the EIP-712 hash that accounts sign; preimage in the module's text."""
    return keccak256(b"\x19\x01" + domain.separator + struct_hash(obj))


def typed_data(obj: Typed, domain: Domain) -> JsonObject:
    """Return the JSON that wallets sign with ``eth_signTypedData_v4``.

    ``bytes32`` members are 0x-hexadecimal text and integers are numbers, as wallets expect.
    """
    name, members = obj.EIP712_TYPE.split("(")[0], members_of(obj.EIP712_TYPE)
    values = {m.name: getattr(obj, m.attribute) for m in members}
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            name: [{"name": m.name, "type": m.solidity} for m in members],
        },
        "primaryType": name,
        "domain": domain.to_json(),
        "message": {k: to_hex(v) if isinstance(v, bytes) else v for k, v in values.items()},
    }


def _checked(field: str, value: object, solidity: str) -> str | int | bytes | bool:
    if solidity == "address":
        try:
            return checksum_address(value)
        except ProtocolError as error:
            raise FieldError(field, str(error)) from error
    if solidity == "bytes32":
        if not isinstance(value, bytes) or len(value) != HASH_BYTES:
            raise FieldError(field, f"expected {HASH_BYTES} bytes")
        return bytes(value)
    if solidity == "bool":
        if not isinstance(value, bool):
            raise FieldError(field, "expected a boolean")
        return value
    return _encodable_uint(field, value, int(solidity.removeprefix("uint")))


def _encodable_uint(field: str, value: object, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FieldError(field, "expected an integer")
    if not 0 <= value < 1 << bits:
        raise FieldError(field, f"{value} does not fit in uint{bits}")
    return int(value)


def _encode(value: str | int | bytes | bool, solidity: str) -> bytes:
    if isinstance(value, str):
        return address_bytes(value).rjust(HASH_BYTES, b"\0")
    if isinstance(value, bytes):
        return value
    assert solidity == "bool" or solidity.startswith("uint"), solidity
    return int(value).to_bytes(HASH_BYTES, "big")


def _to_json(value: str | int | bytes | bool, member: Member) -> object:
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, str | bool) or member.bits <= _MAX_JSON_BITS:
        return value
    return str(value)


def _from_json(reader: Reader, member: Member) -> str | int | bytes | bool:
    key = member.attribute
    if member.solidity == "address":
        return checksum_address(reader.raw(key), reader.at(key))
    if member.solidity == "bytes32":
        return reader.digest(key)
    if member.solidity == "bool":
        return reader.flag(key)
    if member.bits <= _MAX_JSON_BITS:
        return reader.integer(key, high=(1 << member.bits) - 1)
    return reader.amount(key, bits=member.bits)
