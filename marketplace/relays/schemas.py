"""Shapes of relayed calls."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from client_sdk.protocol.states import RelayState
from marketplace.web.schemas import ADDRESS, SIGNATURE, Answer, Body

UnixTime = Annotated[int, Field(ge=0, lt=1 << 48)]
Units = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,28})$")]


class AuthorizationBody(Body):
    """The renter's EIP-3009 authorization to the escrow, with the lease's id as nonce."""

    relay_fee: Units = Field(description="Part of the signed value that pays this node.")
    valid_after: UnixTime
    valid_before: UnixTime
    signature: str = Field(pattern=SIGNATURE)


class OpeningBody(Body):
    """A lease to be opened for its renter."""

    terms: dict[str, Any] = Field(description="`gridlease/terms/1`")
    terms_signature: str = Field(pattern=SIGNATURE, description="The operator's.")
    authorization: AuthorizationBody


class StopBody(Body):
    """A lease to be stopped for its renter."""

    terms: dict[str, Any] = Field(description="`gridlease/terms/1`")
    signature: str = Field(pattern=SIGNATURE, description="The renter's, of `gridlease/stop/1`.")


class WithdrawalBody(Body):
    """Credit to be sent to its owner, the caller."""

    token: str = Field(pattern=ADDRESS)
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:._-]{1,100}$")] = Field(
        description="Names this withdrawal: the same one again is no second one."
    )


class RelayAnswer(Answer):
    """Where a relayed call stands, by this node's word; the chain is the truth."""

    request_id: str
    state: RelayState
    transactions: list[str]
    refusal: str | None = Field(description="The rule that refused it: the contract's error.")
    problem: str | None = Field(description="Why it waits, or was given up.")
