"""Applies events to the tables, and takes them back after a reorganisation.

Everything here runs inside one transaction together with the cursor. Invariants: a row born on the
chain is a fold over the events that touch it; credit is the sum of its entries; dropping all rows
and reading the chain again gives the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.domain.events import CHALLENGES, EventRecord
from marketplace.domain.ledger import (
    LeaseFacts,
    ListingFacts,
    StakeFacts,
    Subject,
    SubjectKind,
    apply_lease,
    apply_listing,
    apply_stake,
    postings,
    subjects,
)
from marketplace.indexer import repository
from marketplace.models import Challenge, Commit, Lease, Listing, Payment, Stake
from marketplace.scope import Scope

RULINGS: Final = ("Ruled", "Unretrievable", "DisputeTimedOut")
"""Events that end a dispute; an ``Unretrievable`` of an active lease finds none."""


@dataclass
class Changes:
    """What a pass changed, for those who follow the chain in turn."""

    listings: set[str] = field(default_factory=set)
    stakes: set[str] = field(default_factory=set)
    """Keys ``provider:token``."""
    leases: set[str] = field(default_factory=set)

    def note(self, subject: Subject) -> None:
        """Remember one subject."""
        chosen = {
            SubjectKind.LISTING: self.listings,
            SubjectKind.STAKE: self.stakes,
            SubjectKind.LEASE: self.leases,
        }
        chosen[subject.kind].add(subject.key)


async def apply_events(
    session: AsyncSession, scope: Scope, events: Sequence[EventRecord]
) -> Changes:
    """Write events and everything computed from them, in chain order."""
    changes = Changes()
    for event in events:
        terms = await _terms_of(session, scope, event)
        touched = list(subjects(event, terms))
        await repository.add_event(session, scope, event, touched)
        before = await _lease_of(session, scope, event)
        for subject in touched:
            await _apply(session, scope, subject, event, terms)
            changes.note(subject)
        await _add_rows(session, scope, event, before)
        for ordinal, posting in enumerate(postings(event, terms)):
            await repository.add_entry(session, scope, event, ordinal, posting)
            await repository.change_credit(
                session, scope, posting.token, posting.account, posting.delta
            )
    await session.flush()
    return changes


async def rewind(session: AsyncSession, scope: Scope, ancestor: int) -> Changes:
    """Take back everything above a block, as if it had never been read.

    Parameters
    ----------
    ancestor
        Newest block that is still part of the chain.
    """
    changes = Changes()
    touched = await repository.subjects_above(session, scope, ancestor)
    entries = await repository.entries_above(session, scope, ancestor)
    for entry in entries:
        await repository.change_credit(session, scope, entry.token, entry.account, -entry.delta)
    await session.flush()
    rulings = await repository.transactions_above(session, scope, ancestor, RULINGS)
    session.expunge_all()
    await repository.take_back_rulings(session, scope, rulings)
    await repository.drop_above(session, scope, ancestor)
    for token, account in {(entry.token, entry.account) for entry in entries}:
        await repository.drop_credit_without_entries(session, scope, token, account)
    for subject in touched:
        changes.note(subject)
        await _refold(session, scope, subject)
    await session.flush()
    return changes


async def _terms_of(
    session: AsyncSession, scope: Scope, event: EventRecord
) -> Mapping[str, Any] | None:
    if event.name == "Opened":
        terms: Mapping[str, Any] = event.args["terms"]
        return terms
    facts = await _lease_of(session, scope, event)
    return facts.terms if facts else None


async def _lease_of(session: AsyncSession, scope: Scope, event: EventRecord) -> LeaseFacts | None:
    if event.lease_id is None:
        return None
    return await repository.lease(session, scope, event.lease_id)


async def _apply(
    session: AsyncSession,
    scope: Scope,
    subject: Subject,
    event: EventRecord,
    terms: Mapping[str, Any] | None,
) -> None:
    facts: ListingFacts | LeaseFacts | StakeFacts
    if subject.kind is SubjectKind.LISTING:
        facts = apply_listing(await repository.listing(session, scope, subject.key), event)
    elif subject.kind is SubjectKind.LEASE:
        facts = apply_lease(await repository.lease(session, scope, subject.key), event)
    else:
        provider, token = subject.key.split(":")
        held = await repository.stake(session, scope, provider, token)
        facts = apply_stake(held, event, terms)
    await repository.save(session, scope, facts)


async def _refold(session: AsyncSession, scope: Scope, subject: Subject) -> None:
    """Compute a subject's facts anew from the events that are left."""
    events = await repository.events_of(session, scope, subject)
    if not events:
        model: Any = {
            SubjectKind.LISTING: Listing,
            SubjectKind.LEASE: Lease,
            SubjectKind.STAKE: Stake,
        }[subject.kind]
        await repository.remove(session, scope, model, *subject.key.split(":"))
        return
    if subject.kind is SubjectKind.STAKE:
        provider, token = subject.key.split(":")
        held = StakeFacts(provider=provider, token=token)
        for event in events:
            held = apply_stake(held, event, await _terms_of(session, scope, event))
        await repository.save(session, scope, held)
        return
    facts: Any = None
    fold: Any = apply_listing if subject.kind is SubjectKind.LISTING else apply_lease
    for event in events:
        facts = fold(facts, event)
    await repository.save(session, scope, facts)


async def _add_rows(
    session: AsyncSession, scope: Scope, event: EventRecord, before: LeaseFacts | None
) -> None:
    """Write the row that one event stands for, and the ruling on earlier challenges."""
    place = {
        **scope.key,
        "block_number": event.block_number,
        "log_index": event.log_index,
        "tx_hash": event.tx_hash,
        "lease_id": event.lease_id,
    }
    if event.name == "Committed":
        assert before is not None, "Committed before Opened"
        session.add(
            Commit(
                **place,
                previous_up_to=before.pending_segments,
                up_to=int(event.args["up_to"]),
                trace_root=event.text("trace_root"),
                root=event.text("root"),
                committed_at=event.block_at,
            )
        )
    elif event.name == "Settled":
        session.add(
            Payment(
                **place,
                paid_segments=int(event.args["paid_segments"]),
                to_provider=event.amount("to_provider"),
                to_treasury=event.amount("to_treasury"),
                to_audit_pool=event.amount("to_audit_pool"),
                paid_at=event.block_at,
            )
        )
    elif event.name in CHALLENGES:
        session.add(
            Challenge(
                **place,
                challenger=event.challenger,
                is_demand=event.is_demand,
                segment=int(event.args["segment"]),
                bond=event.amount("bond"),
                challenged_at=event.block_at,
                ruling=None,
                ruled_tx=None,
            )
        )
    await _rule(session, scope, event)


async def _rule(session: AsyncSession, scope: Scope, event: EventRecord) -> None:
    if event.name not in RULINGS or event.lease_id is None:
        return
    ruling = "timed_out" if event.name == "DisputeTimedOut" else "unretrievable"
    if event.name == "Ruled":
        ruling = "fraud" if event.args["fraud"] else "honest"
    for row in await repository.open_challenges(session, scope, event.lease_id):
        row.ruling, row.ruled_tx = ruling, event.tx_hash
