"""What the chain says about one lease: its terms and commits, found by its id and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from client_sdk.protocol.draw import Draw, draw_audits
from client_sdk.protocol.eip712 import members_of
from client_sdk.protocol.terms import Terms
from contracts.events import (
    Challenged,
    Committed,
    DataDemanded,
    DisputeTimedOut,
    Event,
    Opened,
    Ruled,
    Unretrievable,
)
from worker_agent.errors import BadDraw, RejectedInput
from worker_agent.ports import ChainPort


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a lease, with the segments that it added."""

    first_segment: int
    up_to: int
    trace_root: bytes
    root: bytes
    block_number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseHistory:
    """Opening, commits, and challenges and demands for data of one lease, in chain order."""

    lease_id: bytes
    terms: Terms
    opened: Opened
    commits: tuple[Commit, ...]
    challenges: tuple[Challenged | DataDemanded, ...]
    """Of all disputes."""
    disputed: frozenset[int]
    """Segments that the open dispute is about; empty while there is none."""

    def commit_with_root(self, root: bytes) -> Commit:
        """The commit after which the contract stored ``root``.

        Raises
        ------
        RejectedInput
            There is none on this chain (any more).
        """
        for commit in self.commits:
            if commit.root == root:
                return commit
        raise RejectedInput(f"no commit of lease 0x{self.lease_id.hex()} has this root")


def terms_of(opened: Opened) -> Terms:
    """Terms of an opening as their protocol object."""
    names = [member.attribute for member in members_of(Terms.EIP712_TYPE)]
    values: dict[str, Any] = dict(zip(names, opened.terms, strict=True))
    return Terms(**values)


def read_history(chain: ChainPort, lease_id: bytes, opened_block: int) -> LeaseHistory:
    """Read a lease's events.

    Parameters
    ----------
    chain:
        The deployment.
    lease_id:
        Digest of the terms.
    opened_block:
        A block at or before the opening; a hint from anybody, it only bounds the search.

    Raises
    ------
    RejectedInput
        There is no opening of this lease from that block on.
    """
    first = max(opened_block, chain.deployment.start_block)
    return history_of(lease_id, chain.events(first, chain.head(), topic=lease_id))


def history_of(lease_id: bytes, events: Iterable[Event]) -> LeaseHistory:
    """Build the history from a lease's events in chain order."""
    opened: Opened | None = None
    commits: list[Commit] = []
    challenges: list[Challenged | DataDemanded] = []
    disputed: set[int] = set()
    for event in events:
        if isinstance(event, Opened):
            opened = event
        elif isinstance(event, Committed):
            first = commits[-1].up_to if commits else 0
            commits.append(
                Commit(first, event.up_to, event.trace_root, event.root, event.block_number)
            )
        elif isinstance(event, Challenged | DataDemanded):
            challenges.append(event)
            disputed.add(event.segment)
        elif isinstance(event, Ruled | Unretrievable | DisputeTimedOut):
            disputed.clear()
    if opened is None:
        raise RejectedInput(f"lease 0x{lease_id.hex()} is not open on this chain")
    return LeaseHistory(
        lease_id=lease_id,
        terms=terms_of(opened),
        opened=opened,
        commits=tuple(commits),
        challenges=tuple(challenges),
        disputed=frozenset(disputed),
    )


def recompute_draw(
    chain: ChainPort,
    history: LeaseHistory,
    commit: Commit,
    auditors: Iterable[str],
    num_samples: int,
) -> list[Draw]:
    """Draw the audits of a commit again, from the chain's own data.

    Raises
    ------
    BadDraw
        The beacon is not known yet: nobody can have drawn.
    """
    beacon = chain.beacon(commit.block_number)
    if beacon is None:
        raise BadDraw("the beacon after this commit is not known yet")
    terms = history.terms
    return draw_audits(
        beacon,
        history.lease_id,
        commit.root,
        commit.first_segment,
        commit.up_to,
        list(auditors),
        num_samples,
        exclude=(terms.provider, terms.operator, terms.renter),
    )
