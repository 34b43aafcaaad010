from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client_sdk import sealing
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from worker_agent import frames
from worker_agent.errors import MarketRefused, MarketUnreachable
from worker_agent.frames import FrameLog, post_frames
from worker_agent.journal import Journal

KEY = bytes(range(32))
LEASE = "ab" * 32


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def opened(journal: Journal) -> list[tuple[str, Any]]:
    return [
        (
            frame.kind,
            json.loads(
                sealing.decrypt(KEY, frame.sealed, f"frame:att:{frame.kind}:{frame.seq}".encode())
            ),
        )
        for frame in journal.waiting_frames(LEASE, 10_000)
    ]


def test_when_output_comes_in_pieces_then_it_is_joined_into_frames(journal: Journal) -> None:
    now = [0.0]
    log = FrameLog(journal, LEASE, "att", KEY, lambda: now[0])
    log.output(b"one ")
    log.output(b"two\n")
    assert opened(journal) == []
    now[0] = 1.0
    log.output("drei ü\n".encode())
    log.output(b"rest")
    log.flush()
    assert opened(journal) == [
        ("log", {"text": "one two\ndrei ü\n", "stream": "stdout"}),
        ("log", {"text": "rest", "stream": "stdout"}),
    ]


def test_when_output_is_long_then_frames_are_cut_at_lines(journal: Journal) -> None:
    log = FrameLog(journal, LEASE, "att", KEY)
    text = "".join(f"line {i:06d}\n" for i in range(5000))
    log.output(text.encode())
    log.flush()
    pieces = [body["text"] for _, body in opened(journal)]
    assert "".join(pieces) == text
    assert all(len(piece) <= frames.MAX_TEXT_BYTES for piece in pieces)
    assert all(piece.endswith("\n") for piece in pieces)


def test_when_output_passes_the_limit_then_it_is_cut_and_says_so(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_LOG_BYTES", 10)
    log = FrameLog(journal, LEASE, "att", KEY)
    log.output(b"x" * 20)
    log.output(b"y")
    log.flush()
    assert opened(journal) == [
        ("log", {"text": "x" * 10 + "\n[output is cut here]\n", "stream": "stdout"})
    ]


def test_when_frames_are_posted_then_they_leave_the_journal_in_order(journal: Journal) -> None:
    market = FakeMarket(FakeChain(parties.ARBITER.address))
    for attempt in ("att_1", "att_2"):
        log = FrameLog(journal, LEASE, attempt, KEY)
        for step in range(150):
            log.metric(0, step, {"loss": 0.5})
    assert post_frames(journal, market.connect("0x1"), LEASE) == 300
    assert [frame["seq"] for frame in market.frames[LEASE]] == list(range(300))
    assert journal.waiting_frames(LEASE, 1) == []


@pytest.mark.parametrize(("status", "stays"), [(409, False), (404, True), (503, True)])
def test_when_the_market_refuses_frames_then_only_passing_refusals_keep_them(
    journal: Journal, status: int, stays: bool
) -> None:
    class Refusing:
        def post(self, _path: str, _body: Any) -> None:
            raise MarketRefused(status, "x", "no")

    FrameLog(journal, LEASE, "att", KEY).state("running", "x")
    if stays:
        with pytest.raises(MarketRefused):
            post_frames(journal, Refusing(), LEASE)  # type: ignore[arg-type]
    else:
        post_frames(journal, Refusing(), LEASE)  # type: ignore[arg-type]
    assert bool(journal.waiting_frames(LEASE, 1)) is stays


def test_when_the_market_is_away_then_frames_wait(journal: Journal) -> None:
    market = FakeMarket(FakeChain(parties.ARBITER.address), away=True)
    FrameLog(journal, LEASE, "att", KEY).progress(0, 1)
    with pytest.raises(MarketUnreachable):
        post_frames(journal, market.connect("0x1"), LEASE)
    assert len(journal.waiting_frames(LEASE, 9)) == 1
