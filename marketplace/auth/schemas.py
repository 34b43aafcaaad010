"""Shapes of the login."""

from __future__ import annotations

from pydantic import Field

from marketplace.web.schemas import SIGNATURE, Answer, Body


class NonceAnswer(Answer):
    """A nonce for one login message."""

    nonce: str
    expires_at: str


class LoginBody(Body):
    """A signed login message."""

    message: str = Field(max_length=4_096, description="EIP-4361 text, exactly as it was signed.")
    signature: str = Field(pattern=SIGNATURE, description="EIP-191 signature of the text.")


class LoginAnswer(Answer):
    """A bearer token; it is shown only here."""

    token: str
    address: str
    expires_at: str
