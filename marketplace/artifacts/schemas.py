"""Shapes of artifacts."""

from __future__ import annotations

from marketplace.web.schemas import Answer


class ArtifactAnswer(Answer):
    """A stored artifact."""

    hash: str
    size: int
