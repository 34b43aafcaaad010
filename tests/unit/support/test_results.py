from __future__ import annotations

from pathlib import Path

from tests.support.results import HEADER, outcome_table, record


def test_when_a_run_is_recorded_again_then_only_its_own_section_changes(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    record("soak", "first soak", path)
    record("bench", "first bench", path)
    record("soak", "second soak", path)
    text = path.read_text()
    assert text.startswith(HEADER)
    assert text.count("## soak") == text.count("## bench") == 1
    assert "first bench" in text
    assert "second soak" in text
    assert "first soak" not in text
    assert "Commit " in text


def test_when_a_test_has_cases_then_the_table_has_one_row_for_each_outcome() -> None:
    table = outcome_table(
        [
            ("a.py::test_x[1]", "passed", 1.2),
            ("a.py::test_x[2]", "passed", 1.3),
            ("a.py::test_x[3]", "failed", 0.1),
            ("b.py::test_y", "passed", 2.0),
        ]
    )
    assert table.splitlines()[2:] == [
        "| a.py::test_x | 2 | passed | 2 |",
        "| a.py::test_x | 1 | failed | 0 |",
        "| b.py::test_y | 1 | passed | 2 |",
    ]
