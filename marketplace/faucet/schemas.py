"""Shapes of the faucet."""

from __future__ import annotations

from pydantic import Field

from marketplace.web.schemas import ADDRESS, Answer, Body


class FaucetBody(Body):
    """Whom to fund."""

    address: str = Field(pattern=ADDRESS)
    coin: bool = Field(default=True, description="Whether the chain's own coin comes with it.")


class FaucetAnswer(Answer):
    """Where a request stands."""

    request_id: str
    state: str = Field(description="queued, sent, done or failed")
    transactions: list[str]
    error: str | None = None
