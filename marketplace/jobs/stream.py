"""A job's frames and changes as server-sent events, resumable by the number of a frame.

The stream asks the database again and again, with no session open in between: any API process can
serve it, and a client that reconnects to another one misses nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from client_sdk.protocol.states import JobState, is_final
from marketplace.context import Market
from marketplace.jobs import repository
from marketplace.jobs.schemas import JobAnswer
from marketplace.jobs.views import job_answers
from marketplace.leases import repository as lease_rows
from marketplace.models import Frame

POLL_S = 0.25
KEEP_ALIVE_S = 10.0
PAGE_FRAMES = 500
LAST_FRAMES_S = 3.0
"""How long a stream goes on after the job's end, for frames that come with it."""


@dataclass(frozen=True, slots=True)
class _Look:
    job: JobAnswer
    frames: list[Frame]


def event(name: str, data: object, event_id: int | None = None) -> bytes:
    """Write one server-sent event."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def stream(market: Market, job_id: str, after: int, *, follow: bool) -> AsyncIterator[bytes]:
    """Yield frames after a number, changes of the job, and its end.

    Parameters
    ----------
    after
        Number of the last frame that the client has; 0 for all.
    follow
        Whether to wait for more; else the stream ends with the last frame there is.
    """
    loop = asyncio.get_running_loop()
    shown: JobAnswer | None = None
    sent_at, over_since = loop.time(), 0.0
    while True:
        look = await _look(market, job_id, after)
        if look is None:
            return
        if look.job != shown:
            shown, sent_at = look.job, loop.time()
            yield event("job", look.job.model_dump(mode="json"))
        for frame in look.frames:
            after, sent_at = frame.frame_id, loop.time()
            yield event("frame", _frame(frame), frame.frame_id)
        if len(look.frames) == PAGE_FRAMES:
            continue
        over = is_final(JobState(look.job.state))
        over_since = (over_since or loop.time()) if over else 0.0
        if not follow or (over and loop.time() - over_since >= LAST_FRAMES_S):
            yield event("end", {"state": look.job.state})
            return
        if loop.time() - sent_at > KEEP_ALIVE_S:
            sent_at = loop.time()
            yield b": still here\n\n"
        await asyncio.sleep(POLL_S)


async def _look(market: Market, job_id: str, after: int) -> _Look | None:
    async with market.database.reading() as session:
        row = await repository.find(session, market.scope, job_id)
        if row is None:
            return None
        answer = (await job_answers(session, market.scope, [row]))[0]
        frames: list[Frame] = []
        if row.lease_id is not None:
            frames = list(
                await lease_rows.frames(session, market.scope, row.lease_id, after, PAGE_FRAMES)
            )
    return _Look(answer, frames)


def _frame(frame: Frame) -> dict[str, object]:
    return {
        "attempt": frame.attempt,
        "seq": frame.seq,
        "kind": frame.kind,
        "sealed": base64.b64encode(frame.sealed).decode("ascii"),
    }
