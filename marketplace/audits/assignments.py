"""Who has to re-execute what, and until when: begun and ended by the chain's events alone.

An audit is drawn after a confirmed commit and ends with its challenge window; an arbitration begins
with a confirmed challenge, or demand for data, and ends with its dispute.

Covered: from a given pool, who is drawn follows from the chain alone (both sides repeat the draw);
of more auditors than a pool holds the beacon picks.
Not covered: who may be in the pool. This market says it, unless the renter named its auditors, and
registering is free: an account's many names have many times its chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.draw import draw_audits, pool_of
from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.states import LIVE_AUDITS, AuditKind, AuditState, LeaseState
from marketplace import models
from marketplace.audits import repository
from marketplace.context import Market
from marketplace.domain.events import CHALLENGES, EventRecord
from marketplace.domain.ledger import LeaseFacts, window_ends_at
from marketplace.indexer import repository as chain_rows
from marketplace.indexer.service import RULINGS
from marketplace.leases import repository as lease_rows
from marketplace.listings import repository as listing_rows
from marketplace.orders import repository as order_rows
from marketplace.outbox import repository as outbox
from marketplace.outbox.kinds import AUDIT_DRAW
from marketplace.scope import Scope

#: Events that begin an arbitration, or end it.
DISPUTE_EVENTS: Final = (*CHALLENGES, *RULINGS, "Closed")


async def order_draws(session: AsyncSession, events: Iterable[EventRecord], now: datetime) -> None:
    """Order the draw of each confirmed commit."""
    for event in events:
        key = f"{AUDIT_DRAW}:{cause_of(event)}"
        payload = {
            "block_number": event.block_number,
            "log_index": event.log_index,
            "block_hash": event.block_hash,
        }
        await outbox.add(session, AUDIT_DRAW, key, payload, now=now)


async def draw(
    session: AsyncSession,
    market: Market,
    place: tuple[int, int],
    block_hash: str,
    beacon: bytes,
    now: datetime,
) -> int:
    """Write the audits of a commit; return how many were drawn.

    Nobody is drawn for a lease that is over, or whose renter wants no audits.
    """
    scope, settings = market.scope, market.settings
    commit = await session.get(models.Commit, scope.id(*place))
    event = await session.get(models.ChainEvent, scope.id(*place))
    if commit is None or event is None or event.block_hash != block_hash:
        return 0
    lease = await lease_rows.hold(session, scope, commit.lease_id)
    if lease is None or lease.state == LeaseState.CLOSED or lease.paid_segments >= commit.up_to:
        return 0
    seed = beacon, bytes.fromhex(lease.lease_id[2:]), bytes.fromhex(commit.root[2:])
    pool = pool_of(*seed, await _eligible(session, market, lease, now))
    excluded = {lease.provider, lease.operator, lease.renter}
    drawn = draw_audits(
        *seed,
        commit.previous_up_to,
        commit.up_to,
        pool,
        settings.audit_samples,
        excluded,
    )
    basis = {
        "commit": _commit_json(commit),
        "auditors": pool,
        "num_samples": settings.audit_samples,
        "beacon": to_hex(beacon),
    }
    cause = f"{block_hash}:{place[1]}"
    ends_at = window_ends_at(chain_rows.facts_of(LeaseFacts, lease))
    rows = [
        _row(AuditKind.AUDIT, cause, lease, d.segment, d.auditor.lower(), basis, now)
        | {"expires_at": ends_at}
        for d in drawn
    ]
    await repository.add(session, scope, rows)
    return len(rows)


async def follow_disputes(
    session: AsyncSession, market: Market, events: Iterable[EventRecord], now: datetime
) -> None:
    """Write an arbitration for each confirmed challenge; end all with the dispute.

    Nothing else ends them: an arbiter has as long as the contract gives it.

    Parameters
    ----------
    events
        Those named in ``DISPUTE_EVENTS``, in order: a lease can be disputed again after a ruling.
    """
    for event in events:
        if event.name in CHALLENGES:
            await _arbitrate(session, market, event, now)
        else:
            await _end_arbitrations(session, market.scope, event, now)


async def follow_windows(session: AsyncSession, scope: Scope, lease_ids: Iterable[str]) -> None:
    """Let the audits of changed leases end with the challenge window.

    A later commit opens the window of all unpaid segments anew; a dispute stops it.
    """
    for lease_id in lease_ids:
        lease = await chain_rows.lease(session, scope, lease_id)
        if lease is not None:
            await repository.put_off(session, scope, lease, window_ends_at(lease))


async def rewind(
    session: AsyncSession, scope: Scope, lease_ids: Iterable[str], ancestor: int, now: datetime
) -> None:
    """End audits and arbitrations of commits that the chain took back."""
    for row in await repository.of_leases(session, scope, list(lease_ids)):
        commit = row.draw.get("commit")
        if commit is not None and commit["block_number"] > ancestor:
            live, expired = LIVE_AUDITS, AuditState.EXPIRED
            await repository.move(session, row.audit_id, expired, now, by=live)


def cause_of(event: EventRecord) -> str:
    """Name the event behind an audit."""
    return f"{event.block_hash}:{event.log_index}"


async def _arbitrate(
    session: AsyncSession, market: Market, event: EventRecord, now: datetime
) -> None:
    scope = market.scope
    lease = await lease_rows.find(session, scope, event.lease_id or "")
    if lease is None or lease.state == LeaseState.CLOSED:
        return
    commits = await lease_rows.commits(session, scope, lease.lease_id)
    basis = {
        "commit": _commit_json(commits[-1]) if commits else None,
        "challenger": event.challenger,
        "is_demand": event.is_demand,
    }
    arbiter = str(lease.terms["arbiter"]).lower()
    segment = int(event.args["segment"])
    kind = AuditKind.ARBITRATION
    row = _row(kind, cause_of(event), lease, segment, arbiter, basis, now)
    await repository.add(session, scope, [row])


async def _end_arbitrations(
    session: AsyncSession, scope: Scope, event: EventRecord, now: datetime
) -> None:
    unanswered = event.name in ("DisputeTimedOut", "Closed")
    state = AuditState.EXPIRED if unanswered else AuditState.RULED
    # An attestation says nothing on the work.
    fraud = event.args["fraud"] if event.name == "Ruled" else None
    outcome = {"fraud": fraud, "tx_hash": event.tx_hash}
    for row in await repository.of_leases(session, scope, [event.lease_id or ""]):
        if row.kind == AuditKind.ARBITRATION:
            await repository.move(session, row.audit_id, state, now, outcome=outcome)


async def _eligible(
    session: AsyncSession, market: Market, lease: models.Lease, now: datetime
) -> set[str]:
    scope = market.scope
    order = await order_rows.by_lease(session, scope, lease.lease_id)
    wish = order.audit if order else {"mode": "market", "auditors": []}
    if wish["mode"] == "none":
        return set()
    listing = await listing_rows.find(session, scope, lease.listing_id)
    addresses = await repository.auditors_seen(
        session,
        scope,
        hardware_class=listing.hardware_class if listing else "",
        after=now - timedelta(seconds=market.settings.auditor_ttl_s),
    )
    if wish["mode"] == "named":
        addresses &= {address.lower() for address in wish["auditors"]}
    return addresses


def _commit_json(commit: models.Commit) -> dict[str, Any]:
    return {
        "previous_up_to": commit.previous_up_to,
        "up_to": commit.up_to,
        "trace_root": commit.trace_root,
        "root": commit.root,
        "block_number": commit.block_number,
        "tx_hash": commit.tx_hash,
    }


def _row(
    kind: AuditKind,
    cause: str,
    lease: models.Lease,
    segment: int,
    auditor: str,
    basis: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    return {
        "audit_id": new_id(IdKind.AUDIT),
        "kind": kind,
        "cause": cause,
        "lease_id": lease.lease_id,
        "operator": lease.operator,
        "segment": segment,
        "auditor": auditor,
        "draw": basis,
        "state": AuditState.ASSIGNED,
        "created_at": now,
        "updated_at": now,
        "expires_at": None,
    }
