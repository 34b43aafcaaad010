"""Following a job: its frames from a marketplace node, its money from the chain.

A frame is a log line, a metric or a note of the worker, encrypted under the job's key. The node
relays frames and can withhold them, but can neither read nor forge one: a frame that does not
decrypt is dropped and counted.
"""

from __future__ import annotations

import base64
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from client_sdk import sealing
from client_sdk.errors import MarketMisbehaved, MarketRefused, NetworkFailed
from client_sdk.protocol.canonical import parse_json
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.places import frame_place
from client_sdk.transports import MarketNode

LOG = logging.getLogger("gridlease")
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 5.0
MAX_EVENT_CHARS = 512 * 1024


class FrameKind(StrEnum):
    """What a frame holds."""

    LOG = "log"  # text that the program wrote
    METRIC = "metric"  # numbers of one step, such as the loss
    PROGRESS = "progress"  # a finished segment
    STATE = "state"  # the worker's note on what it does now


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One decrypted frame."""

    id: int
    """Position in the node's stream; the place to go on from."""
    attempt: str
    seq: int
    """Position in the worker's own stream of this attempt."""
    kind: FrameKind
    content: dict[str, Any]

    @property
    def text(self) -> str:
        """The text of a log frame, and of a worker's note."""
        return str(self.content.get("text", ""))


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event."""

    name: str
    id: int | None
    data: Any


def parse_events(lines: Iterator[str]) -> Iterator[ServerEvent]:
    """Server-sent events from the lines of a stream.

    Source: HTML Living Standard, section 9.2.6; `retry` is not used here.
    """
    name = "message"
    event_id: int | None = None
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield _event(name, event_id, "\n".join(data))
            name, event_id, data = "message", None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = int(value) if value.isdecimal() else None
        elif field == "data":
            data.append(value)
            if sum(map(len, data)) > MAX_EVENT_CHARS:
                raise MarketMisbehaved("a marketplace node sent an event without an end")


def open_frame(job_key: bytes, event: ServerEvent) -> Frame | None:
    """Decrypt a frame; None when it is not one of this job's worker."""
    try:
        kind = FrameKind(event.data["kind"])
        seq, attempt = int(event.data["seq"]), str(event.data["attempt"])
        sealed = base64.b64decode(event.data["sealed"], validate=True)
        place = frame_place(attempt, kind, seq)
        plain = sealing.decrypt(job_key, sealed, place.encode())
        content = parse_json(plain)
    except (KeyError, TypeError, ValueError, sealing.SealingError):
        return None
    if not isinstance(content, dict) or event.id is None:
        return None
    return Frame(id=event.id, attempt=attempt, seq=seq, kind=kind, content=content)


class FrameReader:
    """Reads a job's stream in a thread of its own, going on after every break.

    Each frame is delivered once, also when the node repeats itself after a restart.
    """

    def __init__(
        self, node: MarketNode, job_id: str, job_key: bytes, *, after: int | None = None
    ) -> None:
        self._node = node
        self._job_id = job_id
        self._job_key = job_key
        self._after = after
        self._seen: set[tuple[str, int]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="frames", daemon=True)
        self.items: queue.Queue[Frame | ServerEvent] = queue.Queue(maxsize=10_000)
        self.dropped = 0
        """Frames that did not decrypt."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait for a read that is under way."""
        self._stop.set()

    def get(self, timeout_s: float) -> Frame | ServerEvent | None:
        """The next frame or event; None when there is none within `timeout_s`."""
        try:
            return self.items.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _loop(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                if self._read_once():
                    return
                pause_s = FIRST_PAUSE_S
            except MarketRefused as error:
                if error.status not in (401, 404):
                    LOG.warning("logs of %s: %s", self._job_id, error)
            except NetworkFailed as error:
                LOG.debug("logs of %s: %s", self._job_id, error)
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    def _read_once(self) -> bool:
        """One connection; True when the stream is over for good."""
        path = f"/v1/jobs/{self._job_id}/logs"
        with self._node.events(path, after=self._after) as lines:
            for event in parse_events(lines):
                if self._stop.is_set():
                    return True
                if event.name == "frame":
                    self._take_frame(event)
                elif event.name in ("job", "end"):
                    self._put(event)
                    if event.name == "end":
                        return True
        return False

    def _take_frame(self, event: ServerEvent) -> None:
        if event.id is not None:
            self._after = event.id
        frame = open_frame(self._job_key, event)
        if frame is None:
            self.dropped += 1
        elif (frame.attempt, frame.seq) not in self._seen:
            self._seen.add((frame.attempt, frame.seq))
            self._put(frame)

    def _put(self, item: Frame | ServerEvent) -> None:
        """Wait for the reader, but not after the end."""
        while not self._stop.is_set():
            try:
                self.items.put(item, timeout=1.0)
            except queue.Full:
                continue
            return


def read_frames(
    node: MarketNode, job_id: str, job_key: bytes, *, follow: bool, stopped: Callable[[], bool]
) -> Iterator[Frame]:
    """Frames of a job, in the node's order; all that there are, or until its end."""
    if not follow:
        path = f"/v1/jobs/{job_id}/logs?follow=false"
        with node.events(path) as lines:
            for event in parse_events(lines):
                frame = open_frame(job_key, event) if event.name == "frame" else None
                if frame is not None:
                    yield frame
        return
    reader = FrameReader(node, job_id, job_key)
    reader.start()
    try:
        while not stopped():
            item = reader.get(1.0)
            if isinstance(item, Frame):
                yield item
            elif item is not None and item.name == "end":
                return
    finally:
        reader.stop()


def _event(name: str, event_id: int | None, text: str) -> ServerEvent:
    try:
        return ServerEvent(name, event_id, parse_json(text))
    except ProtocolError as error:
        raise MarketMisbehaved("a marketplace node sent an event that is not JSON") from error
