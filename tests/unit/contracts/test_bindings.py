"""The bindings speak the whole interface, and decode nothing that does not fit."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.terms import Terms
from contracts.bindings import (
    BadChainData,
    CloseCause,
    LeaseEscrow,
    LeaseStatus,
    Token,
    View,
    decode_error,
    decode_event,
)
from contracts.codec import MAX_DATA_BYTES, Item, decode, load_artifact, split_tuple
from contracts.events import EVENT_CLASSES, Closed, Event, Opened
from contracts.logs import Log, snake_case

ADDRESS = "0x1234567890123456789012345678901234567890"
ESCROW = LeaseEscrow(ADDRESS)
# Inherited functions that nobody here calls, each with its reason.
UNBOUND = {
    "eip712Domain",  # for wallets; the domain is fixed in the protocol
    "renounceOwnership",  # gives the owner's few rights up for ever: done by hand, if at all
    "pendingOwner",  # read by whoever transfers ownership by hand
}
UNBOUND_EVENTS = {
    "EIP712DomainChanged",  # never emitted
    "OwnershipTransferStarted",  # of no account in the index
    "OwnershipTransferred",
}
TERMS = Terms(
    renter=ADDRESS,
    provider=ADDRESS,
    operator=ADDRESS,
    token=ADDRESS,
    arbiter=ADDRESS,
    listing_id=b"\x01" * 32,
    machine_hash=b"\x02" * 32,
    job_hash=b"\x03" * 32,
    price_per_segment=1,
    bond=2,
    segments=3,
    fee_bps=4,
    audit_bps=5,
    reserve_segments=6,
    window=7,
    commit_grace=8,
    dispute_timeout=9,
    open_by=10,
    first_commit_within=11,
    max_duration=12,
    min_segment_seconds=13,
    predecessor=bytes(32),
    nonce=14,
)


def camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def sample(kind: str, number: int = 1) -> Any:
    """A value of an ABI type, another one for each number."""
    if kind.endswith("[]"):
        return [sample(kind[:-2], number)]
    if kind.startswith("("):
        return tuple(sample(part, number + i) for i, part in enumerate(split_tuple(kind)))
    return {
        "address": f"0x{number:040x}",
        "bool": True,
        "bytes": b"{}" * number,
        "bytes32": bytes([number]) * 32,
        "string": "text" * number,
    }.get(kind, number)


def item_of(contract: Any, method: str) -> Item:
    odd = {"list_machine": "list", "domain_separator": "DOMAIN_SEPARATOR"}
    name = odd.get(method) or camel_case(method)
    return load_artifact(type(contract).__name__.replace("Token", "TestToken")).functions[name]


def methods(contract: Any) -> list[str]:
    return [name for name in dir(contract) if not name.startswith("_") and name != "address"]


@pytest.mark.parametrize("contract", [ESCROW, Token(ADDRESS)])
def test_when_a_method_is_called_then_it_encodes_its_function(contract: Any) -> None:
    for method in methods(contract):
        item = item_of(contract, method)
        # No two are equal: two that change places are noticed.
        arguments = [sample(kind, number) for number, kind in enumerate(item.inputs, start=1)]
        made = getattr(contract, method)(*arguments)
        assert made.data == item.selector + encode(item.inputs, arguments)
        assert made.to == ADDRESS
        assert made.name.endswith(f".{item.name}")
        assert isinstance(made, View) is not item.mutates
        if isinstance(made, View):
            made.decode(encode(item.outputs, [sample(kind) for kind in item.outputs]))


def test_when_a_function_takes_the_chains_own_coin_then_its_call_carries_it() -> None:
    abi = load_artifact("LeaseEscrow").abi
    payable = {item["name"] for item in abi if item.get("stateMutability") == "payable"}
    carrying = set()
    for method in methods(ESCROW):
        item, call = item_of(ESCROW, method), getattr(ESCROW, method)
        if "value" in inspect.signature(call).parameters:
            arguments = [sample(kind) for kind in item.inputs]
            assert (call(*arguments).value, call(*arguments, value=9).value) == (0, 9)
            carrying.add(item.name)
    assert carrying == payable


def test_when_the_interface_grows_then_the_bindings_must_follow() -> None:
    artifact = load_artifact("LeaseEscrow")
    bound = {item_of(ESCROW, method).name for method in methods(ESCROW)}
    assert set(artifact.functions) - bound == UNBOUND
    names = {item.name for item in artifact.events.values()}
    assert names - set(EVENT_CLASSES) == UNBOUND_EVENTS
    assert set(EVENT_CLASSES) <= names


@pytest.mark.parametrize("name", sorted(EVENT_CLASSES))
def test_when_an_event_is_logged_then_it_decodes_to_its_class(name: str) -> None:
    item = next(i for i in load_artifact("LeaseEscrow").events.values() if i.name == name)
    log = log_of(item, [sample(kind) for kind in item.inputs])
    event = decode_event(log)
    assert isinstance(event, EVENT_CLASSES[name])
    own = {f.name for f in dataclasses.fields(event)} - {f.name for f in dataclasses.fields(Event)}
    assert own == {snake_case(part) for part in item.input_names}
    assert (event.block_number, event.log_index) == (7, 3)
    with pytest.raises(BadChainData):
        decode_event(dataclasses.replace(log, topics=[*log.topics, bytes(32)]))
    if log.data:
        with pytest.raises(BadChainData):
            decode_event(dataclasses.replace(log, data=log.data[:-1]))


def log_of(item: Item, values: list[Any]) -> Log:
    indexed = [i for i, is_indexed in enumerate(item.indexed) if is_indexed]
    plain = [i for i, is_indexed in enumerate(item.indexed) if not is_indexed]
    topics = [encode([item.inputs[i]], [values[i]]) for i in indexed]
    return Log(
        address=ADDRESS,
        topics=[item.topic, *topics],
        data=encode([item.inputs[i] for i in plain], [values[i] for i in plain]),
        block_number=7,
        block_hash=b"\x08" * 32,
        tx_hash=b"\x09" * 32,
        log_index=3,
    )


def test_when_a_lease_opens_then_its_terms_come_back_as_they_were() -> None:
    item = next(i for i in load_artifact("LeaseEscrow").events.values() if i.name == "Opened")
    event = decode_event(log_of(item, [b"\x05" * 32, ADDRESS, ADDRESS, TERMS.abi_tuple()]))
    assert isinstance(event, Opened)
    assert event.terms == TERMS.abi_tuple()


def test_when_the_cause_or_status_is_unknown_then_it_is_refused() -> None:
    item = next(i for i in load_artifact("LeaseEscrow").events.values() if i.name == "Closed")
    good = decode_event(log_of(item, [bytes(32), 5, 1, 2]))
    assert isinstance(good, Closed)
    assert good.cause is CloseCause.FRAUD
    with pytest.raises(BadChainData, match="cause"):
        decode_event(log_of(item, [bytes(32), 200, 1, 2]))
    view = ESCROW.lease_of(bytes(32))
    outputs = load_artifact("LeaseEscrow").functions["leaseOf"].outputs
    fields = [1, 2, 3, 4, 5, 6, 7, b"\x01" * 32, True]
    lease = view.decode(encode(outputs, [tuple(fields)]))
    assert (lease.status, lease.is_unretrievable) == (LeaseStatus.ACTIVE, True)
    with pytest.raises(BadChainData, match="status"):
        view.decode(encode(outputs, [(9, *fields[1:])]))


def test_when_a_log_is_not_ours_then_it_is_skipped() -> None:
    item = next(iter(load_artifact("LeaseEscrow").events.values()))
    log = log_of(item, [sample(kind) for kind in item.inputs])
    assert decode_event(dataclasses.replace(log, topics=[])) is None
    assert decode_event(dataclasses.replace(log, topics=[b"\x01" * 32])) is None


@pytest.mark.parametrize(("owed", "free"), [(0, 5), (4, 1), (5, 0), (6, 0)])
def test_when_stake_is_locked_unbonding_or_owed_then_it_is_not_free(owed: int, free: int) -> None:
    fields = encode(["uint256"] * 5, [10, 3, 2, 0, owed])
    assert ESCROW.stake_of(ADDRESS, ADDRESS).decode(fields).free == free


@given(st.binary(max_size=600))
def test_when_data_is_random_then_decoding_refuses_or_fits(content: bytes) -> None:
    for kinds in (("address",), ("string",), ("(uint8,bytes)[]",), ("bool", "bytes32")):
        try:
            values = decode(kinds, content)
        except BadChainData:
            continue
        assert len(values) == len(kinds)
    assert decode_error(content).name


def test_when_data_is_huge_or_hostile_then_it_is_refused() -> None:
    with pytest.raises(BadChainData, match="more than"):
        decode(("bytes",), bytes(MAX_DATA_BYTES + 1))
    far = encode(["uint256"], [2**255])
    with pytest.raises(BadChainData):
        decode(("bytes",), far)
    long = encode(["uint256", "uint256"], [32, 2**60])
    with pytest.raises(BadChainData):
        decode(("uint256[]",), long)


def test_when_a_revert_has_a_reason_then_it_is_named() -> None:
    escrow = {item.name: item for item in load_artifact("LeaseEscrow").errors.values()}
    item = escrow["CreditTooLow"]
    error = decode_error(item.selector + encode(item.inputs, [ADDRESS, ADDRESS, 3, 2]))
    assert error.name == "CreditTooLow"
    assert error.args["credit"] == 2
    text = keccak(text="Error(string)")[:4] + encode(["string"], ["no" * 1000])
    assert decode_error(text).name == "Error"
    assert len(decode_error(text).args["text"]) == 500
    panic = keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x11])
    assert decode_error(panic).args == {"code": 0x11}
    assert decode_error(b"").args == {}
    assert decode_error(item.selector + b"\x01").name == "Unexplained"
    assert decode_error(b"\x01\x02\x03\x04").args == {"selector": b"\x01\x02\x03\x04"}


def test_when_types_nest_then_their_parts_are_found() -> None:
    assert split_tuple("(address,(uint8,bytes32)[],bool)") == [
        "address",
        "(uint8,bytes32)[]",
        "bool",
    ]
    assert decode(("(address,uint8)[]",), encode(["(address,uint8)[]"], [[(ADDRESS, 1)]])) == (
        ((ADDRESS, 1),),
    )
