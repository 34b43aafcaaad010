from __future__ import annotations

import pytest

from tests.support.coverage_gate import failures, group_of

LEAST = {"sdk": 90, "sdk/protocol": 100}


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("sdk/client.py", "sdk"),
        ("sdk/protocol/money.py", "sdk/protocol"),
        ("sdk/protocols.py", "sdk"),
        ("other/client.py", None),
    ],
)
def test_when_a_file_lies_under_several_groups_then_the_longest_counts(
    path: str, group: str | None
) -> None:
    assert group_of(path, LEAST) == group


def test_when_every_group_reaches_its_least_then_nothing_fails() -> None:
    files = {"sdk/a.py": (8, 10), "sdk/b.py": (10, 10), "sdk/protocol/c.py": (2, 2)}
    assert failures(files, LEAST) == []


def test_when_a_group_falls_short_then_others_do_not_make_up_for_it() -> None:
    files = {"sdk/a.py": (100, 100), "sdk/protocol/c.py": (99, 100)}
    assert failures(files, LEAST) == [
        "sdk/protocol: 99.00 % of branches, at least 100 % are wanted"
    ]


def test_when_a_file_has_no_group_then_it_fails() -> None:
    files = {"sdk/a.py": (1, 1), "sdk/protocol/c.py": (1, 1), "other/d.py": (1, 1)}
    assert failures(files, LEAST) == ["other/d.py belongs to no group of [tool.gridlease.coverage]"]


def test_when_a_group_was_not_measured_then_it_fails() -> None:
    assert failures({"sdk/a.py": (1, 1)}, LEAST) == [
        "sdk/protocol has no branches: nothing was measured"
    ]
