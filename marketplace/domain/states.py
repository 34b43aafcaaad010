"""States that only the market has; those that all parties share are in the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class OutboxState(StrEnum):
    """State of an item of the outbox."""

    QUEUED = "queued"  # to be done, now or when it is due
    DONE = "done"  # has had its effect
    FAILED = "failed"  # given up; its error says why


OUTBOX_MOVES: Final[Mapping[OutboxState, frozenset[OutboxState]]] = {
    OutboxState.QUEUED: frozenset({OutboxState.QUEUED, OutboxState.DONE, OutboxState.FAILED}),
    OutboxState.DONE: frozenset(),
    OutboxState.FAILED: frozenset(),
}


class OfferState(StrEnum):
    """State of an offer; whether its listing still stands is asked of the listing."""

    ACTIVE = "active"  # may be taken while its listing stands
    WITHDRAWN = "withdrawn"  # taken back by its operator
    EXPIRED = "expired"  # its time is over


OFFER_MOVES: Final[Mapping[OfferState, frozenset[OfferState]]] = {
    OfferState.ACTIVE: frozenset({OfferState.WITHDRAWN, OfferState.EXPIRED}),
    OfferState.WITHDRAWN: frozenset(),
    OfferState.EXPIRED: frozenset(),
}


class ArtifactState(StrEnum):
    """State of a stored artifact."""

    STORED = "stored"  # its bytes matched its hash when they came
    DAMAGED = "damaged"  # a later check found other bytes, or none
    EXPIRED = "expired"  # nobody needs it any more; its bytes are being removed


ARTIFACT_MOVES: Final[Mapping[ArtifactState, frozenset[ArtifactState]]] = {
    ArtifactState.STORED: frozenset({ArtifactState.DAMAGED, ArtifactState.EXPIRED}),
    # Whoever has the bytes can send them again.
    ArtifactState.DAMAGED: frozenset({ArtifactState.STORED, ArtifactState.EXPIRED}),
    # Its row goes with its bytes.
    ArtifactState.EXPIRED: frozenset(),
}


class AuditorRole(StrEnum):
    """What a registered account does."""

    AUDITOR = "auditor"  # re-executes drawn segments
    ARBITER = "arbiter"  # rules on disputes
