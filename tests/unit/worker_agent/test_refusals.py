"""What was handed over and refused is not fetched again; what failed here is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from client_sdk.protocol.states import AuditState
from tests.fakes.cases import Committed, ScriptedAuditor
from worker_agent import examine
from worker_agent.checkpoints import checkpoint_hash
from worker_agent.errors import (
    ArtifactTooLarge,
    BadArtifact,
    BadCheckpoint,
    MarketUnreachable,
    NoRoom,
    OtherBytes,
    SeatTaken,
    Withheld,
    WorkerError,
)
from worker_agent.examine import Examiner
from worker_agent.exchange import Artifacts, AuditInputs
from worker_agent.inputs import fetch_checkpoint
from worker_agent.refusals import MAX_ANSWERS

OTHER_ID = "aud_01M8498KNAF9QBYEWW1M2N52KV"
WRONG = BadArtifact("the checkpoint does not have the committed state")


class Fetches:
    """Counts what is fetched, and fails each time in a given way."""

    def __init__(self, lease: Committed, make: Callable[[], ScriptedAuditor]) -> None:
        self.lease, self.make, self.auditor = lease, make, make()
        self.error: Exception = WRONG
        self.num = 0

    def fail(self, *_: Any) -> None:
        self.num += 1
        raise self.error

    def ask(self, handed: str = "a", **changes: Any) -> None:
        """One turn of a case for which an artifact was handed over."""
        artifacts = Artifacts(manifest="a", bundle="a", data={}, extra={}, checkpoint=handed)
        inputs = AuditInputs(sealed_key=bytes(80), artifacts=artifacts, opening=None)
        case = self.lease.case(state=AuditState.INPUTS_READY, inputs=inputs, **changes)
        with pytest.raises(WorkerError) as raised:
            # Not the scripted inputs: those that every real auditor fetches.
            Examiner.inputs(self.auditor, self.auditor.at, case)
        assert isinstance(raised.value, NoRoom if isinstance(self.error, NoRoom) else Withheld)

    def restart(self) -> None:
        self.auditor.context.journal.close()
        self.auditor = self.make()


@pytest.fixture
def fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetches]:
    lease = Committed.make()
    made = Fetches(lease, lambda: ScriptedAuditor(tmp_path / "auditor", lease, {}))
    monkeypatch.setattr(examine, "fetch_case_inputs", made.fail)
    yield made
    made.auditor.close()
    made.auditor.context.journal.close()


def test_when_inputs_were_refused_then_they_are_never_fetched_again(fetches: Fetches) -> None:
    for _ in range(3):
        fetches.ask()
    fetches.restart()
    fetches.ask()
    assert fetches.num == 1
    fetches.ask("b")  # the provider corrects itself
    fetches.ask(audit_id=OTHER_ID)
    fetches.ask(market="http://other.test")  # which handed in nothing that was refused
    assert fetches.num == 4


def test_when_ever_new_inputs_are_refused_then_no_more_are_fetched(fetches: Fetches) -> None:
    for number in range(2 * MAX_ANSWERS):
        fetches.ask(str(number))
    assert fetches.num == MAX_ANSWERS


def own_fault() -> BadCheckpoint:
    """What a disk that fails looks like."""
    error = BadCheckpoint("a file cannot be read: Input/output error")
    error.__cause__ = OSError(5, "Input/output error")
    return error


@pytest.mark.parametrize(
    "error",
    [
        MarketUnreachable("no answer"),
        OtherBytes("cut on its way"),
        NoRoom(),
        own_fault(),
    ],
)
def test_when_network_or_disk_are_to_blame_then_inputs_are_fetched_again(
    fetches: Fetches, error: Exception
) -> None:
    fetches.error = error
    fetches.ask()
    fetches.ask()
    assert fetches.num == 2


def test_when_a_checkpoint_lacks_a_file_then_that_is_not_this_machines_fault(
    fetches: Fetches, tmp_path: Path
) -> None:
    with pytest.raises(BadCheckpoint) as raised:
        checkpoint_hash(tmp_path)
    fetches.error = raised.value
    fetches.ask()
    fetches.ask()
    assert fetches.num == 1


def test_when_a_ciphertext_is_larger_than_it_may_be_then_it_is_refused(tmp_path: Path) -> None:
    class Endless:
        def fetch_artifact(self, _address: str, _path: Path, max_bytes: int) -> None:
            raise ArtifactTooLarge(max_bytes)

    market: Any = Endless()
    with pytest.raises(BadArtifact, match="more than"):
        fetch_checkpoint(market, "00" * 32, bytes(32), 0, tmp_path / "before-1", 100)


def test_when_inputs_of_a_lease_are_being_fetched_then_no_other_thread_stands_behind_them(
    fetches: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        begun.set()
        assert gate.wait(20)
        raise WRONG

    monkeypatch.setattr(examine, "fetch_case_inputs", slow)
    auditor, lease = fetches.auditor, fetches.lease
    first, second = lease.case(1), lease.case(2, audit_id=OTHER_ID)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Examiner.inputs, auditor, auditor.at, first)
        try:
            assert begun.wait(20)
            with pytest.raises(SeatTaken):
                Examiner.inputs(auditor, auditor.at, second)
        finally:
            gate.set()
        with pytest.raises(Withheld):
            running.result(20)
