"""Pipes that break, fill with nonsense or are not there do not end a run."""

from __future__ import annotations

import json
import os
import threading

import pytest

from worker_agent.runtime.control import Control


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def test_when_an_event_is_sent_then_it_is_one_line_of_json(pipe: tuple[int, int]) -> None:
    read, write = pipe
    control = Control(events_fd=write, commands_fd=-1)
    control.send("step", step=1, metrics={"loss": 0.5})
    os.close(write)

    with os.fdopen(read) as lines:
        assert [json.loads(line) for line in lines] == [
            {"event": "step", "step": 1, "metrics": {"loss": 0.5}}
        ]


def test_when_the_worker_is_gone_then_that_is_a_request_to_stop(pipe: tuple[int, int]) -> None:
    read, write = pipe
    control = Control(events_fd=write, commands_fd=-1)
    os.close(read)

    control.send("ready")
    control.send("again")

    assert control.stop_requested()
    os.close(write)


def test_when_there_are_no_pipes_then_events_are_dropped() -> None:
    control = Control(events_fd=-1, commands_fd=-1)

    control.send("ready")

    assert not control.stop_requested()


def test_when_commands_come_then_they_are_followed_and_others_passed_over(
    pipe: tuple[int, int],
) -> None:
    read, write = pipe
    control = Control(events_fd=-1, commands_fd=read)
    os.write(write, b'{"command": "newer"}\nnot json\n[1]\n{"command": "taken", "segment": 3}\n')
    os.write(write, b'{"command": "taken", "segment": "x"}\n{"command": "stop"}\n')

    assert control.wait_for_stop(30)
    assert control.taken_segments() == [3]
    assert control.taken_segments() == []
    os.close(write)
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(1)
    os.close(read)


def test_when_a_stop_is_requested_from_inside_then_it_is_seen() -> None:
    control = Control(events_fd=-1, commands_fd=-1)
    assert not control.wait_for_stop(0)

    control.request_stop()

    assert control.stop_requested()
