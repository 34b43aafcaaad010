from __future__ import annotations

import os

import pytest

from client_sdk.embedded import procs, run_file
from client_sdk.embedded.layout import prepare
from client_sdk.embedded.run_file import Run, RunningChild
from client_sdk.errors import FolderBroken


def test_when_a_run_is_saved_then_it_is_loaded_whole(tmp_path):
    folder = prepare(tmp_path)
    child = RunningChild(pid=2, started_at=3, log="x.log", restarts=1)
    me = os.getpid()
    run = Run(
        pid=me,
        started_at=procs.start_time(me),
        api_url="http://a",
        rpc_url="http://b",
        ready=True,
        children={"anvil": child},
    )
    run_file.save(folder, run)
    assert run_file.load(folder) == run
    assert run.alive()


def test_when_the_supervisor_is_another_process_then_the_run_is_dead():
    run = Run(pid=os.getpid(), started_at=0, api_url="", rpc_url="", ready=False)
    assert not run.alive()


def test_when_nothing_runs_then_there_is_no_run(tmp_path):
    folder = prepare(tmp_path)
    assert run_file.load(folder) is None
    run_file.remove(folder.run_file)


def test_when_the_file_has_another_schema_then_it_is_passed_over(tmp_path):
    folder = prepare(tmp_path)
    folder.run_file.write_text('{"schema": "other"}')
    assert run_file.load(folder) is None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"schema": "gridlease/run/1"}',
        '{"schema": "gridlease/run/1", "children": []}',
        '{"schema": "gridlease/run/1", "children": {"anvil": {"pid": 1}}}',
    ],
)
def test_when_the_file_is_damaged_then_the_error_names_it_and_what_to_delete(tmp_path, content):
    folder = prepare(tmp_path)
    folder.run_file.write_text(content)
    with pytest.raises(FolderBroken, match=r"run\.json is damaged") as caught:
        run_file.load(folder)
    assert caught.value.what_to_do.startswith("Delete that file")
