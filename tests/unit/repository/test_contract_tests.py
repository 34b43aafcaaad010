"""The contracts' tests leave nothing out: events, functions, named attacks, properties."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from contracts.codec import load_artifact

ROOT: Final = Path(__file__).parents[3]
TESTS: Final = ROOT / "contracts" / "test"
PROPERTIES: Final = range(1, 35)
CONTRACTS: Final = ("LeaseEscrow", "AuditorRegistry", "ArbiterQuorum")
# OpenZeppelin declares it for domains that can change; ours cannot.
NEVER_EMITTED: Final = {"EIP712DomainChanged"}
# forge compares what follows with the next event of the call: all topics and data.
EXPECTED: Final = re.compile(r"\b(?:_expect\w*|vm\.expectEmit)\([\w()[\]]*\);\s+emit \w+\.(\w+)\(")
# Recorded logs, compared the same way.
COMPARED: Final = re.compile(r"= \w+\.(\w+)\.selector;[^;]*\b_assertLog\(", re.DOTALL)
ATTACKS: Final = (
    "friendlyChallenge",
    "lateLowerChallenge",
    "withholdingForIncome",
    "selfChallenge",
    "openInTheLastSecond",
    "stopJustBeforeACommit",
    "copiedTerms",
    "standingAllowance",
    "hostileRelayer",
    "reserveWithoutSaving",
    "withheldCheckpoints",
    "rejectionAsFreeCompute",
    "bondRecycling",
    "deadArbiter",
    "deadAuditors",
    "orderReplay",
    "reorganisation",
)
# The owner's, which take no reentrancy and move nothing.
OF_THE_OWNER: Final = {
    "acceptOwnership",
    "pause",
    "renounceOwnership",
    "setAuditPool",
    "setFee",
    "setTreasury",
    "transferOwnership",
    "unpause",
}


def sources(folder: Path = TESTS) -> str:
    """All test contracts, one after the other."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.t.sol")))


def asserted_events(text: str) -> set[str]:
    return set(EXPECTED.findall(text)) | set(COMPARED.findall(text))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_when_a_contract_has_an_event_then_a_test_expects_its_arguments(contract: str) -> None:
    events = {entry["name"] for entry in load_artifact(contract).abi if entry["type"] == "event"}
    assert events
    assert sorted(events - NEVER_EMITTED - asserted_events(sources())) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_when_an_attack_is_known_then_a_test_carries_its_name(attack: str) -> None:
    assert re.search(rf"function test_{attack}_\w+\(", sources(TESTS / "attacks"))


def test_when_an_event_is_only_mentioned_then_it_does_not_count() -> None:
    text = "emit IEscrowTypes.Opened(id); Opened.selector; _expectEmit(); emit I.Closed(id);"
    assert asserted_events(text) == {"Closed"}


def test_when_a_function_changes_state_then_it_is_called_from_within_others() -> None:
    text = (TESTS / "Reentrancy.t.sol").read_text(encoding="utf-8")
    called = set(re.findall(r"encodeCall\(escrow\.(\w+),", text))
    called |= {name for name in ("openFor", "challengeFrom") if f"_{name}Call(" in text}
    functions = {
        entry["name"]
        for entry in load_artifact("LeaseEscrow").abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert sorted(functions - OF_THE_OWNER - called) == []


def test_when_a_property_has_a_number_then_page_and_code_carry_it() -> None:
    page = (ROOT / "docs" / "escrow" / "properties.md").read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"^\| ([0-9]+) \|", page, re.MULTILINE)] == [*PROPERTIES]
    model = ROOT / "tests" / "integration" / "contracts" / "test_model.py"
    code = [*TESTS.rglob("*.sol"), model]
    marked = {
        int(n) for path in code for n in re.findall(r"\bA4 #([0-9]+)", path.read_text("utf-8"))
    }
    assert sorted(set(PROPERTIES) - marked) == []
