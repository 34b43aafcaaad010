"""Starting, stopping and starting again; and every reason for which a start is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk.embedded import procs
from tests.support.stack import Renter, Stack, gridlease

pytestmark = pytest.mark.timeout(900)


def test_when_the_market_runs_then_a_second_up_is_refused(stack: Stack) -> None:
    done = stack.up()
    assert done.returncode == 10
    assert "runs in" in done.stderr
    assert stack.run.api_url in done.stderr


def test_when_a_secret_is_looked_for_then_no_process_shows_it(stack: Stack) -> None:
    keys = [path.read_text().strip() for path in stack.folder.keys.glob("*.key")]
    assert keys
    for pid, _ in stack.processes():
        facts = Path(f"/proc/{pid}")
        try:
            shown = (facts / "cmdline").read_bytes() + (facts / "environ").read_bytes()
        except OSError:
            continue  # it ended, or belongs to a job's own user
        text = shown.decode(errors="replace")
        assert not any(key.removeprefix("0x") in text for key in keys)
    for log in stack.folder.logs.iterdir():
        text = log.read_text(errors="replace")
        assert not any(key.removeprefix("0x") in text for key in keys), log.name


def test_when_a_port_is_taken_then_up_says_which(stack: Stack, tmp_path) -> None:
    taken = stack.run.api_url.rpartition(":")[2]
    arguments = ["up", "--home", str(tmp_path), "--port", taken, "--rpc-port", "0"]
    done = gridlease(*arguments)
    assert done.returncode == 10
    assert f"port {taken} of the API is in use" in done.stderr


def test_when_a_tool_is_missing_then_up_says_how_to_get_it(tmp_path) -> None:
    environ = {"GRIDLEASE_ANVIL": str(tmp_path / "missing")}
    done = gridlease(
        "up", "--home", str(tmp_path), "--port", "0", "--rpc-port", "0", environ=environ
    )
    assert done.returncode == 10
    assert "GRIDLEASE_ANVIL" in done.stderr


def test_when_the_market_is_stopped_and_started_then_it_goes_on_with_the_same_data(
    stack: Stack, renter: Renter, make_renter: Callable[..., Renter]
) -> None:
    held, deployment = renter.balance(), renter.client.connection.deployment
    listing = renter.client.offers().offers[0].offer.listing_id
    urls = (stack.run.api_url, stack.run.rpc_url)
    head = renter.client.chain.head()
    running = stack.processes()
    done = stack.down()
    assert done.returncode == 0, done.stderr
    assert procs.wait_gone(running, timeout_s=5)
    assert not stack.folder.run_file.exists()
    assert stack.down().returncode == 10

    done = stack.up()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (stack.run.api_url, stack.run.rpc_url) == urls
    assert renter.balance() == held > 0
    assert renter.client.chain.head() >= head
    assert stack.connection(renter.home).deployment == deployment
    assert renter.client.offers().offers[0].offer.listing_id == listing


def test_when_the_supervisor_was_killed_then_down_ends_what_it_left(stack: Stack) -> None:
    running = stack.processes()
    os.kill(stack.run.pid, signal.SIGKILL)
    try:
        done = stack.down()
        assert done.returncode == 0, done.stderr
        assert "left behind" in done.stdout
        assert procs.wait_gone(running, timeout_s=10)
    finally:
        again = stack.up()
    assert again.returncode == 0, again.stdout + again.stderr


def test_when_ctrl_c_is_pressed_then_every_process_ends(stack: Stack) -> None:
    running = stack.processes()
    os.kill(stack.run.pid, signal.SIGINT)
    try:
        assert procs.wait_gone(running, timeout_s=60)
        assert not stack.folder.run_file.exists()
    finally:
        again = stack.up()
    assert again.returncode == 0, again.stdout + again.stderr
