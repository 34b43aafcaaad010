"""Gas of the escrow's calls against their limits, and beside other escrows.

Nothing is measured here: forge did (``npm run gas``), and fails when a figure changes.
Ours are whole transactions, with call data and the 21,000 that each costs. What others published,
or their own tests show, is gas of execution: 21,000 is added to each of their transactions.

``python -m tests.bench escrow_gas`` prints the tables of limits and of others; ``python -m
tests.bench.escrow_gas --docs`` writes every figure into docs/escrow. Exit code 1 above a limit.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SNAPSHOTS: Final = ROOT / "contracts" / "snapshots"
DOCS: Final = ROOT / "docs" / "escrow"
BASE: Final = 21_000
COIN_DOLLARS: Final = 3_000
"""Price of the chain's own coin in the examples of docs/escrow/deployment.md."""
GAS_PRICES_GWEI: Final = (1, 0.01)
"""Prices of gas there: of a public chain, and of an L2."""
LIFE: Final = "open, commit, and a tenth of settleMany that completes"
ONE_PROVIDER: Final = "settleMany of 10 that completes, one provider"
TEN_PROVIDERS: Final = "settleMany of 10 that completes, ten providers"
# Raised when security needs more, with the reason in the changelog.
LIMITS: Final = {
    "open": 105_000,
    "openWithAuthorization": 132_000,
    "open, the chain's own coin": 88_000,
    "commit that pays the one before, steady": 62_000,
    ONE_PROVIDER: 10 * 30_000,
    TEN_PROVIDERS: 10 * 36_000,
    "close with refund by a stranger, steady": 50_000,
    LIFE: 200_000,
}
# A row that begins with a call and its gas, and may end with the cost at each of the two prices.
_ROW: Final = re.compile(r"^\| ([^|\n]+) \| [\d,]+ \|( [\d.]+ \| [\d.]+ \|)?$", re.MULTILINE)
OTHERS: Final = ("Base Commerce Payments", "Sablier Flow", "Lilypad", "Prime Intellect")


@dataclass(frozen=True, slots=True)
class Step:
    """What one may want from an escrow, and what it costs.

    Attributes
    ----------
    ours
        What to call it, and its name in the snapshot.
    others
        For each of `OTHERS`, its call and the gas of its execution; several calls are several
        transactions, all of which it takes.
    """

    what: str
    ours: tuple[tuple[str, str], ...]
    others: Mapping[str, tuple[tuple[str, int], ...]]


STEPS: Final = (
    Step(
        "a machine on the market",
        (("list", "list, document of 1 KiB"), ("stake", "stake, steady")),
        {"Prime Intellect": (("registerProvider", 224_000), ("addComputeNode", 257_000))},
    ),
    Step(
        "money in, approved token",
        (("open", "open"),),
        {
            "Sablier Flow": (("create", 124_332), ("deposit", 37_549)),
            "Lilypad": (
                ("setDeal", 330_000),
                ("acceptJobPayment", 85_000),
                ("acceptResourceProviderCollateral", 83_000),
            ),
        },
    ),
    Step(
        "money in, by signature",
        (("openWithAuthorization", "openWithAuthorization"),),
        {"Base Commerce Payments": (("authorize", 155_657),)},
    ),
    Step(
        "work claimed",
        (("commit", "commit, first of the lease"),),
        {"Lilypad": (("saveResult", 99_000),), "Prime Intellect": (("submitWork", 227_000),)},
    ),
    Step(
        "a part paid",
        (("settle", "settle, steady"),),
        {
            "Base Commerce Payments": (("capture", 69_915),),
            "Sablier Flow": (("withdraw", 40_995),),
            "Lilypad": (("handleJobCompletion", 242_000),),
            "Prime Intellect": (("claimRewards", 102_000),),
        },
    ),
    Step(
        "money back",
        (("close", "close with refund, steady"),),
        {
            "Base Commerce Payments": (("void", 55_079),),
            "Sablier Flow": (("refund", 25_226),),
        },
    ),
    Step(
        "work refused",
        (("rule", "rule, fraud"),),
        {
            "Lilypad": (("saveValidationResult", 122_000),),
            "Prime Intellect": (("invalidateWork", 335_000),),
        },
    ),
    Step(
        "a job from payment to pay",
        (("open, commit, a tenth of settleMany", LIFE),),
        {
            "Base Commerce Payments": (("authorize", 155_657), ("capture", 69_915)),
            "Sablier Flow": (("create", 124_332), ("deposit", 37_549), ("withdraw", 40_995)),
            "Lilypad": (
                ("setDeal", 330_000),
                ("acceptJobPayment", 85_000),
                ("acceptResourceProviderCollateral", 83_000),
                ("saveResult", 99_000),
                ("handleJobCompletion", 242_000),
            ),
        },
    ),
)


def snapshot(name: str) -> dict[str, int]:
    """Figures that the tests of one contract wrote, by their names."""
    figures: dict[str, str] = json.loads((SNAPSHOTS / f"{name}.json").read_text(encoding="utf-8"))
    return {name: int(gas) for name, gas in figures.items()}


def recorded() -> dict[str, int]:
    """All figures, by their names: those of the escrow, then those of registry and quorum."""
    return snapshot("GasTest") | snapshot("RegistryGasTest")


def everything(figures: Mapping[str, int]) -> str:
    """All figures, as a Markdown table; each name begins with its function."""
    rows = [f"| {re.sub('^[a-zA-Z]+', _code, name)} | {gas:,} |" for name, gas in figures.items()]
    return "\n".join(["| Call | Gas |", "|---|---|", *rows])


def comparison(figures: Mapping[str, int]) -> str:
    """The steps beside those of others, as a Markdown table."""
    rows = [["Step", "Gridlease", *OTHERS]]
    for step in STEPS:
        ours = [(call, figures[name]) for call, name in step.ours]
        theirs = [
            [(call, gas + BASE) for call, gas in step.others.get(other, ())] for other in OTHERS
        ]
        rows.append([step.what, _cell(ours), *(_cell(calls) for calls in theirs)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def against_limits(figures: Mapping[str, int]) -> str:
    """Each limited figure and its limit, as a Markdown table."""
    lines = ["| Call | Gas | Limit |", "|---|---|---|"]
    for name, limit in LIMITS.items():
        lines.append(f"| {re.sub('^[a-zA-Z]+', _code, name)} | {figures[name]:,} | {limit:,} |")
    return "\n".join(lines)


def with_tables(page: str, figures: Mapping[str, int]) -> str:
    """The page `gas.md` with its three tables made anew."""
    tables = iter((everything(figures), against_limits(figures), comparison(figures)))
    return re.sub(r"^\|.*(?:\n\|.*)*", lambda _: next(tables), page, flags=re.MULTILINE)


def with_figures(page: str, figures: Mapping[str, int]) -> str:
    """Any other page with the gas, and cost, of each row that names a recorded call made anew."""

    def row(found: re.Match[str]) -> str:
        name = found[1].replace("`", "")
        if name not in figures:
            return found[0]
        cells = [found[1], f"{figures[name]:,}"]
        if found[2]:
            cost = figures[name] * COIN_DOLLARS * 1e-9
            cells += [f"{cost * gwei:.{4 if gwei < 1 else 3}f}" for gwei in GAS_PRICES_GWEI]
        return f"| {' | '.join(cells)} |"

    return _ROW.sub(row, page)


def pages(figures: Mapping[str, int]) -> dict[Path, str]:
    """Every page of docs/escrow as it has to be, by its path."""
    return {
        path: (with_tables if path.name == "gas.md" else with_figures)(
            path.read_text(encoding="utf-8"), figures
        )
        for path in sorted(DOCS.glob("*.md"))
    }


def above_limit(figures: Mapping[str, int]) -> list[str]:
    """Names of the figures that are too high."""
    return [name for name, limit in LIMITS.items() if figures[name] > limit]


def _code(word: re.Match[str]) -> str:
    return f"`{word[0]}`"


def _cell(calls: list[tuple[str, int]]) -> str:
    if not calls:
        return "-"
    named = ", ".join(f"`{call}` {gas:,}" if call.isidentifier() else call for call, gas in calls)
    total = sum(gas for _, gas in calls)
    return named if len(calls) == 1 and calls[0][0].isidentifier() else f"{named}: {total:,}"


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, help="file that takes the figures as a section")
    parser.add_argument("--docs", action="store_true", help="write the figures into the pages")
    arguments = parser.parse_args()
    figures = recorded()
    body = f"{against_limits(figures)}\n\n{comparison(figures)}"
    print(body)
    broken = above_limit(figures)
    for name in broken:
        print(f"above its limit: {name}", file=sys.stderr)
    if arguments.docs:
        for path, text in pages(figures).items():
            path.write_text(text, encoding="utf-8")
    if arguments.results:
        from tests.support.results import record

        record("escrow gas", body, arguments.results)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
