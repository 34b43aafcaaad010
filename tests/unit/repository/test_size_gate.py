"""The size gate of CONTRIBUTING.md: what no longer fits on a few screens is split, not scrolled."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULE_LINES = 400
FUNCTION_LINES = 40
FUNCTION_LINES_WITH_DOCSTRING = 60
CONTRACT_LINES = 600
TEST_FILE_LINES = 800

# Longer modules, each with its reason; none may pass 600 lines.
LONGER_MODULES: dict[str, str] = {}


def tracked(suffix: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", f"*{suffix}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def num_lines(path: str) -> int:
    return len((ROOT / path).read_text(encoding="utf-8").splitlines())


def line_limit(path: str) -> int:
    if path.endswith(".sol"):
        return TEST_FILE_LINES if path.startswith("contracts/test/") else CONTRACT_LINES
    if path.startswith("tests/"):
        return TEST_FILE_LINES
    return 600 if path in LONGER_MODULES else MODULE_LINES


def long_functions(source: str) -> list[str]:
    """Functions over the limit, as ``name: lines``; a docstring widens the limit."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            limit = FUNCTION_LINES_WITH_DOCSTRING if ast.get_docstring(node) else FUNCTION_LINES
            if lines > limit:
                found.append(f"{node.name}: {lines} lines, at most {limit}")
    return found


@pytest.mark.parametrize("suffix", [".py", ".sol"])
def test_when_a_file_is_tracked_then_it_is_within_its_line_limit(suffix: str) -> None:
    too_long = {
        path: num_lines(path) for path in tracked(suffix) if num_lines(path) > line_limit(path)
    }
    assert too_long == {}


def test_when_a_function_is_tracked_then_it_is_within_its_line_limit() -> None:
    too_long = {
        path: found
        for path in tracked(".py")
        if not path.startswith("tests/")
        and (found := long_functions((ROOT / path).read_text(encoding="utf-8")))
    }
    assert too_long == {}


def test_when_a_function_is_too_long_then_the_gate_names_it() -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION_LINES))
    assert long_functions(f"def f():\n{body}\n") == ["f: 41 lines, at most 40"]
