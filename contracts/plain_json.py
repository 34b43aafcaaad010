"""JSON from somebody else, parsed without trust in its depth."""

from __future__ import annotations

import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Honest answers of nodes and our own files nest less than ten levels."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


def parse(content: bytes) -> Any:
    """Parse JSON whose depth is checked first: the parser recurses in C, and could overflow.

    Raises
    ------
    ValueError
        It is not JSON, or nests too deep.
    """
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH:
        depth = 0
        for bracket in _BRACKET.finditer(_STRING.sub(b"", content)):
            depth += 1 if bracket[0] in b"[{" else -1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(content)
