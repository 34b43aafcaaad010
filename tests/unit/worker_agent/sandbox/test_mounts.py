"""What a job sees of the worker's machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker_agent.sandbox import mounts
from worker_agent.sandbox.base import Mount


def test_when_the_gpu_driver_lies_outside_the_system_folders_then_jobs_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, empty = tmp_path / "lib64", tmp_path / "lib"
    for folder in (driver, empty):
        folder.mkdir()
    (driver / "libcuda.so.1").touch()
    found = mounts.driver_folders([str(driver), str(empty), str(tmp_path / "absent")])
    assert found == [str(driver)]

    monkeypatch.setattr(mounts, "driver_folders", lambda: found)
    runtime = mounts.runtime_mounts()

    assert Mount(driver, str(driver)) in runtime.mounts
    assert runtime.env["LD_LIBRARY_PATH"] == str(driver)


def test_when_there_is_no_other_driver_then_nothing_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mounts, "driver_folders", lambda: [])

    assert "LD_LIBRARY_PATH" not in mounts.runtime_mounts().env
