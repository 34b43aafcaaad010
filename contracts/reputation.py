"""Reputation of providers, recomputed from the escrow's events alone.

Anybody who has the events can so check what `reputationOf` says, and what a market shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from contracts.codec import load_artifact
from contracts.events import CloseCause, Closed, Event, LateFraud, Opened, Settled
from contracts.views import Reputation

_LOST: Final = frozenset(
    {CloseCause.NEVER_COMMITTED, CloseCause.ACCEPTANCE_FAILED, CloseCause.UNRETRIEVABLE}
)
_HIGHEST: Final = 2**24 - 1
"""Where the contract's counters stop."""


def reputations(events: Iterable[Event]) -> dict[tuple[str, str], Reputation]:
    """Return the reputation of every provider in every token, by (provider, token).

    Parameters
    ----------
    events
        All events of one escrow since its deployment, in chain order.

    Raises
    ------
    KeyError
        An event is about a lease whose `Opened` is missing.
    """
    terms: dict[bytes, Mapping[str, Any]] = {}
    found: dict[tuple[str, str], Reputation] = {}
    for event in events:
        if isinstance(event, Opened):
            terms[event.lease_id] = dict(zip(_terms_fields(), event.terms, strict=True))
        elif isinstance(event, Settled | Closed | LateFraud):
            of = terms[event.lease_id]
            key = of["provider"], of["token"]
            found[key] = _after(found.get(key, Reputation()), event, of)
    return found


def _after(
    known: Reputation, event: Settled | Closed | LateFraud, terms: Mapping[str, Any]
) -> Reputation:
    if isinstance(event, Settled):
        if terms["window"] == 0:
            return known
        paid = event.to_provider + event.to_treasury + event.to_audit_pool
        return replace(known, proved=known.proved + paid)
    if terms["bond"] == 0:
        return known
    if isinstance(event, LateFraud) or event.cause is CloseCause.FRAUD:
        return replace(known, slashed=_one_more(known.slashed))
    if event.cause is CloseCause.COMPLETED:
        return replace(known, completed=_one_more(known.completed))
    return replace(known, lost=_one_more(known.lost)) if event.cause in _LOST else known


def _one_more(count: int) -> int:
    return min(count + 1, _HIGHEST)


@lru_cache(maxsize=1)
def _terms_fields() -> tuple[str, ...]:
    """Names of the fields of `Opened.terms`, in its order."""
    abi = load_artifact("LeaseEscrow").abi
    opened = next(item for item in abi if item["type"] == "event" and item["name"] == "Opened")
    struct = next(entry for entry in opened["inputs"] if entry["name"] == "terms")
    return tuple(part["name"] for part in struct["components"])
