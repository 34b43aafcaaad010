"""A task is read strictly: each key, each type, and what they mean together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worker_agent.runtime.__main__ import job_environment
from worker_agent.runtime.task import Mode, TaskError, parse_task, read_task

TASK: dict[str, Any] = {
    "schema": "gridlease/task/1",
    "mode": "train",
    "lease_id": "0x" + "ab" * 32,
    "seed": 2**53 - 1,
    "threads": 2,
    "entry": "src/train.py",
    "args": ["--epochs", "3"],
    "env": {"LEVEL": "debug"},
    "code_dir": "/code",
    "data_dir": "/data",
    "out_dir": "/job/out",
    "clock_s": 1_700_000_000,
    "segment_steps": 50,
    "max_segments": 30,
    "start_segment": 0,
    "stop_after_segment": None,
    "resume_dir": None,
}


def test_when_a_task_is_whole_then_it_is_read() -> None:
    task = parse_task(TASK)

    assert task.mode is Mode.TRAIN
    assert task.lease_id == bytes.fromhex("ab" * 32)
    assert task.args == ("--epochs", "3")
    assert task.out_dir == Path("/job/out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "gridlease/task/2"}, "schema"),
        ({"mode": "mine"}, "mode: must be one of train, audit, probe, metered"),
        ({"lease_id": "ab" * 32}, "lease_id"),
        ({"lease_id": "0x" + "AB" * 32}, "lease_id"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"clock_s": None}, "clock_s"),
        ({"clock_s": 2**34}, "clock_s"),
        ({"threads": 0}, "threads"),
        ({"threads": True}, "threads"),
        ({"threads": 1.0}, "threads"),
        ({"entry": "/etc/passwd"}, "entry"),
        ({"entry": "../train.py"}, "entry"),
        ({"entry": ""}, "entry"),
        ({"entry": "a\0b"}, "entry"),
        ({"args": "text"}, "args"),
        ({"args": [1]}, "args"),
        ({"env": []}, "env"),
        ({"env": {"A=B": "1"}}, "env"),
        ({"env": {"A": 1}}, "env"),
        ({"code_dir": "code"}, "code_dir"),
        ({"out_dir": "/job/../etc"}, "out_dir"),
        ({"segment_steps": 0}, "segment_steps"),
        ({"segment_steps": 20_001}, "segment_steps"),
        ({"max_segments": 0}, "max_segments"),
        ({"max_segments": 65_536}, "max_segments"),
        ({"start_segment": -1}, "start_segment"),
        ({"start_segment": 1}, "resume_dir: needed"),
        ({"resume_dir": "/resume"}, "resume_dir: needed"),
        ({"start_segment": 30, "resume_dir": "/resume"}, "below max_segments"),
        ({"stop_after_segment": 30}, "stop_after_segment"),
        ({"start_segment": 5, "resume_dir": "/r", "stop_after_segment": 4}, "stop_after_segment"),
        ({"mode": "probe"}, "probe_steps: needed"),
        ({"probe_steps": 5}, "probe_steps: needed"),
        ({"mode": "metered"}, "segment_seconds: needed"),
        ({"segment_seconds": 5}, "segment_seconds: needed"),
        ({"mode": "metered", "segment_seconds": 0}, "segment_seconds: must be"),
        ({"grace_s": -1}, "grace_s"),
        ({"salt_secret": "00"}, "unknown keys"),
    ],
)
def test_when_a_value_is_wrong_then_its_key_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        parse_task({**TASK, **changes})


@pytest.mark.parametrize(
    "key", sorted(set(TASK) - {"env", "start_segment", "stop_after_segment", "resume_dir"})
)
def test_when_a_key_is_missing_then_it_is_named(key: str) -> None:
    with pytest.raises(TaskError, match=f"{key}: missing"):
        parse_task({name: value for name, value in TASK.items() if name != key})


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_when_a_task_is_no_object_then_it_is_refused(value: Any) -> None:
    with pytest.raises(TaskError, match="not an object"):
        parse_task(value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 2_000, b" " * (1 << 20) + b"{}"])
def test_when_the_file_is_no_json_then_it_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    path.write_bytes(content)

    with pytest.raises(TaskError):
        read_task(path)


def test_when_the_file_is_there_then_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps(TASK))

    assert read_task(path) == parse_task(TASK)
    with pytest.raises(TaskError, match="cannot be read"):
        read_task(tmp_path / "missing")


def test_when_the_job_names_our_variables_then_ours_stand() -> None:
    changes = {"env": {"OMP_NUM_THREADS": "64", "PYTHONHASHSEED": "1", "MINE": "x"}}

    environment = job_environment(parse_task({**TASK, **changes}))

    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"
    assert environment["PYTHONHASHSEED"] == "0"
    assert environment["MINE"] == "x"
