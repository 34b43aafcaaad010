"""What a client asks first: whether the node is well, and which market it serves."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from contracts.deployments import DEV_CHAIN_ID
from marketplace.clock import now
from marketplace.errors import RateLimited
from marketplace.indexer import repository as chain_rows
from marketplace.outbox import repository as outbox
from marketplace.web.access import MarketDep, VisitorDep
from marketplace.web.schemas import Answer, errors

router = APIRouter(tags=["market"])


class ChainHealth(Answer):
    """How far the index is."""

    indexed_block: int | None = Field(description="Null before the first pass.")
    confirmed_block: int | None
    behind_s: float | None = Field(description="Age of the newest indexed block, seconds.")


class OutboxHealth(Answer):
    """What waits to be done."""

    due: int


class HealthAnswer(Answer):
    """State of the node."""

    status: str
    chain: ChainHealth
    outbox: OutboxHealth


class TokenAnswer(Answer):
    """A token that leases are paid in."""

    symbol: str
    address: str
    decimals: int


class RelayRatesAnswer(Answer):
    """For what the node carries calls in one token; in the token's smallest unit."""

    token: str
    open_fee: str = Field(description="Relay fee of an opening; stops and withdrawals are free.")
    min_withdrawal: str = Field(description="Least credit that it sends to its owner.")


class LoginParameters(Answer):
    """What a login message must name."""

    domain: str
    uri: str


class Policy(Answer):
    """Limits and choices of this node."""

    audit_samples: int
    auditor_ttl_s: int
    claim_s: float
    max_artifact_bytes: int
    max_body_bytes: int
    max_frame_bytes: int
    max_frames_per_request: int


class MarketAnswer(Answer):
    """The market that the node serves."""

    chain_id: int
    escrow: str
    start_block: int
    tokens: list[TokenAnswer]
    arbiter: str | None
    audit_pool: str
    confirmations: int
    beacon_delay_blocks: int | None
    rpc_url: str | None
    login: LoginParameters
    policy: Policy
    faucet: bool
    relay: list[RelayRatesAnswer] = Field(description="Empty: the node carries no calls.")


@router.get("/health")
async def health(market: MarketDep) -> HealthAnswer:
    """Tell how the node is."""
    moment = now()
    async with market.database.reading() as session:
        row = await chain_rows.cursor(session, market.scope)
        due = await outbox.num_due(session, moment)
    behind = (moment - row.head_at).total_seconds() if row else None
    return HealthAnswer(
        status="ok",
        chain=ChainHealth(
            indexed_block=row.head_block if row else None,
            confirmed_block=row.confirmed_block if row else None,
            behind_s=behind,
        ),
        outbox=OutboxHealth(due=due),
    )


@router.get("/market", responses=errors(RateLimited))
async def describe(market: MarketDep, _visitor: VisitorDep) -> MarketAnswer:
    """Tell which contract, tokens, login and limits this node has.

    A client believes none of it without its own list of contracts.
    """
    settings, deployment = market.settings, market.deployment
    beacon = deployment.beacon
    return MarketAnswer(
        chain_id=deployment.chain_id,
        escrow=deployment.escrow,
        start_block=deployment.start_block,
        tokens=[
            TokenAnswer(symbol=t.symbol, address=t.address, decimals=t.decimals)
            for t in deployment.tokens
        ],
        arbiter=deployment.arbiter,
        audit_pool=deployment.audit_pool,
        confirmations=settings.confirmations,
        beacon_delay_blocks=beacon.delay_blocks if beacon else None,
        rpc_url=settings.rpc_url if settings.publish_rpc_url else None,
        login=LoginParameters(domain=settings.login_domain, uri=settings.public_url),
        policy=Policy(
            audit_samples=settings.audit_samples,
            auditor_ttl_s=settings.auditor_ttl_s,
            claim_s=settings.claim_s,
            max_artifact_bytes=settings.max_artifact_bytes,
            max_body_bytes=settings.max_body_bytes,
            max_frame_bytes=settings.max_frame_bytes,
            max_frames_per_request=settings.max_frames_per_request,
        ),
        faucet=settings.faucet_key_file is not None and settings.chain_id == DEV_CHAIN_ID,
        relay=[
            RelayRatesAnswer(
                token=token.address,
                open_fee=str(rates.open_fee),
                min_withdrawal=str(rates.min_withdrawal),
            )
            for token in deployment.tokens
            if (rates := market.relay_rates(token.address)) is not None
        ],
    )
