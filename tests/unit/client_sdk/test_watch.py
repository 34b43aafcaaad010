from __future__ import annotations

import base64
import json
import threading

import httpx
import pytest

from client_sdk import sealing
from client_sdk.errors import MarketMisbehaved
from client_sdk.transports import MarketNode, Timeouts
from client_sdk.watch import FrameKind, FrameReader, open_frame, parse_events, read_frames

KEY = b"\x01" * 32
JOB = "job_" + "0" * 26


def frame(seq: int, text: str, *, kind="log", key=KEY, event_id=None, attempt="att_1") -> str:
    plain = json.dumps({"text": text}).encode()
    sealed = base64.b64encode(sealing.encrypt(key, plain, f"frame:{attempt}:{kind}:{seq}".encode()))
    data = {"attempt": attempt, "seq": seq, "kind": kind, "sealed": sealed.decode()}
    number = seq if event_id is None else event_id
    return f"event: frame\nid: {number}\ndata: {json.dumps(data)}\n\n"


END = 'event: end\ndata: {"state": "completed"}\n\n'


def node(handler) -> MarketNode:
    return MarketNode("http://m.test", Timeouts(patience_s=0), httpx.MockTransport(handler))


def texts(frames) -> list[str]:
    return [item.text for item in frames]


def test_when_events_are_parsed_then_comments_and_gaps_are_passed_over():
    text = ": keep-alive\n\nevent: job\ndata: {}\n\nid: 4\ndata: [1,\ndata: 2]\n\n"
    lines = text.split("\n")
    events = list(parse_events(iter(lines)))
    assert [(event.name, event.id, event.data) for event in events] == [
        ("job", None, {}),
        ("message", 4, [1, 2]),
    ]


@pytest.mark.parametrize("data", ["{", "x" * 600_000])
def test_when_an_event_is_not_small_json_then_the_node_misbehaves(data):
    with pytest.raises(MarketMisbehaved):
        list(parse_events(iter([f"data: {data}", ""])))


def test_when_a_frame_is_whole_then_it_is_opened():
    (event,) = parse_events(iter(frame(3, "hello").split("\n")))
    opened = open_frame(KEY, event)
    assert (opened.seq, opened.kind, opened.text) == (3, FrameKind.LOG, "hello")


def test_when_a_frame_is_forged_moved_or_of_another_kind_then_it_is_dropped():
    (stranger,) = parse_events(iter(frame(3, "x", key=b"\x02" * 32).split("\n")))
    assert open_frame(KEY, stranger) is None
    (moved,) = parse_events(iter(frame(3, "x").replace('"seq": 3', '"seq": 4').split("\n")))
    assert open_frame(KEY, moved) is None
    (kind,) = parse_events(iter(frame(3, "x").replace('"log"', '"metric"').split("\n")))
    assert open_frame(KEY, kind) is None
    (attempt,) = parse_events(iter(frame(3, "x").replace("att_1", "att_2").split("\n")))
    assert open_frame(KEY, attempt) is None
    (empty,) = parse_events(iter(["event: frame", "data: {}", ""]))
    assert open_frame(KEY, empty) is None


def test_when_all_frames_are_asked_then_forged_ones_are_left_out():
    body = frame(1, "a") + frame(2, "b", key=b"\x02" * 32) + frame(3, "c")
    found = read_frames(
        node(lambda request: httpx.Response(200, text=body)),
        JOB,
        KEY,
        follow=False,
        stopped=lambda: False,
    )
    assert texts(found) == ["a", "c"]


def test_when_the_stream_breaks_then_it_goes_on_after_the_last_frame():
    seen: list[str | None] = []

    def handler(request):
        seen.append(request.headers.get("Last-Event-ID"))
        if len(seen) == 1:
            return httpx.Response(200, text=frame(1, "a") + frame(2, "b"))
        return httpx.Response(200, text=frame(2, "b") + frame(3, "c") + END)

    found = read_frames(node(handler), JOB, KEY, follow=True, stopped=lambda: False)
    assert texts(found) == ["a", "b", "c"]
    assert seen == [None, "2"]


def test_when_the_node_is_away_for_a_moment_then_the_reader_goes_on():
    calls = []

    def handler(request):
        calls.append(1)
        if len(calls) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text=frame(1, "a") + END)

    found = read_frames(node(handler), JOB, KEY, follow=True, stopped=lambda: False)
    assert texts(found) == ["a"]


def test_when_the_reader_is_stopped_then_its_thread_ends():
    waiting = threading.Event()

    def handler(request):
        waiting.set()
        raise httpx.ConnectError("refused")

    reader = FrameReader(node(handler), JOB, KEY)
    reader.start()
    assert waiting.wait(5)
    reader.stop()
    reader._thread.join(10)
    assert not reader._thread.is_alive()
    assert reader.get(0) is None
