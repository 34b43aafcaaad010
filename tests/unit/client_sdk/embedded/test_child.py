from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from client_sdk.embedded import procs
from client_sdk.embedded.child import BACKOFF_LAST_S, STABLE_AFTER_S, Child, ChildSpec

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(600)"
)
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time;"
    "time.sleep(600)']); print(child.pid, flush=True); child.wait()"
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(tmp_path: Path, code: str, clock=None, grace_s: float = 5.0) -> Child:
    spec = ChildSpec(
        name="thing",
        argv=[sys.executable, "-c", code],
        environ={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        log=tmp_path / "thing.log",
        is_ready=lambda: True,
        grace_s=grace_s,
    )
    return Child(spec, clock=clock or Clock())


@pytest.fixture
def started(tmp_path):
    children = []

    def start(code: str, **options) -> Child:
        child = make(tmp_path, code, **options)
        children.append(child)
        child.start()
        while child.alive() and not child.spec.log.read_bytes():
            os.sched_yield()
        return child

    yield start
    for child in children:
        child.stop()


def test_when_a_child_is_stopped_then_it_ends_at_once(started):
    child = started(SLEEPER)
    assert procs.is_same(child.pid, child.started_at)
    child.stop()
    assert not child.alive()
    assert not procs.is_same(child.pid, child.started_at)
    assert child.log_tail() == "up"


def test_when_a_child_ignores_sigterm_then_it_is_killed(started):
    child = started(STUBBORN, grace_s=0.2)
    child.stop()
    assert child.process.returncode == -signal.SIGKILL


def test_when_a_child_has_children_then_they_end_with_it(started):
    child = started(PARENT)
    below = procs.descendants(child.pid)
    assert [pid for pid, _ in below] == [int(child.log_tail())]
    child.stop()
    assert procs.wait_gone(below, timeout_s=0)


def test_when_a_child_runs_in_its_own_session_then_ctrl_c_does_not_reach_it(started):
    assert os.getsid(started(SLEEPER).pid) != os.getsid(0)


def test_when_a_child_dies_then_it_is_revived_after_a_growing_pause(tmp_path):
    clock = Clock()
    child = make(tmp_path, "", clock=clock)
    child.start()
    pauses = []
    for _ in range(8):
        child.process.wait()
        died = clock.now
        while not child.revive():
            clock.now += 0.05
        pauses.append(clock.now - died)
    child.process.wait()
    assert child.restarts == 8
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.5
    assert pauses[-1] <= BACKOFF_LAST_S + 0.1


def test_when_a_child_had_run_long_then_the_pause_is_short_again(tmp_path):
    clock = Clock()
    child = make(tmp_path, "", clock=clock)
    child.start()
    for _ in range(6):
        child.process.wait()
        while not child.revive():
            clock.now += 0.05
    child.process.wait()
    died = clock.now = clock.now + STABLE_AFTER_S
    while not child.revive():
        clock.now += 0.05
    assert clock.now - died < 0.5
    child.process.wait()


def test_when_a_living_child_is_revived_then_nothing_happens(started):
    child = started(SLEEPER)
    assert not child.revive()
    assert child.restarts == 0


def test_when_a_tree_is_ended_then_politeness_is_told(started):
    child = started(PARENT)
    below = procs.descendants(child.pid)
    child_pid, born = child.pid, child.started_at
    assert procs.end_tree(child_pid, born, grace_s=5.0)
    assert procs.wait_gone(below, timeout_s=0)
    assert procs.end_tree(child_pid, born, grace_s=0.0)


def test_when_a_stubborn_tree_is_ended_then_it_is_killed(started):
    child = started(STUBBORN)
    assert not procs.end_tree(child.pid, child.started_at, grace_s=0.2)
    assert not procs.is_same(child.pid, child.started_at)


def test_when_the_pid_was_used_again_then_the_stranger_is_left_alone(started):
    child = started(SLEEPER)
    assert procs.end_tree(child.pid, child.started_at + 1, grace_s=0.0)
    assert child.alive()
