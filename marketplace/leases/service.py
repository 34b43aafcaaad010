"""What operators and renters report about a lease, held against the chain and the terms.

Covered: only the operator (of the terms, or the listing's present one) and the provider report
work; only the renter signs vouchers; every repeated report has one effect.
Not covered: whether reported work was done. Commits, audits and the chain decide that.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.canonical import ZERO_HASH, to_hex
from client_sdk.protocol.messages import Progress
from client_sdk.protocol.terms import Voucher
from client_sdk.protocol.verdicts import CONSEQUENCES, Verdict
from marketplace import models
from marketplace.artifacts import repository as artifact_rows
from marketplace.artifacts import service as artifacts
from marketplace.context import Market
from marketplace.errors import (
    ArtifactRefused,
    EndingRefused,
    FrameRefused,
    LeaseUnknown,
    ProgressRefused,
    TooLarge,
    VoucherRefused,
)
from marketplace.jobs import repository as job_rows
from marketplace.jobs import service as jobs
from marketplace.leases import repository
from marketplace.listings import repository as listing_rows
from marketplace.outbox.repository import note
from marketplace.scope import Scope


async def operated(session: AsyncSession, scope: Scope, lease_id: str, caller: str) -> models.Lease:
    """Return a lease that the caller runs: as operator of terms or listing, or as provider.

    Raises
    ------
    LeaseUnknown
        There is none, or it is not this account's to run.
    """
    row = await repository.find(session, scope, lease_id)
    if row is None:
        raise LeaseUnknown
    if caller in (row.operator, row.provider):
        return row
    listing = await listing_rows.find(session, scope, row.listing_id)
    if listing is None or listing.operator != caller:
        raise LeaseUnknown
    return row


async def report_progress(
    session: AsyncSession,
    market: Market,
    lease_id: str,
    caller: str,
    attempt: str,
    progress: Progress,
    signature: str,
    now: datetime,
) -> models.Progress:
    """Take signed progress; older or equal progress changes nothing.

    Raises
    ------
    ProgressRefused
        It is for another lease, claims too many segments, or has no root.
    """
    scope = market.scope
    lease = await operated(session, scope, lease_id, caller)
    if to_hex(progress.lease_id) != lease_id:
        raise ProgressRefused("The progress is of another lease.")
    if progress.segments > int(lease.terms["segments"]):
        raise ProgressRefused(f"The lease has {lease.terms['segments']} segments.")
    metered = int(lease.terms["window"]) == 0
    if not metered and progress.segments and progress.trace_root == ZERO_HASH:
        raise ProgressRefused("Progress of replayable work names its trace root.")
    row = await repository.progress_of(session, scope, lease_id, attempt)
    if row is not None and row.segments >= progress.segments:
        return row
    values = {
        "segments": progress.segments,
        "body": dict(progress.to_json()),
        "signature": signature.lower(),
        "received_at": now,
    }
    row = await session.merge(
        models.Progress(**scope.key, lease_id=lease_id, attempt=attempt, **values)
    )
    await session.flush()
    await _update_job(session, scope, lease_id, now)
    return row


async def add_frames(
    session: AsyncSession,
    market: Market,
    lease_id: str,
    caller: str,
    attempt: str,
    frames: list[dict[str, Any]],
    now: datetime,
) -> int:
    """Take sealed frames; those that are there already stay. Returns the next number.

    Raises
    ------
    FrameRefused, TooLarge
        A frame is not base64, or over a limit.
    """
    scope, settings = market.scope, market.settings
    await operated(session, scope, lease_id, caller)
    if len(frames) > settings.max_frames_per_request:
        raise TooLarge(f"At most {settings.max_frames_per_request} frames at once.")
    rows = [_frame(market, lease_id, attempt, frame) for frame in frames]
    first = await repository.next_seq(session, scope, lease_id, attempt) == 0
    await repository.add_frames(session, scope, rows)
    if first:
        await _update_job(session, scope, lease_id, now)
    return await repository.next_seq(session, scope, lease_id, attempt)


def _frame(market: Market, lease_id: str, attempt: str, frame: dict[str, Any]) -> dict[str, Any]:
    settings = market.settings
    try:
        sealed = base64.b64decode(frame["sealed"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise FrameRefused("A sealed frame is not base64.") from error
    if len(sealed) > settings.max_frame_bytes:
        raise TooLarge(f"A frame has at most {settings.max_frame_bytes} bytes.")
    if frame["seq"] >= settings.max_job_frames:
        raise TooLarge(f"A job has at most {settings.max_job_frames} frames.")
    return {
        "lease_id": lease_id,
        "attempt": attempt,
        "seq": frame["seq"],
        "kind": frame["kind"],
        "sealed": sealed,
    }


async def add_artifacts(
    session: AsyncSession,
    market: Market,
    lease_id: str,
    caller: str,
    given: list[dict[str, Any]],
    now: datetime,
) -> None:
    """Hand artifacts that the operator stored to the renter.

    Raises
    ------
    ArtifactUnknown, ArtifactRefused
        One is not stored by the caller, or has another size.
    """
    scope = market.scope
    lease = await operated(session, scope, lease_id, caller)
    sizes = await artifacts.sizes(session, [item["hash"] for item in given], caller)
    for item in given:
        if sizes[item["hash"]] != item["size"]:
            raise ArtifactRefused(f"The artifact has {sizes[item['hash']]} bytes.")
        segment = -1 if item["segment"] is None else item["segment"]
        await session.merge(
            models.LeaseArtifact(
                **scope.key,
                lease_id=lease_id,
                kind=item["kind"],
                segment=segment,
                name=item["name"] or "",
                hash=item["hash"],
                size=item["size"],
                created_at=now,
            )
        )
    await artifact_rows.grant(session, sizes, lease.renter, lease_id, now)


async def report_ending(
    session: AsyncSession,
    market: Market,
    lease_id: str,
    caller: str,
    given: dict[str, Any],
    now: datetime,
) -> models.Ending:
    """Take the operator's verdict; the first one stays, and is returned.

    Raises
    ------
    EndingRefused
        Its evidence does not go with its verdict, or it names more segments than the lease has.
    """
    scope = market.scope
    lease = await operated(session, scope, lease_id, caller)
    known = await repository.ending(session, scope, lease_id)
    if known is not None:
        return known
    _check_evidence(given)
    if len(given["segment_roots"]) > int(lease.terms["segments"]):
        raise EndingRefused(f"The lease has {lease.terms['segments']} segments.")
    row = models.Ending(**scope.key, lease_id=lease_id, reported_at=now, **given)
    session.add(row)
    note(session, caller, "lease.ended", lease_id, now)
    await session.flush()
    await _update_job(session, scope, lease_id, now, revised=True)
    return row


def _check_evidence(given: dict[str, Any]) -> None:
    """Hold a report against the table of verdicts; the chain has the last word on which stands."""
    verdict = Verdict(given["verdict"])
    allowed = CONSEQUENCES[verdict].evidence
    if given["evidence"].get("evidence") not in allowed:
        raise EndingRefused(f"{verdict} needs as evidence one of: {', '.join(allowed)}.")


async def add_voucher(
    session: AsyncSession,
    market: Market,
    lease_id: str,
    caller: str,
    voucher: Voucher,
    signature: str,
    now: datetime,
) -> models.Voucher:
    """Take a renter's voucher; one for fewer segments changes nothing.

    Raises
    ------
    LeaseUnknown, VoucherRefused
        The lease is not the caller's or not metered, or the voucher is beyond it.
    """
    scope = market.scope
    lease = await repository.find(session, scope, lease_id)
    if lease is None or lease.renter != caller:
        raise LeaseUnknown
    if to_hex(voucher.lease_id) != lease_id:
        raise VoucherRefused("The voucher is of another lease.")
    if int(lease.terms["window"]) != 0:
        raise VoucherRefused("The lease is not metered: commits pay it.")
    if not 0 < voucher.segments <= int(lease.terms["segments"]):
        raise VoucherRefused(f"The lease has {lease.terms['segments']} segments.")
    row = await repository.voucher(session, scope, lease_id)
    if row is not None and row.segments >= voucher.segments:
        return row
    return await session.merge(
        models.Voucher(
            **scope.key,
            lease_id=lease_id,
            segments=voucher.segments,
            signature=signature.lower(),
            received_at=now,
        )
    )


async def _update_job(
    session: AsyncSession, scope: Scope, lease_id: str, now: datetime, *, revised: bool = False
) -> None:
    job = await job_rows.by_lease(session, scope, lease_id)
    if job is not None:
        await jobs.update(session, scope, job.job_id, now, revised=revised)
