from __future__ import annotations

from pathlib import Path

from tests.support.results import HEADER, record


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
