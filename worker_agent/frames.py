"""Encrypted frames: the job's output, metrics and progress on their way to the renter.

A frame is sealed under the job key before it is journaled, so neither the market nor the journal's
backup can read it. Frames carry what the job printed and what this daemon says about the lease;
never keys, host paths or other jobs' names.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from client_sdk import sealing
from client_sdk.protocol.places import frame_place
from worker_agent.errors import MarketRefused
from worker_agent.journal import Frame, Journal
from worker_agent.market import Market

log = logging.getLogger(__name__)

MAX_TEXT_BYTES: Final = 16 * 1024
"""Longest text of one log frame, in bytes."""
MAX_LOG_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of output that are passed on per attempt; the rest is counted, not kept."""
FLUSH_S: Final = 0.5
_BATCH: Final = 100
_BATCH_BYTES: Final = 400_000


class FrameLog:
    """Writes the frames of one attempt; safe from any thread.

    Parameters
    ----------
    journal:
        Holds the outbox.
    lease_id:
        Lease id, hexadecimal without ``0x``.
    attempt:
        Id of the attempt.
    job_key:
        The job's 32-byte key.
    """

    def __init__(
        self,
        journal: Journal,
        lease_id: str,
        attempt: str,
        job_key: bytes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._lease_id = lease_id
        self._attempt = attempt
        self._job_key = job_key
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._flushed_at = monotonic()
        self._taken = 0

    def output(self, data: bytes) -> None:
        """Take a piece of the job's output."""
        with self._lock:
            room = MAX_LOG_BYTES - self._taken
            if room <= 0:
                return
            if len(data) > room:
                data = data[:room] + b"\n[output is cut here]\n"
            self._taken += len(data)
            self._buffer += data
            due = self._monotonic() - self._flushed_at >= FLUSH_S
            if due or len(self._buffer) >= MAX_TEXT_BYTES:
                self._flush()

    def flush(self) -> None:
        """Write out buffered output."""
        with self._lock:
            self._flush()

    def metric(self, segment: int, step: int, metrics: Mapping[str, float]) -> None:
        """Pass on the metrics of one step."""
        self._add("metric", {"segment": segment, "step": step, "metrics": dict(metrics)})

    def progress(self, segment: int, verified: int, **more: Any) -> None:
        """Tell that a segment was finished and its state verified."""
        self._add("progress", {"segment": segment, "verified": verified, **more})

    def state(self, state: str, text: str) -> None:
        """Tell what the worker is doing."""
        self._add("state", {"state": state, "text": text})

    def _flush(self) -> None:
        self._flushed_at = self._monotonic()
        while self._buffer:
            piece = bytes(self._buffer[:MAX_TEXT_BYTES])
            # Do not cut a character in two when more of it may follow.
            cut = piece.rfind(b"\n") + 1 if len(self._buffer) > MAX_TEXT_BYTES else len(piece)
            piece = piece[: cut or len(piece)]
            del self._buffer[: len(piece)]
            text = piece.decode("utf-8", errors="replace")
            self._add("log", {"text": text, "stream": "stdout"})

    def _add(self, kind: str, body: Mapping[str, Any]) -> None:
        plain = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        seq = self._journal.next_frame_seq(self._lease_id)
        aad = frame_place(self._attempt, kind, seq).encode()
        sealed = sealing.encrypt(self._job_key, plain, aad)
        self._journal.add_frame(Frame(self._lease_id, seq, self._attempt, kind, sealed))


def post_frames(journal: Journal, market: Market, lease_id: str) -> int:
    """Post waiting frames of one lease, oldest first; returns how many are gone.

    A frame that the market refuses for good is dropped: logs never hold up a job.

    Raises
    ------
    NetworkFailed
        The market does not answer; the frames stay.
    """
    posted = 0
    while frames := _batch(journal.waiting_frames(lease_id, _BATCH)):
        same = [frame for frame in frames if frame.attempt == frames[0].attempt]
        body = {
            "attempt": same[0].attempt,
            "frames": [
                {
                    "seq": frame.seq,
                    "kind": frame.kind,
                    "sealed": base64.b64encode(frame.sealed).decode(),
                }
                for frame in same
            ],
        }
        try:
            market.post(f"/v1/leases/0x{lease_id}/frames", body)
        except MarketRefused as error:
            if error.status not in {400, 403, 409, 413, 422}:
                raise
            log.warning("market refused %d frames: %s", len(same), error)
        journal.drop_frames(same)
        posted += len(same)
    return posted


def _batch(frames: list[Frame]) -> list[Frame]:
    """Cut a list so that one request stays small; never to nothing."""
    total = 0
    for position, frame in enumerate(frames):
        total += len(frame.sealed)
        if position and total > _BATCH_BYTES:
            return frames[:position]
    return frames
