"""What a probe says, and how it reaches the worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

Verdict = tuple[bool, str]
"""Whether the attack was contained, and what happened."""

Arguments = dict[str, Any]
MIB = 1024 * 1024
_REPORT_FD = 3


def all_of(verdicts: Iterator[Verdict]) -> Verdict:
    """Combine verdicts; the text is that of what was not contained."""
    results = list(verdicts)
    broken = [text for contained, text in results if not contained]
    return not broken, "; ".join(broken or [text for _, text in results])[:500]


def report(event: dict[str, Any]) -> None:
    """Send one event to the worker."""
    os.write(_REPORT_FD, json.dumps(event).encode() + b"\n")
