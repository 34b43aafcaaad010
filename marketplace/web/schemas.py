"""Shapes that several routes share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from marketplace.errors import MarketError


class Body(BaseModel):
    """Base of what clients send: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """Base of what the API answers."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Answer):
    """What went wrong."""

    code: str = Field(description="Stable word for programs.")
    message: str = Field(description="What is wrong, for people.")
    what_to_do: str = Field(description="What to do next.")
    details: dict[str, Any] | None = None


class ErrorAnswer(Answer):
    """Body of every answer that is not a success."""

    error: ErrorDetail


HASH = r"^0x[0-9a-f]{64}$"
CONTENT_HASH = r"^[0-9a-f]{64}$"
ADDRESS = r"^0x[0-9a-fA-F]{40}$"
SIGNATURE = r"^0x[0-9a-fA-F]{130}$"
BASE64 = r"^[A-Za-z0-9+/]*={0,2}$"


def errors(*kinds: type[MarketError]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route from the errors that it can answer with."""
    by_status: dict[int | str, list[type[MarketError]]] = {}
    for kind in kinds:
        by_status.setdefault(int(kind.status), []).append(kind)
    return {status: _response(found) for status, found in by_status.items()}


def _response(kinds: list[type[MarketError]]) -> dict[str, Any]:
    texts = [f"`{kind.code()}`: {(kind.__doc__ or '').strip()}" for kind in kinds]
    return {
        "model": ErrorAnswer,
        "description": " ".join(texts),
        "content": {
            "application/json": {
                "examples": {kind.code(): {"value": kind().body()} for kind in kinds}
            }
        },
    }
