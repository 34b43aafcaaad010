"""The escrow's documents name all that its contracts can do, refuse and tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.codec import load_artifact
from tests.bench import escrow_gas

ROOT: Final = Path(__file__).parents[3]
DOCS: Final = ROOT / "docs" / "escrow"
CONTRACTS: Final = ("LeaseEscrow", "AuditorRegistry", "ArbiterQuorum")
READING: Final = ("view", "pure")


def written() -> dict[str, str]:
    return {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))}


def codes(text: str) -> set[str]:
    """First word of each `code` span and each line of a fence: how the documents name a thing."""
    return set(re.findall(r"`([A-Za-z][A-Za-z0-9]*)", text))


def names(abi: Sequence[Mapping[str, Any]], kind: str) -> set[str]:
    """Names of the ABI's entries of a kind; of functions, only of those that change state."""
    return {
        entry["name"]
        for entry in abi
        if entry["type"] == kind and entry.get("stateMutability") not in READING
    }


@pytest.mark.parametrize("kind", ["function", "error", "event"])
@pytest.mark.parametrize("contract", CONTRACTS)
def test_when_a_contract_has_a_name_then_a_page_names_it(contract: str, kind: str) -> None:
    named = set().union(*(codes(text) for text in written().values()))
    expected = names(load_artifact(contract).abi, kind)
    assert expected
    assert sorted(expected - named) == []


def test_when_gas_was_recorded_then_the_page_gives_the_figures() -> None:
    page = written()["gas.md"]
    assert page.count("\n|---") == 3
    assert escrow_gas.with_tables(page, escrow_gas.recorded()) == page


def test_when_a_call_has_a_limit_then_it_keeps_it() -> None:
    assert escrow_gas.above_limit(escrow_gas.recorded()) == []
    assert escrow_gas.above_limit(dict.fromkeys(escrow_gas.LIMITS, 300_001))


def test_when_a_page_exists_then_the_index_links_it() -> None:
    pages = written()
    linked = set(re.findall(r"\]\(([a-z]+\.md)", pages["README.md"]))
    assert linked == pages.keys() - {"README.md"}


def test_when_a_page_links_another_then_that_page_exists() -> None:
    pages = written()
    missing = [
        f"{name}: {target}"
        for name, text in pages.items()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        if not (DOCS / target).exists()
    ]
    assert missing == []


def test_when_a_word_stands_outside_of_code_then_it_names_nothing() -> None:
    assert codes("Closed, `Opened(leaseId)` and `settle`") == {"Opened", "settle"}
