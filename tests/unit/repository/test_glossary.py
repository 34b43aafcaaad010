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
    "collateral": "stake",
    "vault": "escrow",
    "snapshot": "checkpoint",
    "appeal": "challenge",
}
# Places where the word means something else, each with its reason.
ALLOWED = {
    ("snapshot", "contracts/"): "forge's gas snapshot",
    ("snapshot", "Makefile"): "forge's gas snapshot",
    ("snapshot", "docs/"): "forge's gas snapshot",
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


@pytest.mark.parametrize("name", ["minerReward", "find_sellers", "Vault"])
def test_when_a_name_holds_a_ruled_out_word_then_it_is_found(name: str) -> None:
    assert words(name) & RULED_OUT.keys()
