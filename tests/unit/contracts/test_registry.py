"""The registry's bindings speak its whole interface, and decode nothing that does not fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from eth_abi.abi import encode

from contracts.bindings import BadChainData, Contract, View
from contracts.codec import Item, load_artifact
from contracts.errors import decode_error
from contracts.events import Event
from contracts.logs import Log, snake_case
from contracts.quorum import ArbiterQuorum
from contracts.registry import (
    REGISTRY_EVENTS,
    AuditFault,
    AuditorRegistry,
    AuditorSlashed,
    AuditorView,
    PayView,
    decode_registry_event,
)
from tests.unit.contracts.test_bindings import camel_case, log_of, sample

ADDRESS = "0x1234567890123456789012345678901234567890"
OTHER = "0x0000000000000000000000000000000000000026"
REGISTRY, QUORUM = AuditorRegistry(ADDRESS), ArbiterQuorum(ADDRESS)
UNBOUND = {
    "AuditorRegistry": {
        "renounceOwnership",  # gives the owner's few rights up for ever: done by hand, if at all
        "pendingOwner",  # read by whoever transfers ownership by hand
        "slash",  # only a quorum may call it
    },
    "ArbiterQuorum": {"eip712Domain"},  # for wallets; the domain is fixed in the protocol
}
UNBOUND_EVENTS = {
    "EIP712DomainChanged",  # never emitted
    "OwnershipTransferStarted",  # of no account in the index
    "OwnershipTransferred",
}


def methods(contract: Contract) -> list[str]:
    return [name for name in dir(contract) if not name.startswith("_") and name != "address"]


def items() -> list[Item]:
    names = ("AuditorRegistry", "ArbiterQuorum")
    found = [item for name in names for item in load_artifact(name).events.values()]
    return [item for item in found if item.name not in UNBOUND_EVENTS]


@pytest.mark.parametrize("contract", [REGISTRY, QUORUM])
def test_when_a_method_is_called_then_it_encodes_its_function(contract: Contract) -> None:
    functions = load_artifact(type(contract).__name__).functions
    for method in methods(contract):
        item = functions[camel_case(method)]
        arguments = [sample(kind) for kind in item.inputs]
        made = getattr(contract, method)(*arguments)
        assert made.data == item.selector + encode(item.inputs, arguments)
        assert made.to == ADDRESS
        assert made.name == f"{type(contract).__name__}.{item.name}"
        assert isinstance(made, View) is not item.mutates
        if isinstance(made, View):
            made.decode(encode(item.outputs, [sample(kind) for kind in item.outputs]))


@pytest.mark.parametrize("contract", [REGISTRY, QUORUM])
def test_when_the_interface_grows_then_the_bindings_must_follow(contract: Contract) -> None:
    name = type(contract).__name__
    bound = {camel_case(method) for method in methods(contract)}
    assert set(load_artifact(name).functions) - bound == UNBOUND[name]


def test_when_an_event_is_added_then_it_has_a_class() -> None:
    assert {item.name for item in items()} == set(REGISTRY_EVENTS)


@pytest.mark.parametrize("item", items(), ids=lambda item: item.name)
def test_when_an_event_is_logged_then_it_decodes_to_its_class(item: Item) -> None:
    log = log_of(item, [sample(kind) for kind in item.inputs])
    event = decode_registry_event(log)
    assert isinstance(event, REGISTRY_EVENTS[item.name])
    own = {f.name for f in dataclasses.fields(event)} - {f.name for f in dataclasses.fields(Event)}
    assert own == {snake_case(part) for part in item.input_names}
    with pytest.raises(BadChainData):
        decode_registry_event(dataclasses.replace(log, topics=[*log.topics, bytes(32)]))


def slash_log(fault: int) -> Log:
    item = next(item for item in items() if item.name == "AuditorSlashed")
    return log_of(item, [ADDRESS, ADDRESS, bytes(32), 1, fault, ADDRESS, 9, 8, 7])


def test_when_a_fault_is_unknown_then_it_is_refused() -> None:
    event = decode_registry_event(slash_log(1))
    assert isinstance(event, AuditorSlashed)
    assert (event.fault, event.amount) == (AuditFault.NO_REPORT, 9)
    with pytest.raises(BadChainData, match="fault"):
        decode_registry_event(slash_log(2))


def test_when_a_log_is_not_ours_then_it_is_skipped() -> None:
    log = slash_log(0)
    assert decode_registry_event(dataclasses.replace(log, topics=[])) is None
    assert decode_registry_event(dataclasses.replace(log, topics=[b"\x01" * 32])) is None


def test_when_structs_come_back_then_they_have_names() -> None:
    functions = load_artifact("AuditorRegistry").functions
    auditor = (5, 6, 7, b"\x01" * 32, b"\x02" * 32)
    data = encode(functions["auditorOf"].outputs, [auditor])
    assert REGISTRY.auditor_of(ADDRESS, ADDRESS).decode(data) == AuditorView(*auditor)
    pay = (9, 8, b"\x03" * 32, 7, b"\x04" * 32, 6, 5)
    data = encode(functions["payOf"].outputs, [pay])
    assert REGISTRY.pay_of(ADDRESS).decode(data) == PayView(*pay)


def test_when_a_page_of_auditors_comes_back_then_bonds_are_by_address() -> None:
    view = REGISTRY.auditors_at(ADDRESS, bytes(32), 1, 0, 10)
    kinds = load_artifact("AuditorRegistry").functions["auditorsAt"].outputs
    assert view.decode(encode(kinds, [[ADDRESS, OTHER], [3, 4]])) == {ADDRESS: 3, OTHER: 4}
    with pytest.raises(BadChainData, match="2 auditors with 1 bonds"):
        view.decode(encode(kinds, [[ADDRESS, OTHER], [3]]))


def test_when_a_revert_comes_from_the_registry_then_it_is_named() -> None:
    errors: dict[str, Any] = {i.name: i for i in load_artifact("AuditorRegistry").errors.values()}
    item = errors["UnbondTooHigh"]
    error = decode_error(item.selector + encode(item.inputs, [3, 2]))
    assert (error.name, error.args) == ("UnbondTooHigh", {"amount": 3, "available": 2})
