"""One word per concept: the words that the glossary rules out do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# Word ruled out -> the word of the glossary.
RULED_OUT = {
    "miner": "provider",
    "seller": "provider",
    "buyer": "renter",
    "requestor": "renter",
    "executor": "worker",
    "validator": "auditor",
    "verifier": "auditor",
    "ad": "listing",
    "bid": "order",
    "proposal": "offer",
    "agreement": "terms",
    "rental": "lease",
    "deal": "lease",
    "iteration": "step",
    "penalty": "slash",
    "collateral": "stake",
    "vault": "escrow",
    "snapshot": "checkpoint",
    "appeal": "challenge",
}
# The rest of the glossary's "not" column: words that also mean something else, so often that their
# spelling tells nothing. What they may not be used for is left to who reads a change.
EVERYDAY = {
    "host": "not the provider: the host of a URL, the machine around a sandbox",
    "node": "not the worker: a marketplace node, a node of the chain or of a tree",
    "agent": "not the worker in prose: the package is worker_agent",
    "judge": "not the auditor: the verb",
    "ask": "not the listing: the verb",
    "request": "not the order: a request over HTTP",
    "quote": "not the offer: quoted text, and the act of stating a price",
    "contract": "not the terms: the contract on the chain, the package contracts",
    "run": "not the job: the verb, and the command gridlease run",
    "task": "not the job: a Celery task, a task of the event loop, what the runtime is given",
    "epoch": "not the segment: a pass over the data",
    "round": "not the segment: to round a number",
    "submit": "not the commit: to hand a transaction or a call over",
    "claim": "not the challenge: to take an order, an item of the outbox",
    "capture": "not settling: to capture a state, or a program's output",
    "release": "not the refund: a release of the software, to give a lock back",
}
# Places where the word means something else, each with its reason.
ALLOWED = {
    ("executor", "worker_agent/examine.py"): "ThreadPoolExecutor of the standard library",
    ("executor", "contracts/proofs/solver.py"): "the same",
    ("validator", "marketplace/settings.py"): "pydantic's model_validator",
    ("rental", "README.md"): "says in one sentence, to who knows no word of ours, what this is",
    ("rental", "marketplace/app.py"): "the same sentence, on the API's page",
    ("snapshot", "contracts/"): "forge's gas snapshot",
    ("snapshot", "docs/escrow/"): "the folder of that, and others' file of figures",
    ("collateral", "docs/escrow/gas.md"): "a function of another project",
    ("deal", "docs/escrow/gas.md"): "a function of another project",
    ("collateral", "docs/results.md"): "the same, where `make bench` records it",
    ("deal", "docs/results.md"): "the same",
}
PLACES = (
    "client_sdk",
    "contracts/*.py",
    "contracts/src",
    "marketplace",
    "worker_agent",
    "*.md",
    "docs",
)


def words(text: str) -> set[str]:
    """Lower-case words of a text; snake_case and camelCase names are split."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Za-z]+", spaced)}


#: Every word that the glossary of CONTRIBUTING.md replaces; pairs of words go by their context.
NOT_COLUMN = words(
    "host miner seller buyer requestor node agent executor validator verifier judge ad ask request"
    " bid quote proposal contract agreement rental deal run task epoch round iteration snapshot"
    " submit appeal claim vault collateral capture release penalty"
)


def tracked_texts() -> list[tuple[str, str]]:
    listed = subprocess.run(
        ["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.split() if name.endswith((".py", ".sol", ".md"))]
    return [(name, (ROOT / name).read_text(encoding="utf-8")) for name in names]


def test_when_a_ruled_out_word_is_written_then_the_glossary_word_is_asked_for() -> None:
    found = [
        f"{name}: write {RULED_OUT[word]!r}, not {word!r}"
        for name, text in tracked_texts()
        for word in sorted(words(text) & RULED_OUT.keys())
        if not any(word == w and name.startswith(p) for w, p in ALLOWED)
    ]
    assert found == []


def test_when_the_glossary_rules_a_word_out_then_it_is_looked_for_or_excused_with_a_reason() -> (
    None
):
    assert RULED_OUT.keys() | EVERYDAY.keys() == NOT_COLUMN
    assert not RULED_OUT.keys() & EVERYDAY.keys()


def test_when_a_place_is_excused_then_the_word_still_stands_there() -> None:
    texts = tracked_texts()
    for word, place in ALLOWED:
        found = [name for name, text in texts if name.startswith(place) and word in words(text)]
        assert found, (word, place)


@pytest.mark.parametrize("name", ["minerReward", "find_sellers", "Vault"])
def test_when_a_name_holds_a_ruled_out_word_then_it_is_found(name: str) -> None:
    assert words(name) & RULED_OUT.keys()
