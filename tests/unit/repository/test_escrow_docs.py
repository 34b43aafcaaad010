"""The escrow's documents name all that its contracts can do, refuse and tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.codec import load_artifact
from contracts.logs import snake_case
from tests.bench import escrow_gas

ROOT: Final = Path(__file__).parents[3]
DOCS: Final = ROOT / "docs" / "escrow"
CONTRACTS: Final = ("LeaseEscrow", "AuditorRegistry", "ArbiterQuorum")
PROGRAMS: Final = ("client_sdk", "marketplace", "worker_agent")
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


def test_when_a_program_calls_a_verb_then_the_index_says_so() -> None:
    programs = [path for name in PROGRAMS for path in (ROOT / name).rglob("*.py")]
    called = {
        verb
        for path in programs
        for verb in re.findall(r"\bescrow\.([a-z_]+)", path.read_text(encoding="utf-8"))
    }
    # The binding of `list` has another name: that is a builtin of Python.
    expected = {
        verb
        for verb in names(load_artifact("LeaseEscrow").abi, "function")
        if snake_case(verb) in called or (verb == "list" and "list_machine" in called)
    }
    sentence = re.search(r"The programs of this repository call[^.]*\.", written()["README.md"])
    assert sentence
    assert codes(sentence[0]) == expected


def test_when_gas_was_recorded_then_the_pages_give_the_figures() -> None:
    expected = escrow_gas.pages(escrow_gas.recorded())
    # `python -m tests.bench.escrow_gas --docs` writes them.
    assert written() == {path.name: text for path, text in expected.items()}
    assert written()["gas.md"].count("\n|---") == 3


def test_when_gas_was_recorded_then_the_page_of_the_verb_has_a_row_of_it() -> None:
    pages = written()
    rows = {
        label.replace("`", "")
        for text in pages.values()
        for table in re.findall(r"\| Gas \| \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
        for label in re.findall(r"^\| ([^|]+) \| [\d,]+ \|$", table, re.MULTILINE)
    }
    whole_lives = {escrow_gas.LIFE, "open, one of ten", "commit, one of ten"}
    assert rows == escrow_gas.recorded().keys() - whole_lives
    assert not [name for name, text in pages.items() if re.search(r"Gas: .*\d,\d{3}", text)]


@pytest.mark.parametrize(
    ("snapshot", "contracts"),
    [("GasTest", {"LeaseEscrow"}), ("RegistryGasTest", {"AuditorRegistry", "ArbiterQuorum"})],
)
def test_when_a_contract_has_a_verb_then_its_gas_is_recorded(
    snapshot: str, contracts: set[str]
) -> None:
    verbs = set().union(*(names(load_artifact(name).abi, "function") for name in contracts))
    recorded = {re.split(r"\W", name)[0] for name in escrow_gas.snapshot(snapshot)}
    # Nobody calls `slash`: `slashAuditor` does.
    assert sorted(verbs - recorded - {"slash"}) == []


def test_when_gas_changes_then_its_figure_and_its_costs_do() -> None:
    page = "| `stop` | 1 |\n| `stop` | 1 | 0.1 | 0.1 |\n| unrecorded | 1 |\n"
    assert escrow_gas.with_figures(page, {"stop": 36_614}) == (
        "| `stop` | 36,614 |\n| `stop` | 36,614 | 0.110 | 0.0011 |\n| unrecorded | 1 |\n"
    )


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
