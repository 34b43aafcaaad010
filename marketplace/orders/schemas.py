"""Shapes of orders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from marketplace.clock import iso
from marketplace.models import Offer, Order
from marketplace.web.schemas import ADDRESS, BASE64, CONTENT_HASH, HASH, SIGNATURE, Answer, Body

ContentHash = Annotated[str, StringConstraints(pattern=CONTENT_HASH)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Named = Annotated[dict[Name, ContentHash], Field(max_length=256)]
Sealed = Annotated[str, StringConstraints(pattern=BASE64, min_length=1, max_length=4_096)]
AccountAddress = Annotated[str, StringConstraints(pattern=ADDRESS)]


class OrderArtifacts(Body):
    """Hashes of a job's encrypted inputs."""

    manifest: ContentHash
    bundle: ContentHash
    data: Named = Field(default_factory=dict)
    extra: Named = Field(default_factory=dict)


class AuditWish(Body):
    """Who may audit the job."""

    mode: Literal["market", "named", "none"] = "market"
    auditors: list[AccountAddress] = Field(default_factory=list, max_length=64)


class PlaceBody(Body):
    """A signed order and what the worker needs for it."""

    order: dict[str, Any] = Field(description="`gridlease/order/1`")
    signature: str = Field(pattern=SIGNATURE, description="EIP-712 signature by the renter.")
    offer: str = Field(pattern=HASH, description="Digest of the offer that it takes.")
    artifacts: OrderArtifacts
    sealed_key: Sealed = Field(description="Job key, wrapped to the worker; base64.")
    audit: AuditWish = Field(default_factory=AuditWish)


class PlacedAnswer(Answer):
    """Ids of an order and its job."""

    order_id: str
    job_id: str
    state: str


class TermsBody(Body):
    """Signed terms for a claimed order."""

    lock_token: str = Field(max_length=64)
    terms: dict[str, Any] = Field(description="`gridlease/terms/1`")
    signature: str = Field(pattern=SIGNATURE, description="EIP-712 signature by the operator.")
    probe: dict[str, Any] = Field(default_factory=dict, max_length=16)


class DeclineBody(Body):
    """Why a worker does not take an order."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    reason: str = Field(max_length=2_000)
    lock_token: str | None = Field(default=None, max_length=64)


class DeclineAnswer(Answer):
    """Why a worker did not take the order."""

    code: str
    reason: str


class OrderAnswer(Answer):
    """An order as its renter and its operator see it."""

    order_id: str
    job_id: str
    state: str
    order: dict[str, Any]
    signature: str
    offer_digest: str
    offer: dict[str, Any]
    offer_signature: str
    listing_id: str
    terms: dict[str, Any] | None
    terms_signature: str | None
    lease_id: str | None
    probe: dict[str, Any] | None
    decline: DeclineAnswer | None
    created_at: str | None
    updated_at: str | None
    expires_at: str | None


class WorkerOrder(Answer):
    """An order as its operator sees it."""

    order_id: str
    job_id: str
    state: str
    order: dict[str, Any]
    signature: str
    offer: str
    listing_id: str
    artifacts: dict[str, Any]
    sealed_key: str
    audit: dict[str, Any]
    terms: dict[str, Any] | None
    terms_signature: str | None
    lease_id: str | None


class ClaimAnswer(WorkerOrder):
    """A claimed order; ``lock_token`` is asked for with the terms."""

    lock_token: str
    lock_expires_at: str | None


class WorkerOrdersAnswer(Answer):
    """Orders directed at the caller."""

    orders: list[WorkerOrder]


def order_answer(row: Order, offer: Offer) -> OrderAnswer:
    """Write an order."""
    decline = None
    if row.decline_code is not None:
        decline = DeclineAnswer(code=row.decline_code, reason=row.decline_reason or "")
    return OrderAnswer(
        order_id=row.order_id,
        job_id=row.job_id,
        state=row.state,
        order=row.body,
        signature=row.signature,
        offer_digest=row.offer,
        offer=offer.body,
        offer_signature=offer.signature,
        listing_id=row.listing_id,
        terms=row.terms,
        terms_signature=row.terms_signature,
        lease_id=row.lease_id,
        probe=row.probe,
        decline=decline,
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
        expires_at=iso(row.expires_at),
    )


def _worker_fields(row: Order) -> dict[str, Any]:
    return {
        "order_id": row.order_id,
        "job_id": row.job_id,
        "state": row.state,
        "order": row.body,
        "signature": row.signature,
        "offer": row.offer,
        "listing_id": row.listing_id,
        "artifacts": row.artifacts,
        "sealed_key": row.sealed_key,
        "audit": row.audit,
        "terms": row.terms,
        "terms_signature": row.terms_signature,
        "lease_id": row.lease_id,
    }


def worker_order(row: Order) -> WorkerOrder:
    """Write an order for its operator."""
    return WorkerOrder(**_worker_fields(row))


def claim_answer(row: Order) -> ClaimAnswer:
    """Write a claimed order for its operator."""
    return ClaimAnswer(
        **_worker_fields(row),
        lock_token=row.lock_token or "",
        lock_expires_at=iso(row.lock_expires_at),
    )
